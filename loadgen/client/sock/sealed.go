package sock

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Upgrade makes of a fresh connection to addr one that the broker there accepts: conn itself, or a *tls.Conn on it. It may take
// until conn's deadline.
type Upgrade func(conn net.Conn, addr string) (net.Conn, error)

// Open dials addr on a way within dial and upgrades the connection within upgrade. sealed is nil when nothing is encrypted; the descriptor is then
// used as it is, as after Dial. Otherwise everything has to pass through sealed, and fd is only waited on and closed.
func Open(way Way, addr string, dial, upgrade time.Duration, up Upgrade) (fd int, sealed *Sealed, err error) {
	if fd, err = way.Dial(addr, dial); err != nil {
		return -1, nil, err
	}
	s := &stream{fd: fd, deadline: time.Now().Add(upgrade)}
	conn, err := up(s, addr)
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	s.deadline = time.Time{}
	if t, ok := conn.(*tls.Conn); ok {
		sealed = &Sealed{stream: s, tls: t}
	}
	return fd, sealed, nil
}

// Sealed is TLS over a descriptor, with the ways of Send and Recv: it never waits when it is not told to.
type Sealed struct {
	stream *stream
	tls    *tls.Conn
	owed   int // bytes that are encrypted and of which the socket has not taken everything
}

// sealBytes is how much is encrypted at once.
const sealBytes = 64 << 10

// Send is like the function Send. 0 means that the socket does not take everything now, and that the same bytes must be offered
// again, with others behind them or not: they are encrypted already.
func (s *Sealed) Send(p []byte) (int, error) {
	if s.owed == 0 {
		n := min(len(p), sealBytes)
		if _, err := s.tls.Write(p[:n]); err != nil {
			return 0, fmt.Errorf("send: %w", err)
		}
		s.owed = n
	}
	if len(p) < s.owed {
		panic(fmt.Sprintf("sock: %d bytes offered again, want at least the %d that are encrypted", len(p), s.owed))
	}
	if gone, err := s.stream.push(); !gone {
		return 0, err
	}
	n := s.owed
	s.owed = 0
	return n, nil
}

// Recv is like RecvWait or RecvNow. What it returned less than asked for may be followed by more: only 0 says that nothing is there.
func (s *Sealed) Recv(p []byte, wait bool) (int, error) {
	if _, err := s.stream.push(); err != nil { // what TLS itself had to say
		return 0, err
	}
	s.stream.wait = wait
	n, err := s.tls.Read(p)
	switch {
	case n > 0 || errors.Is(err, errNothing):
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, ErrClosed
	case err != nil:
		return 0, fmt.Errorf("receive: %w", err)
	}
	return 0, nil
}

// State describes the encryption: its version and cipher.
func (s *Sealed) State() string {
	st := s.tls.ConnectionState()
	return tls.VersionName(st.Version) + " " + tls.CipherSuiteName(st.CipherSuite)
}

// errNothing is what crypto/tls gets to hear when nothing is there yet. A read that fails with an error that is temporary may be
// repeated (that is what makes deadlines work), and what came of a record is kept; a write may not, so stream takes every one.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing is there yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// stream is a descriptor as crypto/tls wants one. Until the deadline is taken away it reads and writes like any connection, so
// that handshakes can be made; then it does not wait, and keeps what the socket does not take. Used by one goroutine.
type stream struct {
	fd       int
	deadline time.Time
	wait     bool // reads wait as long as the socket was set up to
	out      []byte
	sent     int // of out
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		recv := RecvNow
		if s.wait {
			recv = RecvWait
		}
		n, err := recv(s.fd, p)
		if n > 0 || err != nil {
			return n, err
		}
		if s.deadline.IsZero() {
			return 0, errNothing
		}
		if err := s.await(unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

func (s *stream) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	for !s.deadline.IsZero() {
		gone, err := s.push()
		if gone || err != nil {
			return len(p), err
		}
		if err := s.await(unix.POLLOUT); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// push offers the socket what is kept.
func (s *stream) push() (gone bool, err error) {
	for s.sent < len(s.out) {
		n, err := Send(s.fd, s.out[s.sent:])
		if n == 0 || err != nil {
			return false, err
		}
		s.sent += n
	}
	s.out, s.sent = s.out[:0], 0
	return true, nil
}

func (s *stream) await(events int16) error {
	left := time.Until(s.deadline)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	ts := unix.NsecToTimespec(left.Nanoseconds())
	if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// The rest is what a net.Conn has and nobody here asks for: the descriptor's owner closes it.

func (s *stream) Close() error                     { return nil }
func (s *stream) LocalAddr() net.Addr              { return nil }
func (s *stream) RemoteAddr() net.Addr             { return nil }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
