package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Timeout bounds one attempt, greeting included.
const Timeout = 5 * time.Second

// ErrMismatch is a follower that will not do however often it is asked.
var ErrMismatch = errors.New("not a follower of this leader")

// dial connects to a follower, exchanges greetings and returns the non-blocking socket, which is no longer net's.
func dial(ctx context.Context, addr string, batchBytes int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return -1, err
	}
	defer c.Close() // takes the socket out of net's own poller; the duplicate lives on
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	var b [GreetingBytes]byte
	PutGreeting(b[:], batchBytes)
	if _, err := c.Write(b[:]); err != nil {
		return -1, err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return -1, fmt.Errorf("no greeting: %w (is it floor serve --follow?)", err)
	}
	theirs, err := ParseGreeting(b[:])
	if err != nil {
		return -1, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if theirs < batchBytes {
		return -1, fmt.Errorf("%w: it takes batches of %d bytes, ours are up to %d: give both the same --batch-bytes",
			ErrMismatch, theirs, batchBytes)
	}
	return Duplicate(c.(*net.TCPConn))
}

// Duplicate returns a descriptor of c's socket that stays open when c is closed.
func Duplicate(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := raw.Control(func(orig uintptr) { fd, err = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, err
}

// redialEvery is the pause between two attempts to reach a follower.
const redialEvery = 50 * time.Millisecond

// DialUntil connects to a follower that takes batches of so many bytes, exchanges greetings, and returns the non-blocking
// socket. It tries again while ctx lasts, and then returns the last attempt's error; ErrMismatch comes at once.
func DialUntil(ctx context.Context, addr string, batchBytes int) (fd int, err error) {
	for {
		fd, err = dial(ctx, addr, batchBytes)
		if err == nil || errors.Is(err, ErrMismatch) {
			return fd, err
		}
		select {
		case <-ctx.Done():
			return -1, err
		case <-time.After(redialEvery):
		}
	}
}
