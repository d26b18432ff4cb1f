package snapshot

import (
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/transport/frame"
)

// Receiver takes one snapshot.
type Receiver struct {
	Conn    net.Conn
	Timeout time.Duration // for each chunk, and for sending the answer
	Got     func(n int)   // hears of each chunk

	buf  []byte
	rest []byte // of the chunk that is being read
	sum  frame.End
	err  error // how it ended; io.EOF: well
}

// Receive reads the head, calls handle with a reader of the data, and answers the sender with what handle returns, which
// it returns too. The reader ends with io.EOF only behind all of the data; if handle does not read that far, the snapshot
// is not taken.
func (r *Receiver) Receive(handle func(m frame.GroupMessage, data io.Reader) error) error {
	m, err := r.head()
	if err == nil {
		err = handle(m, reader{r})
	}
	if err == nil && r.err != io.EOF {
		err = ErrUnread
	}
	result := frame.Result{}
	if err != nil {
		result = frame.Result{Failed: true, Text: err.Error()}
	}
	r.Conn.SetWriteDeadline(time.Now().Add(r.Timeout))
	if _, writeErr := r.Conn.Write(result.Frame()); writeErr != nil || err == nil {
		return err
	}
	// Closing now, with data unread, would reset the connection, and the reset may overtake the result. So read on.
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		r.Conn.SetReadDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, r.Conn)
	}
	return err
}

func (r *Receiver) head() (m frame.GroupMessage, err error) {
	h, body, err := r.next(maxHead)
	switch {
	case err != nil:
		return m, err
	case h.Kind != frame.KindMessages || h.Messages != 1 || h.Entries != 0:
		return m, fmt.Errorf("%w: %v of %d where the head of a snapshot belongs", frame.ErrFormat, h.Kind, h.Messages)
	}
	ms, err := frame.DecodeMessages(nil, h, body)
	switch {
	case err != nil:
		return m, err
	case ms[0].Message.Type != pb.MsgSnap:
		return m, fmt.Errorf("%w: %v where the head of a snapshot belongs", frame.ErrFormat, ms[0].Message.Type)
	}
	return ms[0], nil
}

// next reads a frame. Its body is valid until the next call.
func (r *Receiver) next(maxBody int) (frame.Header, []byte, error) {
	r.Conn.SetReadDeadline(time.Now().Add(r.Timeout))
	h, body, err := frame.Receive(r.Conn, r.buf, maxBody)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return h, nil, fmt.Errorf("snapshot: receiving: %w", err)
	}
	r.buf = body
	return h, body, nil
}

// reader reads the data.
type reader struct{ r *Receiver }

func (d reader) Read(p []byte) (int, error) {
	r := d.r
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.advance()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// advance takes the next chunk, or the end: then it returns io.EOF if everything came.
func (r *Receiver) advance() error {
	h, body, err := r.next(frame.MaxChunkBody)
	switch {
	case err != nil:
		return err
	case h.Kind == frame.KindEnd:
		return r.end(body)
	case h.Kind != frame.KindChunk:
		return fmt.Errorf("%w: %v within a snapshot", frame.ErrFormat, h.Kind)
	}
	at, data, err := frame.DecodeChunk(body)
	switch {
	case err != nil:
		return err
	case at != r.sum.Bytes:
		return fmt.Errorf("%w: a chunk for offset %d where %d is reached", frame.ErrFormat, at, r.sum.Bytes)
	}
	r.rest = data
	r.sum.Bytes += uint64(len(data))
	r.sum.CRC = crc32.Update(r.sum.CRC, castagnoli, data)
	r.Got(len(data))
	return nil
}

func (r *Receiver) end(body []byte) error {
	end, err := frame.DecodeEnd(body)
	switch {
	case err != nil:
		return err
	case end.Aborted:
		return ErrAborted
	case end != r.sum:
		return fmt.Errorf("%w: the snapshot has %d bytes with %08x, its end says %d with %08x", frame.ErrChecksum,
			r.sum.Bytes, r.sum.CRC, end.Bytes, end.CRC)
	}
	return io.EOF
}
