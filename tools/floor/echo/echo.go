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
// and the same answers, which is what the disk's share is told from.
package echo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
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

// Server is the echo. All of it belongs to the goroutine that runs Serve, save for wake, which is set before and closed
// after anybody else can use it.
type Server struct {
	cfg    Config
	disk   Appender // nil: bare TCP echo
	listen int
	epoll  int
	wake   int // eventfd: written when the context ends, read by nobody
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
	s := &Server{cfg: cfg, disk: disk, listen: -1, epoll: -1, wake: -1, batch: aligned(cfg.BatchBytes), fill: HeaderBytes}
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
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an eventfd fails only near 2^64, and nobody else adds to it
		close(woken)
	})
	// The descriptor must outlive the write, also when the loop ends for another reason at the same moment.
	defer func() {
		if !stop() {
			<-woken
		}
	}()
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
	n, err := unix.EpollWait(s.epoll, events, timeout)
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("floor: epoll_wait: %w", err)
	}
	s.resume()
	for i := range max(n, 0) {
		switch fd := int(events[i].Fd); fd {
		case s.wake:
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
		n, errno := rawRead(c.fd, free)
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
		c.out = extend(c.out, s.cfg.ReplyBytes)
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
		grown := make([]byte, pad(size))
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
		end := pad(s.fill)
		clear(s.batch[s.fill:end])
		putHeader(s.batch, Header{Sequence: s.seq, PayloadLen: s.fill - HeaderBytes, Frames: s.frames})
		if err := s.disk.Append(s.batch[:end]); err != nil {
			return fmt.Errorf("floor: block %d: %w", s.seq, err)
		}
		s.stats.Syncs++
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
		n, errno := rawWrite(c.fd, c.out[c.sent:])
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
		s.watch(unix.EPOLL_CTL_MOD, c.fd, events)
	}
}

// drop closes c and forgets it. Frames of c that are already in the batch are still written: they were received.
func (s *Server) drop(c *conn) {
	s.conns[c.fd] = nil
	unix.Close(c.fd)
}

// extend lengthens b by n zero bytes, reusing its memory.
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

func aligned(n int) []byte {
	b := make([]byte, n+BlockSize)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (BlockSize - 1)
	return b[skip : skip+n : skip+n]
}

// rawRead and rawWrite go past the scheduler's bookkeeping around system calls, which is for calls that may block: the
// sockets are non-blocking. b is never empty.
func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// open creates the three descriptors of the loop.
func (s *Server) open() (err error) {
	host, err := net.ResolveTCPAddr("tcp", s.cfg.ListenAddr)
	if err != nil {
		return err
	}
	family, sa := sockaddr(host)
	if s.listen, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err = unix.SetsockoptInt(s.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err = unix.Bind(s.listen, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err = unix.Listen(s.listen, 1024); err != nil {
		return os.NewSyscallError("listen", err)
	}
	bound, err := unix.Getsockname(s.listen)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.addr = hostPort(bound)
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	return errors.Join(s.watch(unix.EPOLL_CTL_ADD, s.wake, unix.EPOLLIN), s.watch(unix.EPOLL_CTL_ADD, s.listen, unix.EPOLLIN))
}

func (s *Server) watch(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// accept takes every connection that waits. A server that is out of descriptors ends: it would be told of the same
// connection again and again.
func (s *Server) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("floor: accept with descriptors up to %d in use: %w", len(s.conns), err)
		}
		c := &conn{fd: fd, in: make([]byte, firstReadBytes)}
		for len(s.conns) <= fd {
			s.conns = append(s.conns, nil)
		}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil ||
			s.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			unix.Close(fd)
			continue
		}
		s.conns[fd] = c
	}
}

func (s *Server) release() {
	for _, c := range s.conns {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	for _, fd := range []int{s.listen, s.epoll, s.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	s.conns, s.listen, s.epoll, s.wake = nil, -1, -1, -1
}

func sockaddr(a *net.TCPAddr) (int, unix.Sockaddr) {
	if ip := a.IP.To4(); ip != nil || a.IP == nil {
		sa := &unix.SockaddrInet4{Port: a.Port}
		copy(sa.Addr[:], ip)
		return unix.AF_INET, sa
	}
	sa := &unix.SockaddrInet6{Port: a.Port}
	copy(sa.Addr[:], a.IP.To16())
	return unix.AF_INET6, sa
}

func hostPort(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	}
	panic(fmt.Sprintf("floor: bound to a socket of type %T, want IPv4 or IPv6", sa))
}
