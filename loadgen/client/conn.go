package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sys/unix"

	"ackline/loadgen/client/kcode"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
)

// codec makes requests and reads answers for one connection. All of its frames have one length, unless they vary.
type codec interface {
	// frameLen is the length of a frame, or of the longest.
	frameLen() int
	// init lays a frame out for build.
	init(frame []byte)
	// build makes a frame the next request and says in op which one that is.
	build(frame []byte, correlation int32, op *Op)
	// parse reads an answer (without its length prefix) into op: Base and Bytes, or Err. An error of its own means that
	// the connection is out of step.
	parse(reply []byte, correlation int32, op *Op) error
	// varies reports whether frames differ in length; build then says how long one is.
	varies() bool
	// route tells which partitions the connection's node leads now.
	route(partitions []int32)
}

// conn is one TCP connection and its window. The window is a ring of frames, laid out one behind the other: what was
// submitted since the last flush is sent from there with one system call, without a copy. Used by its worker's thread.
type conn struct {
	fd       int          // -1 while there is no connection
	sealed   *sock.Sealed // TLS on fd; nil without
	node     int32
	assigned []int32
	codec    codec
	resend   bool // what has no answer when the connection is lost is sent again

	window   int
	frameLen int
	out      []byte // window frames
	ops      []Op   // window operations; operation i uses slot i modulo window
	head     uint64 // the oldest operation without an answer
	tail     uint64 // the next operation to be submitted
	varies   bool   // frames have the length Op.Wire
	mute     bool   // requests have no answers
	offered  uint64 // operations below it have a Sent time
	written  uint64 // bytes of the endless row of frames that the socket took; frame i begins at i × frameLen
	prepared bool   // the frame of operation tail is built

	in        []byte
	inLen     int
	lastReply int // with its length prefix

	free      int   // how many operations it would take now; kept equal to the worker's count by setFree
	queued    bool  // it is in the worker's list of connections to flush
	writable  bool  // epoll watches for room to write
	broken    error // why the connection must be given up; handled by the next Wait
	reroute   bool  // the answers say that the partition is led elsewhere: look again as soon as nothing is in flight
	since     int64 // when the connection was put into service
	downSince int64
	retryAt   int64
	dialing   chan dialed // non-nil while another goroutine restores the connection
}

// dialed is what restoring a connection came to.
type dialed struct {
	fd         int
	sealed     *sock.Sealed
	node       int32
	partitions []int32
	who        *frame.Producer // a new one, for a connection that needs it
	err        error
}

const inBytes = 64 << 10

func newConn(c codec, window int, assigned []int32) *conn {
	n := c.frameLen()
	out := &conn{fd: -1, codec: c, window: window, frameLen: n, out: make([]byte, n*window), ops: make([]Op, window),
		assigned: assigned, in: make([]byte, inBytes), varies: c.varies()}
	for i := range window {
		c.init(out.out[i*n : (i+1)*n])
	}
	return out
}

// send offers p to the connection. 0: it takes nothing now, and wants to be offered the same again.
func (c *conn) send(p []byte) (int, error) {
	if c.sealed != nil {
		return c.sealed.Send(p)
	}
	return sock.Send(c.fd, p)
}

// recv reads what is there, or waits for it for as long as the socket was set up to.
func (c *conn) recv(p []byte, wait bool) (int, error) {
	switch {
	case c.sealed != nil:
		return c.sealed.Recv(p, wait)
	case wait:
		return sock.RecvWait(c.fd, p)
	}
	return sock.RecvNow(c.fd, p)
}

func (c *conn) inFlight() int { return int(c.tail - c.head) }

// submit builds the next frame, unless prepare did, and gives it its times.
func (c *conn) submit(intended, ready int64) {
	if c.inFlight() >= c.window {
		panic(fmt.Sprintf("client: %d operations in flight in a window of %d", c.inFlight(), c.window))
	}
	if c.varies && !c.prepared {
		began := pace.Now()
		c.prepare()
		ready += pace.Now() - began // to make the batch took the generator so long, not the system
	}
	c.prepare()
	c.prepared = false
	op := &c.ops[c.tail%uint64(c.window)]
	op.Intended, op.Ready = intended, ready
	c.tail++
}

// prepare builds the frame of the next operation.
func (c *conn) prepare() {
	if c.prepared || c.inFlight() >= c.window {
		return
	}
	slot := int(c.tail % uint64(c.window))
	c.ops[slot] = Op{}
	c.codec.build(c.out[slot*c.frameLen:(slot+1)*c.frameLen], int32(c.tail), &c.ops[slot])
	c.prepared = true
}

// flush sends what the socket takes. done is false when it took less than everything.
func (c *conn) flush() (done bool) {
	if c.fd < 0 || c.broken != nil {
		return true
	}
	if c.offered < c.tail {
		now := pace.Now()
		for ; c.offered < c.tail; c.offered++ {
			c.ops[c.offered%uint64(c.window)].Sent = now
		}
	}
	if c.varies || c.mute {
		return c.flushEach()
	}
	end, ring := c.tail*uint64(c.frameLen), uint64(len(c.out))
	for c.written < end {
		from := c.written % ring
		to := min(from+end-c.written, ring)
		n, err := c.send(c.out[from:to])
		if err != nil {
			c.broken = err
			return true
		}
		if n == 0 {
			return false
		}
		c.written += uint64(n)
	}
	return true
}

// flushEach is flush for frames that are sent one by one: because of their lengths, or because the socket's taking them is all the answer there is.
func (c *conn) flushEach() (done bool) {
	size := uint64(c.frameLen)
	for c.written < c.tail*size {
		i, at := c.written/size, c.written%size
		slot := i % uint64(c.window)
		op, end := &c.ops[slot], size
		if c.varies {
			end = uint64(op.Wire)
		}
		n, err := c.send(c.out[slot*size+at : slot*size+end])
		if err != nil {
			c.broken = err
			return true
		}
		if n == 0 {
			return false
		}
		if c.written += uint64(n); at+uint64(n) == end {
			c.written = (i + 1) * size
			if c.mute {
				op.Acked = pace.Now()
			}
		}
	}
	return true
}

// settle hands requests that have no answer to done once the socket has taken them, and says how many those were.
func (c *conn) settle(done func(*Op)) (n int) {
	for taken := c.written / uint64(c.frameLen); c.head < taken; c.head++ {
		done(&c.ops[c.head%uint64(c.window)])
		n++
	}
	return n
}

// receive takes n more bytes of answers, all in hand at acked, and hands every completed operation to done.
func (c *conn) receive(n int, acked int64, done func(*Op)) {
	c.inLen += n
	p := c.in[:c.inLen]
	for len(p) >= 4 {
		size := int(int32(binary.BigEndian.Uint32(p)))
		if size < 4 || size > cluster.MaxReply {
			c.broken = fmt.Errorf("a reply of %d bytes, want 4 to %d", size, cluster.MaxReply)
			return
		}
		if len(p) < 4+size {
			if 4+size > len(c.in) {
				c.grow(p, 4+size)
				return
			}
			break
		}
		if err := c.complete(p[4:4+size], acked, done); err != nil {
			c.broken = err
			return
		}
		p = p[4+size:]
	}
	if len(p) < c.inLen {
		c.inLen = copy(c.in, p)
	}
}

// grow makes room for a reply of size bytes of which p is here.
func (c *conn) grow(p []byte, size int) {
	in := make([]byte, size+inBytes)
	c.inLen = copy(in, p)
	c.in = in
}

func (c *conn) complete(reply []byte, acked int64, done func(*Op)) error {
	c.lastReply = len(reply) + 4
	if c.head == c.offered {
		return fmt.Errorf("a reply of %d bytes to nothing that was asked", len(reply))
	}
	op := &c.ops[c.head%uint64(c.window)]
	if err := c.codec.parse(reply, int32(c.head), op); err != nil {
		return err
	}
	if err := op.Err; err != nil && c.resend && passes(err) {
		op.Err = nil
		return err
	}
	if op.Err == nil {
		op.Acked = acked
		op.Told = op.Told && op.Sent >= c.since // else it was sent before, to somebody else: this is not all that became of it
	} else {
		if c.reroute && errors.Is(op.Err, kerr.OutOfOrderSequenceNumber) {
			op.Err = ErrBehind
		}
		c.reroute = true
	}
	c.head++
	done(op)
	return nil
}

// fail hands every operation in flight to done with err and forgets the connection's state.
func (c *conn) fail(err error, now int64, done func(*Op)) {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd, c.sealed = -1, nil
	for ; c.head < c.tail; c.head++ {
		op := &c.ops[c.head%uint64(c.window)]
		if c.head >= c.offered {
			op.Sent = now
		}
		op.Err, op.Acked = err, 0
		done(op)
	}
	c.offered, c.written, c.inLen = c.tail, c.tail*uint64(c.frameLen), 0
	c.prepared, c.broken, c.reroute, c.writable = false, nil, false, false
	if c.downSince == 0 {
		c.downSince = now
	}
	c.retryAt = now + reconnectEvery.Nanoseconds()
}

// lose forgets the connection and keeps what has no answer, for the next one.
func (c *conn) lose(now int64) {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd, c.sealed = -1, nil
	c.written, c.inLen = c.head*uint64(c.frameLen), 0
	c.broken, c.reroute, c.writable = nil, false, false
	if c.downSince == 0 {
		c.downSince = now
	}
	c.retryAt = now
}

// silent reports whether nothing came for so long although something is due.
func (c *conn) silent(now int64, after time.Duration) bool {
	return c.head < c.offered && now-max(c.ops[c.head%uint64(c.window)].Sent, c.since) > after.Nanoseconds()
}

// overdue reports whether the oldest request has waited for longer than timeout.
func (c *conn) overdue(now int64, timeout time.Duration) bool {
	return c.head < c.offered && now-c.ops[c.head%uint64(c.window)].Sent > timeout.Nanoseconds()
}

// produceCodec sends Produce requests, each to the next of the connection's partitions. Towards a floor the answer is
// not looked into beyond its correlation id: the floor knows no offsets.
type produceCodec struct {
	request *frame.Produce
	topics  place.Topics
	streams []produceStream
	active  []int // indices into streams: the partitions that the connection's node leads
	turn    int
	floor   bool
	who     *frame.Producer // nil: nobody whose batches a broker would know again

	firstStream uint32 // added to a stream's number in its payloads
}

type produceStream struct {
	id        uint32
	partition int32 // its place
	seq       uint64
	led       bool // by the connection's node
}

func (p *produceCodec) frameLen() int { return p.request.Len() }
func (p *produceCodec) varies() bool  { return false }

func (p *produceCodec) init(frame []byte) {
	p.request.Init(frame)
	if p.who != nil {
		p.request.Identify(frame, *p.who)
	}
}

func (p *produceCodec) build(f []byte, correlation int32, op *Op) {
	p.turn++
	s := &p.streams[p.active[p.turn%len(p.active)]]
	op.Stream, op.Seq, op.Records = s.id, s.seq, int32(p.request.Records())
	p.request.Patch(f, correlation, s.partition, p.firstStream+s.id, s.seq, time.Now().UnixMilli())
	s.seq += uint64(p.request.Records())
}

func (p *produceCodec) parse(reply []byte, correlation int32, op *Op) error {
	if got := int32(binary.BigEndian.Uint32(reply)); got != correlation {
		return fmt.Errorf("reply to request %d, want %d", got, correlation)
	}
	if p.floor {
		return nil
	}
	r, err := frame.ParseProduced(reply)
	if err != nil {
		return err
	}
	op.Base, op.Told, op.Stages = r.Base, r.Told, r.Stages
	if r.Code != 0 {
		i := slices.IndexFunc(p.streams, func(s produceStream) bool { return s.id == op.Stream })
		op.Err = kcode.Of("Produce", p.topics, p.streams[i].partition, r.Code)
	}
	return nil
}

func (p *produceCodec) route(partitions []int32) {
	p.active = p.active[:0]
	for i := range p.streams {
		s := &p.streams[i]
		if s.led = slices.Contains(partitions, s.partition); s.led {
			p.active = append(p.active, i)
		}
	}
	if len(p.active) == 0 {
		panic(fmt.Sprintf("client: a connection for partitions %+v was routed to %d", p.streams, partitions))
	}
}
