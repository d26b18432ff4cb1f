// Package snapshot moves one snapshot over one connection. The problem is its end: whoever sends must tell raft exactly
// once what became of it, whoever receives must not believe a part for the whole, and either may fail, or go, at any
// moment. So the data comes in chunks with a checksum each, behind them their number of bytes and the checksum of all,
// and only then the receiver's reader says io.EOF; the sender has succeeded only if the receiver says so. The receiver
// may say that it has failed at any time, which stops the sender.
//
// The frames are drawn in frame/snapshot.go. The connection's handshake is over, and who opened it closes it.
package snapshot

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// Errors of either side.
var (
	// ErrAborted: the sender could not read its own snapshot to the end.
	ErrAborted = errors.New("snapshot: the sender gave it up")
	// ErrUnread: the handler took a snapshot without having read all of it.
	ErrUnread = errors.New("snapshot: it was not read to its end")
)

// RemoteError is why the receiver did not take a snapshot, in its own words.
type RemoteError struct {
	Node id.NodeID
	Text string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("node %d did not take the snapshot: %s", e.Node, e.Text)
}

const (
	maxHead = 1 << 20     // of the MsgSnap before the data
	linger  = time.Second // for a failed result to be read although data still comes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Chunk sizes.
const (
	MaxChunk = 64 << 10
	minChunk = 512
)

// ChunkBytes is the size of a chunk at a rate in bytes per second, 0 meaning no bound: at a low rate an eighth of a
// second's, so that streams that share the rate all make progress.
func ChunkBytes(rate int64) int {
	if rate == 0 {
		return MaxChunk
	}
	return int(min(max(rate/8, minChunk), MaxChunk))
}

// Sender sends one snapshot.
type Sender struct {
	Conn       net.Conn
	Peer       id.NodeID // who receives
	ChunkBytes int
	// Timeout is for each chunk, ResultTimeout for the receiver's answer once it has everything.
	Timeout, ResultTimeout time.Duration
	// Turn returns how long to wait before n bytes are sent. Sent hears of each chunk.
	Turn func(n int) time.Duration
	Sent func(n int)

	over    chan struct{} // closed when outcome is known
	outcome error         // of the receiver, nil if it took it; or of the connection
}

// Head encodes the MsgSnap that a snapshot begins with.
func Head(g id.GroupID, m *pb.Message) ([]byte, error) {
	if m.Type != pb.MsgSnap || len(m.Entries) > 0 {
		return nil, fmt.Errorf("snapshot: %v with %d entries as the head", m.Type, len(m.Entries))
	}
	b := frame.NewBatch(maxHead, maxHead)
	if _, err := b.Message(g, m); err != nil {
		return nil, fmt.Errorf("snapshot: the head: %w", err)
	}
	b.Seal()
	return b.Next(make([][]byte, 0, 1), b.Left())[0], nil // without entries there is one piece
}

// Send sends a head and what r reads, and returns what became of it: nil if the receiver took it.
func (s *Sender) Send(head []byte, r io.Reader) error {
	s.over = make(chan struct{})
	go s.listen()
	err, ours := s.copy(head, r)
	patience := s.ResultTimeout
	if err != nil {
		patience = linger // what the receiver has to say is on its way, if anything is
	}
	s.Conn.SetReadDeadline(time.Now().Add(patience))
	<-s.over
	var said *RemoteError
	switch {
	case err == nil:
		return s.outcome
	case !ours && errors.As(s.outcome, &said):
		return said
	}
	return err
}

// listen waits for the result, which may come before all is sent: then wait stops the sending.
func (s *Sender) listen() {
	defer close(s.over)
	h, body, err := frame.Receive(s.Conn, nil, frame.MaxHandshakeBody)
	if err == nil && h.Kind != frame.KindResult {
		err = fmt.Errorf("%w: %v where a result belongs", frame.ErrFormat, h.Kind)
	}
	var r frame.Result
	if err == nil {
		r, err = frame.DecodeResult(body)
	}
	switch {
	case err != nil:
		s.outcome = fmt.Errorf("snapshot: waiting for the result: %w", err)
	case r.Failed:
		s.outcome = &RemoteError{s.Peer, r.Text}
	}
}

// copy sends head, the data and the end. ours says that the error is of the source, and not of the connection.
func (s *Sender) copy(head []byte, r io.Reader) (err error, ours bool) {
	if err := s.write(head); err != nil {
		return err, false
	}
	var end frame.End
	buf := make([]byte, frame.ChunkHead+s.ChunkBytes)
	for {
		n, readErr := io.ReadFull(r, buf[frame.ChunkHead:])
		if n > 0 {
			if !s.wait(s.Turn(n)) {
				return errors.New("snapshot: the receiver answered before it had everything"), false
			}
			chunk := buf[:frame.ChunkHead+n]
			if err := s.write(frame.SealChunk(chunk, end.Bytes)); err != nil {
				return err, false
			}
			end.CRC = crc32.Update(end.CRC, castagnoli, chunk[frame.ChunkHead:])
			end.Bytes += uint64(n)
			s.Sent(n)
		}
		switch readErr {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return s.write(end.Frame()), false
		default:
			end.Aborted = true
			s.write(end.Frame()) // if it does not arrive, the receiver sees the connection end
			return fmt.Errorf("snapshot: reading it: %w", readErr), true
		}
	}
}

func (s *Sender) write(b []byte) error {
	s.Conn.SetWriteDeadline(time.Now().Add(s.Timeout))
	if _, err := s.Conn.Write(b); err != nil {
		return fmt.Errorf("snapshot: sending: %w", err)
	}
	return nil
}

// wait is false if the receiver has answered meanwhile.
func (s *Sender) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.over:
		return false
	case <-timer.C:
		return true
	}
}
