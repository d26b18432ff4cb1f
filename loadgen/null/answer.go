package null

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is a connection: what was read from it and not yet answered.
type conn struct {
	in   []byte
	n    int
	echo bool
	// Of an echo: how long a request and its answer are, 0 until the peer has said so, and how much of the next request is here.
	request, reply, have int
}

// The head of a connection to the echo: the length of each request and of each answer, at least one byte. Then come the requests, of
// any content. The answers are zeros.
//
//	offset  size  field
//	     0     4  bytes of a request, big-endian
//	     4     4  bytes of an answer
const echoHead = 8

// AppendEchoHead appends what a connection to the echo begins with.
func AppendEchoHead(b []byte, request, reply int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(request))
	return binary.BigEndian.AppendUint32(b, uint32(reply))
}

// take answers everything that is complete. An error: the connection is of no use.
func (s *Server) take(c *conn) error {
	if c.echo {
		return s.count(c)
	}
	p := c.in[:c.n]
	for len(p) >= 4 {
		size := int(binary.BigEndian.Uint32(p))
		if size < 8 || size > maxFrame {
			return fmt.Errorf("a request of %d bytes", size)
		}
		if len(p) < 4+size {
			if 4+size > len(c.in) {
				grown := make([]byte, 4+size+inBytes)
				c.n = copy(grown, p)
				c.in = grown
				return nil
			}
			break
		}
		if err := s.answer(p[4 : 4+size]); err != nil {
			return err
		}
		p = p[4+size:]
	}
	c.n = copy(c.in, p)
	return nil
}

// count answers an echo's requests, of which nothing but the length is of interest.
func (s *Server) count(c *conn) error {
	if c.request == 0 {
		if c.n < echoHead {
			return nil
		}
		c.request, c.reply = int(binary.BigEndian.Uint32(c.in)), int(binary.BigEndian.Uint32(c.in[4:]))
		if c.request < 1 || c.request > maxFrame || c.reply < 1 || c.reply > inBytes {
			return fmt.Errorf("an echo of %d bytes with %d", c.request, c.reply)
		}
		c.n -= echoHead
	}
	for c.have += c.n; c.have >= c.request; c.have -= c.request {
		s.out = extend(s.out, c.reply)
	}
	c.n = 0
	return nil
}

// extend appends n zeros.
func extend(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		grown := make([]byte, len(b), 2*cap(b)+n)
		copy(grown, b)
		b = grown
	}
	end := len(b) + n
	clear(b[len(b):end])
	return b[:end]
}

// answer appends the answer to one request, which has no length prefix here.
func (s *Server) answer(req []byte) error {
	at := len(s.out)
	s.out = append(s.out, 0, 0, 0, 0)
	var err error
	if key, version := binary.BigEndian.Uint16(req), binary.BigEndian.Uint16(req[2:]); key == uint16(kmsg.Produce) && version == produceVersion {
		err = s.produce(req)
	} else {
		err = s.seldom(int16(key), int16(version), req)
	}
	binary.BigEndian.PutUint32(s.out[at:], uint32(len(s.out)-at-4))
	return err
}

const (
	produceVersion = 9 // the only one that is advertised and understood
	// countAt is where a record batch says how many records it has.
	countAt    = 57
	unknownTop = 3 // UNKNOWN_TOPIC_OR_PARTITION
	outOfRange = 1 // OFFSET_OUT_OF_RANGE
)

var errProduce = errors.New("a Produce request that does not have one topic with one partition")

// produce answers a Produce v9 of one topic and one partition, which is what the wire driver sends. The batch is not looked into
// beyond its number of records, from which the next batch's offset follows; nothing is kept.
//
//	correlation id 4 | tags | topics + 1 | name (compact) | partitions + 1 | partition 4 | error 2 | base offset 8 |
//	append time 8: -1 | log start 8 | record errors: none | message: null | tags | tags | throttle 4 | tags
func (s *Server) produce(req []byte) error {
	r := scan{p: req, at: 8}
	r.skip(r.int16()) // client id
	r.skip(1)         // tags
	r.skip(r.uvarint() - 1)
	r.skip(2 + 4) // acks, time-out
	topics := r.uvarint()
	name := r.take(r.uvarint() - 1)
	parts := r.uvarint()
	partition := r.take(4)
	batch := r.take(r.uvarint() - 1)
	if r.bad || topics != 2 || parts != 2 || len(batch) < countAt+4 {
		return errProduce
	}
	code, base := uint16(unknownTop), int64(-1)
	if id := binary.BigEndian.Uint32(partition); id < partitions {
		ends := s.ends[string(name)]
		if ends == nil {
			ends = new([partitions]int64)
			s.ends[string(name)] = ends
		}
		code, base = 0, ends[id]
		ends[id] += int64(binary.BigEndian.Uint32(batch[countAt:]))
	}
	b := append(s.out, req[4:8]...)
	b = append(b, 0, 2)
	b = binary.AppendUvarint(b, uint64(len(name)+1))
	b = append(b, name...)
	b = append(b, 2)
	b = append(b, partition...)
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint64(b, uint64(base))
	b = binary.BigEndian.AppendUint64(b, ^uint64(0))
	b = binary.BigEndian.AppendUint64(b, 0)
	s.out = append(b, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	return nil
}

// scan reads a request. Once something does not fit, bad is set and everything is empty.
type scan struct {
	p   []byte
	at  int
	bad bool
}

func (r *scan) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.p)-r.at {
		r.bad = true
		return nil
	}
	r.at += n
	return r.p[r.at-n : r.at]
}

// skip passes over n bytes; -1 is what a null leaves to skip.
func (r *scan) skip(n int) { r.take(max(n, 0)) }

func (r *scan) int16() int {
	b := r.take(2)
	if b == nil {
		return 0
	}
	return int(int16(binary.BigEndian.Uint16(b)))
}

func (r *scan) uvarint() int {
	v, n := binary.Uvarint(r.p[min(r.at, len(r.p)):])
	if n <= 0 || v > maxFrame {
		r.bad = true
		return 0
	}
	r.at += n
	return int(v)
}
