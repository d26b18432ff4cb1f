// Package sock is sockets without the runtime's help.
//
// The wire driver's sockets never meet the net package: a descriptor that was once in the runtime's epoll stays there
// and costs a wake-up of the netpoller for every reply, and a blocking read would have to pass a goroutine switch.
package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resolve turns host:port into socket addresses. Called outside of what is measured.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return out, nil
}

// Dial opens a TCP connection to addr within timeout: non-blocking, without Nagle's delay.
func Dial(addr string, timeout time.Duration) (fd int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ips, err := resolve(ctx, addr)
	if err != nil {
		return -1, fmt.Errorf("connect to %s: %w", addr, err)
	}
	deadline, _ := ctx.Deadline()
	for _, ip := range ips {
		if fd, err = connect(ip, time.Until(deadline)); err == nil {
			return fd, nil
		}
	}
	return -1, fmt.Errorf("connect to %s: %w", addr, err)
}

func connect(to netip.AddrPort, timeout time.Duration) (int, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		err = unix.Connect(fd, sa)
	}
	if errors.Is(err, unix.EINPROGRESS) {
		err = awaitConnect(fd, timeout)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func awaitConnect(fd int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		ts := unix.NsecToTimespec(left.Nanoseconds())
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, &ts, nil)
		if errors.Is(err, unix.EINTR) || (err == nil && n == 0) {
			continue
		}
		if err != nil {
			return err
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
}

// MakeBlocking lets reads of fd wait, for at most tick.
func MakeBlocking(fd int, tick time.Duration) error {
	if err := unix.SetNonblock(fd, false); err != nil {
		return fmt.Errorf("fcntl: %w", err)
	}
	tv := unix.NsecToTimeval(tick.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return nil
}

// rawSendBytes is up to where a send is made without telling the scheduler: it does not block, and giving the P away and
// taking it back costs more than the call. A larger one copies for longer than a stop of the world should wait.
const rawSendBytes = 64 << 10

const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// Send offers p to the socket and never waits. EAGAIN is (0, nil).
func Send(fd int, p []byte) (int, error) {
	for {
		var n uintptr
		var errno unix.Errno
		if len(p) <= rawSendBytes {
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), sendFlags, 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), sendFlags, 0, 0)
		}
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, fmt.Errorf("send: %w", errno)
		}
	}
}

// ErrClosed says that the peer closed the connection.
var ErrClosed = errors.New("the peer closed the connection")

// RecvWait reads what is there, or waits for it on this thread for as long as the socket was set up to. Nothing yet is (0, nil).
func RecvWait(fd int, p []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return received(n, errno)
}

// RecvNow reads what is there. Nothing is (0, nil).
func RecvNow(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return received(n, errno)
}

func received(n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		if n == 0 {
			return 0, ErrClosed
		}
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("receive: %w", errno)
}

// AwaitWritable waits until fd takes bytes or answers, for at most tick.
func AwaitWritable(fd int, tick time.Duration) {
	ts := unix.NsecToTimespec(tick.Nanoseconds())
	// Whatever the outcome, the caller tries to send again and sees for itself.
	_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT | unix.POLLIN}}, &ts, nil)
}
