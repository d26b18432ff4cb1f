// Package echo is the least that any program could do between receiving a request and answering that it is on disk.
//
// A latency on a shared machine means little by itself: the same durable write takes 50 µs or 250 µs depending on the
// hour and on how long the disk idled before it. So every figure of the broker stands beside the figure of this server,
// which does only what durability demands: read a request, write its bytes behind each other into a preallocated file,
// wait for the disk, answer. No Kafka, no raft, no index, no checksum.
//
// It must be as fast as a program can be, or it would flatter whatever it is compared with:
//
//   - One epoll loop on one locked thread. A request costs four system calls: epoll_wait, read, write to the disk,
//     write to the socket. Nothing is handed to another thread, so nothing waits for a thread to wake up.
//   - It batches naturally: whatever has arrived when a sync begins is one write; there is no timer. All answers of one
//     connection are one write.
//   - Socket calls keep the Go scheduler out (they never block); steady state allocates nothing, so that the garbage
//     collector has no reason to run.
//   - It does not busy-poll: an idle server sleeps in epoll_wait, as the broker must.
//
// The disk is behind the one-method interface Appender; without one the server is a bare TCP echo with the same frames
// and the same answers, which is what the disk's share is told from; a Pause then stands for the disk's time.
package echo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
	"ackline/tools/floor/sock"
)

// Appender makes one block durable before it returns. The block is BlockSize-aligned memory whose length is a multiple
// of BlockSize; it is the caller's again when Append returns.
type Appender interface {
	Append(block []byte) error
}

// Config is what a Server needs to know.
type Config struct {
	ListenAddr string // host:port, IPv4 or IPv6 literal; port 0 takes a free one
	ReplyBytes int    // size of an answer including its 4-byte length; at least MinReplyBytes
	BatchBytes int    // most bytes in one write, header and padding included; a multiple of BlockSize; bounds a frame too
	Pause      *Pause // nil: none; else waited for where a disk would be: only without one
}

// MinReplyBytes is the smallest answer: the length and the correlation id.
const MinReplyBytes = 8

// DefaultReplyBytes is the size of a Kafka Produce response, version 9 to 11, for one partition of a topic whose name
// has five letters: what the broker answers to the same frame.
const DefaultReplyBytes = 56

// DefaultBatchBytes lets 256 requests of 16 KiB go with one sync.
const DefaultBatchBytes = 4 << 20

// frameHead is what every request begins with: 4-byte length, api key, version, correlation id.
const frameHead = 12

// Stats counts what was done, for the figures per request. They are final once Serve has returned.
type Stats struct {
	Requests, Syncs, Bytes int64 // Bytes of frames, without header and padding
	Refused                int64 // connections closed because of a frame that cannot be right
}

// Server is the echo. All of it belongs to the goroutine that runs Serve.
type Server struct {
	cfg    Config
	disk   Appender // nil: bare TCP echo
	poll   *sock.Poller
	listen int
	addr   string

	conns   []*conn // by file descriptor
	waiting []*conn // hold answers for the sync about to happen
	full    []*conn // hold complete frames that did not fit into the batch
	batch   []byte  // BlockSize-aligned, BatchBytes long
	fill    int     // bytes of batch in use, the header included
	frames  int
	seq     uint64
	stats   Stats
}

// conn is one client.
type conn struct {
	fd     int
	in     []byte // what was read and not yet parsed is in[start:end]
	start  int
	end    int
	out    []byte // answers; those before sent are written
	sent   int
	queued bool // on waiting
	over   bool // on full
	stuck  bool // the socket took only part of out: nothing is read until the rest is gone
}

const firstReadBytes = 64 << 10

// Listen binds the address; Serve does the rest. disk may be nil.
func Listen(cfg Config, disk Appender) (*Server, error) {
	if cfg.ReplyBytes < MinReplyBytes {
		return nil, fmt.Errorf("floor: reply of %d bytes, want at least %d (length and correlation id)", cfg.ReplyBytes, MinReplyBytes)
	}
	if cfg.BatchBytes < BlockSize || cfg.BatchBytes%BlockSize != 0 {
		return nil, fmt.Errorf("floor: batch of %d bytes, want a multiple of %d", cfg.BatchBytes, BlockSize)
	}
	if cfg.Pause != nil && disk != nil {
		return nil, errors.New("floor: a pause beside a disk, want one of them")
	}
	s := &Server{cfg: cfg, disk: disk, listen: -1, batch: vfs.Aligned(cfg.BatchBytes), fill: HeaderBytes}
	if err := s.open(); err != nil {
		s.release()
		return nil, fmt.Errorf("floor: listen on %s: %w", cfg.ListenAddr, err)
	}
	return s, nil
}

// Addr returns the address that clients connect to.
func (s *Server) Addr() string { return s.addr }

// Stats returns the counters; only meaningful after Serve has returned.
func (s *Server) Stats() Stats { return s.stats }

// Serve runs the loop until ctx ends (nil) or the disk fails (its error). It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.release()
	defer s.poll.WakeWith(ctx)()
	if s.cfg.Pause != nil {
		defer s.cfg.Pause.close()
	}
	events := make([]unix.EpollEvent, 256)
	for {
		done, err := s.round(events)
		if done || err != nil {
			return err
		}
	}
}

// round is one turn of the loop: wait, read everything that is ready, make it durable, answer.
func (s *Server) round(events []unix.EpollEvent) (done bool, err error) {
	timeout := -1
	if len(s.full) > 0 {
		timeout = 0
	}
	n, err := s.poll.Wait(events, timeout)
	if err != nil {
		return false, err
	}
	s.resume()
	for i := range n {
		switch fd := int(events[i].Fd); fd {
		case s.poll.WakeFD:
			return true, nil
		case s.listen:
			if err := s.accept(); err != nil {
				return false, err
			}
		default:
			if c := s.conns[fd]; c != nil {
				s.ready(c, events[i].Events)
			}
		}
	}
	if s.frames > 0 {
		if err := s.sync(); err != nil {
			return false, err
		}
		s.answer()
	}
	return false, nil
}

// resume takes up the frames that the last batch had no room for, before newer ones.
func (s *Server) resume() {
	left := s.full
	s.full = s.full[:0]
	for _, c := range left {
		c.over = false
		if s.conns[c.fd] == c {
			s.parse(c)
		}
	}
}

func (s *Server) ready(c *conn, events uint32) {
	if c.stuck {
		s.flush(c)
		return
	}
	for events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && !c.over {
		free := c.in[c.end:]
		n, errno := sock.Read(c.fd, free)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			return
		}
		if n <= 0 || errno != 0 {
			s.drop(c)
			return
		}
		c.end += n
		if !s.parse(c) || n < len(free) {
			return
		}
	}
}

// parse moves every complete frame of c into the batch and its answer into c.out. It returns false when c was dropped.
func (s *Server) parse(c *conn) bool {
	for c.end-c.start >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.in[c.start:]))
		if size < frameHead || size > s.cfg.BatchBytes-HeaderBytes {
			s.stats.Refused++
			s.drop(c)
			return false
		}
		if c.end-c.start < size {
			c.makeRoom(size)
			return true
		}
		if s.fill+size > s.cfg.BatchBytes {
			c.over = true
			s.full = append(s.full, c)
			return true
		}
		frame := c.in[c.start : c.start+size]
		c.start += size
		if s.disk != nil {
			copy(s.batch[s.fill:], frame)
		}
		s.fill += size
		s.frames++
		at := len(c.out)
		c.out = sock.Extend(c.out, s.cfg.ReplyBytes)
		binary.BigEndian.PutUint32(c.out[at:], uint32(s.cfg.ReplyBytes-4))
		copy(c.out[at+4:], frame[8:12])
		if !c.queued {
			c.queued = true
			s.waiting = append(s.waiting, c)
		}
	}
	c.makeRoom(0)
	return true
}

// makeRoom moves what is left to the front of the buffer and sees to it that a frame of size bytes fits.
func (c *conn) makeRoom(size int) {
	if c.start > 0 {
		copy(c.in, c.in[c.start:c.end])
		c.end, c.start = c.end-c.start, 0
	}
	if size > len(c.in) {
		grown := make([]byte, Pad(size))
		copy(grown, c.in[:c.end])
		c.in = grown
	}
}

// sync makes the batch durable. An error ends the server: whether the bytes are on disk is unknown, and no answer goes out.
func (s *Server) sync() error {
	s.stats.Requests += int64(s.frames)
	s.stats.Bytes += int64(s.fill - HeaderBytes)
	if s.disk != nil {
		s.seq++
		end := Pad(s.fill)
		clear(s.batch[s.fill:end])
		PutHeader(s.batch, Header{Sequence: s.seq, PayloadLen: s.fill - HeaderBytes, Frames: s.frames})
		if err := s.disk.Append(s.batch[:end]); err != nil {
			return fmt.Errorf("floor: block %d: %w", s.seq, err)
		}
		s.stats.Syncs++
	} else if s.cfg.Pause != nil {
		if err := s.cfg.Pause.wait(); err != nil {
			return fmt.Errorf("floor: pause: %w", err)
		}
	}
	s.fill, s.frames = HeaderBytes, 0
	return nil
}

func (s *Server) answer() {
	for _, c := range s.waiting {
		c.queued = false
		if !c.stuck && s.conns[c.fd] == c {
			s.flush(c)
		}
	}
	s.waiting = s.waiting[:0]
}

// flush writes c's answers as far as the socket takes them. What does not fit waits for EPOLLOUT, and c is not read
// until it is gone: a client that does not read its answers gets no further.
func (s *Server) flush(c *conn) {
	for c.sent < len(c.out) {
		n, errno := sock.Write(c.fd, c.out[c.sent:])
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			s.drop(c)
			return
		}
		c.sent += n
	}
	stuck := c.sent < len(c.out)
	if !stuck {
		c.out, c.sent = c.out[:0], 0
	}
	if stuck != c.stuck {
		c.stuck = stuck
		events := uint32(unix.EPOLLIN)
		if stuck {
			events = unix.EPOLLOUT
		}
		s.poll.Watch(unix.EPOLL_CTL_MOD, c.fd, events)
	}
}

// drop closes c and forgets it. Frames of c that are already in the batch are still written: they were received.
func (s *Server) drop(c *conn) {
	s.conns[c.fd] = nil
	unix.Close(c.fd)
}

// open creates the descriptors of the loop.
func (s *Server) open() (err error) {
	if s.listen, s.addr, err = sock.Listen(s.cfg.ListenAddr); err != nil {
		return err
	}
	if s.poll, err = sock.NewPoller(); err != nil {
		return err
	}
	return s.poll.Watch(unix.EPOLL_CTL_ADD, s.listen, unix.EPOLLIN)
}

func (s *Server) accept() error {
	return sock.Accept(s.listen, func(fd int) {
		if s.poll.Watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			unix.Close(fd)
			return
		}
		for len(s.conns) <= fd {
			s.conns = append(s.conns, nil)
		}
		s.conns[fd] = &conn{fd: fd, in: make([]byte, firstReadBytes)}
	})
}

func (s *Server) release() {
	for _, c := range s.conns {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	if s.listen >= 0 {
		unix.Close(s.listen)
	}
	if s.poll != nil {
		s.poll.Close()
	}
	s.conns, s.listen, s.poll = nil, -1, nil
}
