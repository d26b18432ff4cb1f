// Package null is a broker that does nothing: it answers what a generator asks, at once and in valid form, and keeps nothing.
//
// The problem: how much a generator costs and how late it is can only be told beside something that costs next to nothing.
// Any real broker, and a floor with its disk, would hide tens of microseconds of the generator's in its own hundred. Here one
// thread waits for all sockets; the answer of a Produce is a few dozen bytes that are written down without a library; and
// everything that is not frequent goes through kmsg. It is spoken to as a broker is and not as a floor, because towards a floor
// the wire driver looks at nothing but a correlation id: what it does with a broker's answer would go unmeasured.
//
// A second listener is the measure of the measure: a bare echo, in the same loop, that knows no protocol and only counts
// bytes. What a request takes beyond an echo of the same sizes is the generator's and the protocol's.
//
// A responder that shared a process with the generator would share its scheduler and its garbage. So there is Process, which
// runs one elsewhere.
package null

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Server is a responder that listens. Addr and Echo may be read at any time; the rest belongs to the goroutine in Serve.
type Server struct {
	// Addr and Echo are the host:port of the broker and of the echo.
	Addr, Echo string
	// Hold keeps the scheduler out of the waits for sockets, which costs a P for the responder alone: only for a process in
	// which nothing else runs. Set before Serve.
	Hold bool

	epoll, wake  int
	broker, echo int // listening
	conns        map[int32]*conn
	ends         map[string]*[partitions]int64 // of the topics that were written to
	out          []byte
	host         string
	port         int32
}

const (
	partitions = 1 // of each topic
	// inBytes is what one read takes at most while frames are smaller; a whole batch fits.
	inBytes = 256 << 10
	// maxFrame bounds the length of a request that is believed.
	maxFrame = 128 << 20
)

// New listens at two free ports of host, "127.0.0.1" for instance.
func New(host string) (s *Server, err error) {
	s = &Server{epoll: -1, wake: -1, broker: -1, echo: -1, conns: map[int32]*conn{}, ends: map[string]*[partitions]int64{}, host: host}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if s.broker, s.Addr, err = listen(host); err != nil {
		return nil, err
	}
	if s.echo, s.Echo, err = listen(host); err != nil {
		return nil, err
	}
	a, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	s.port = int32(a.Port)
	for _, fd := range []int{s.wake, s.broker, s.echo} {
		if err = s.watch(fd); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listen returns a descriptor that the runtime's poller does not know.
func listen(host string) (fd int, addr string, err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return -1, "", err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return -1, "", err
	}
	defer f.Close()
	if fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return -1, "", os.NewSyscallError("fcntl", err)
	}
	if err = unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, "", os.NewSyscallError("fcntl", err)
	}
	return fd, l.Addr().String(), nil
}

func (s *Server) watch(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (s *Server) close() {
	for fd := range s.conns {
		unix.Close(int(fd))
	}
	for _, fd := range []int{s.epoll, s.wake, s.broker, s.echo} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Serve answers until ctx ends, and closes everything. A peer that sends what no generator of ours would is closed, and so is
// one that does not read its answers.
func (s *Server) Serve(ctx context.Context) error {
	woken := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only near 2^64
		close(woken)
	})
	defer func() {
		if !cancel() {
			<-woken // the descriptor must outlive the write
		}
		s.close()
	}()
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := s.wait(events)
		if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			switch int(ev.Fd) {
			case s.wake:
				return nil
			case s.broker, s.echo:
				if err := s.accept(int(ev.Fd)); err != nil {
					return err
				}
			default:
				s.ready(ev.Fd)
			}
		}
	}
}

func (s *Server) wait(events []unix.EpollEvent) (int, error) {
	var n int
	var err error
	if s.Hold {
		r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), ^uintptr(0), 0, 0)
		if n = int(r); errno != 0 {
			n, err = 0, errno
		}
	} else {
		n, err = unix.EpollWait(s.epoll, events, -1)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("null: epoll_wait: %w", err)
	}
	return max(n, 0), nil
}

// accept takes every connection that waits.
func (s *Server) accept(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED):
			continue
		default:
			return fmt.Errorf("null: accept: %w", err)
		}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil || s.watch(fd) != nil {
			unix.Close(fd)
			continue
		}
		s.conns[int32(fd)] = &conn{in: make([]byte, inBytes), echo: listener == s.echo}
	}
}

// ready reads what a connection has and answers all of it with one write.
func (s *Server) ready(fd int32) {
	c := s.conns[fd]
	if c == nil {
		return // closed by an event before this one
	}
	n, err := unix.Read(int(fd), c.in[c.n:])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	s.out = s.out[:0]
	if err == nil && n > 0 {
		c.n += n
		err = s.take(c)
	}
	if err == nil && n > 0 && len(s.out) > 0 {
		var sent int
		if sent, err = unix.SendmsgN(int(fd), s.out, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err == nil && sent < len(s.out) {
			err = errors.New("the answers are not read")
		}
	}
	if err != nil || n <= 0 {
		unix.Close(int(fd))
		delete(s.conns, fd)
	}
}

// Announcement is how a responder in another process says where it listens, in one line.
func (s *Server) Announcement() string { return fmt.Sprintf("null %s echo %s\n", s.Addr, s.Echo) }

// announced reads an Announcement.
func announced(line string) (addr, echo string, err error) {
	if f := strings.Fields(line); len(f) == 4 && f[0] == "null" && f[2] == "echo" {
		return f[1], f[3], nil
	}
	return "", "", fmt.Errorf("null: the responder's first line is %q, want \"null host:port echo host:port\"", line)
}
