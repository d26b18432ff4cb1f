// Package sock is what the floor's loops need of the kernel: TCP sockets that never block, and one place to wait for all of
// them. Package net would do, but between a socket that becomes ready and the code that wants to know stand its poller, a
// goroutine's wake-up and a lock, as expensive together as everything else that the floor does.
package sock

import (
	"context"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read and Write go past the scheduler's bookkeeping around system calls, which is for calls that may block: the sockets
// are non-blocking. b is never empty.
func Read(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// Write is Read's counterpart.
func Write(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// Extend lengthens b by n zero bytes, reusing its memory.
func Extend(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		grown := make([]byte, len(b), 2*cap(b)+n)
		copy(grown, b)
		b = grown
	}
	end := len(b) + n
	clear(b[len(b):end])
	return b[:end]
}

// Poller waits for descriptors; any number of threads may wait on one. WakeFD is its descriptor for the end: it is written
// once and read by nobody, so every wait from then on returns it.
type Poller struct {
	epoll  int
	WakeFD int

	// Hold makes Wait keep the scheduler out like Read and Write, although it blocks: the goroutine keeps its P. Only for a
	// process that has a P for each goroutine that waits, and one more. Without it the scheduler's monitor finds, every
	// 10 ms, a goroutine in a system call that was never rescheduled, takes its P, and watches more closely for a while:
	// measured, 2 wake-ups and 55 µs of CPU for each request of 600 µs.
	Hold bool
}

// NewPoller opens both descriptors.
func NewPoller() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &Poller{epoll: epoll, WakeFD: -1}
	if p.WakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		p.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := p.Watch(unix.EPOLL_CTL_ADD, p.WakeFD, unix.EPOLLIN); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Watch adds or changes a descriptor; op is unix.EPOLL_CTL_ADD or _MOD. Closing a descriptor removes it.
func (p *Poller) Watch(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// Wait returns how many events there are, none when a signal came first. timeoutMs of -1 waits for ever.
func (p *Poller) Wait(events []unix.EpollEvent, timeoutMs int) (int, error) {
	if p.Hold {
		return p.hold(events, timeoutMs)
	}
	n, err := unix.EpollWait(p.epoll, events, timeoutMs)
	if err != nil && err != unix.EINTR {
		return 0, fmt.Errorf("floor: epoll_wait: %w", err)
	}
	return max(n, 0), nil
}

func (p *Poller) hold(events []unix.EpollEvent, timeoutMs int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(timeoutMs), 0, 0)
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("floor: epoll_pwait: %w", errno)
	}
	return int(n), nil
}

// Wake ends every wait, now and later.
func (p *Poller) Wake() {
	unix.Write(p.WakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an eventfd fails only near 2^64, and nobody else adds to it
}

// WakeWith calls Wake when ctx ends, until stop is called. When stop has returned, p is not touched any more.
func (p *Poller) WakeWith(ctx context.Context) (stop func()) {
	woken := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		p.Wake()
		close(woken)
	})
	// The descriptor must outlive the write, also when the loop ends for another reason at the same moment.
	return func() {
		if !cancel() {
			<-woken
		}
	}
}

// Close closes both descriptors; nobody may wait any more.
func (p *Poller) Close() {
	for _, fd := range []int{p.epoll, p.WakeFD} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.epoll, p.WakeFD = -1, -1
}

// Listen binds addr (host:port) and returns the listening descriptor with the address it got.
func Listen(addr string) (fd int, bound string, err error) {
	host, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, "", err
	}
	family, sa := sockaddr(host)
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, "", os.NewSyscallError("socket", err)
	}
	if bound, err = bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, bound, nil
}

func bind(fd int, sa unix.Sockaddr) (string, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return "", os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return "", os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return "", os.NewSyscallError("listen", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	return hostPort(bound), nil
}

// Accept takes every connection that waits, without Nagle's delay, and hands it to take, which owns it from then on. An
// error is the end of a server: out of descriptors, it would be told of the same connection again and again.
func Accept(listen int, take func(fd int)) error {
	for {
		fd, _, err := unix.Accept4(listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("floor: accept: %w", err)
		}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil {
			unix.Close(fd)
			continue
		}
		take(fd)
	}
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
