package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/kwire"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// frame builds a request of DescribeCluster version 0, which has an empty layout as far as the server goes.
func frame(correlation int32, body []byte) []byte {
	return rawFrame(kwire.KeyDescribeCluster, 0, correlation, body)
}

func rawFrame(key, version int16, correlation int32, body []byte) []byte {
	b := make([]byte, 4, 32+len(body))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0xff, 0xff, 0) // no client id, no tags
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// reply puts a frame of the correlation id and a body into Buf.
func reply(r *Request, body []byte) {
	r.Buf = binary.BigEndian.AppendUint32(r.Buf, uint32(4+len(body)))
	r.Buf = binary.BigEndian.AppendUint32(r.Buf, uint32(r.Header.Correlation))
	r.Buf = append(r.Buf, body...)
}

// readReply reads one such frame.
func readReply(t testing.TB, c net.Conn) (correlation int32, body []byte) {
	t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatalf("reading a reply: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatalf("reading a reply: %v", err)
	}
	return int32(binary.BigEndian.Uint32(head[4:])), body
}

// funcs is a Handler of functions; nil does nothing.
type funcs struct {
	serve func(r *Request)
	flush func(c *Conn)
}

func (f funcs) Serve(r *Request) { f.serve(r) }

func (f funcs) Flush(c *Conn) {
	if f.flush != nil {
		f.flush(c)
	}
}

func echo(r *Request) {
	reply(r, r.Header.Body)
	r.Reply()
}

// fixture is a running server with a clock that the test turns.
type fixture struct {
	*Server
	t     testing.TB
	addr  string
	ahead atomic.Int64 // nanoseconds that the clock is ahead of a start
	once  sync.Once
}

func start(t testing.TB, cfg Config, h Handler) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, cfg, h, ln)
}

func startOn(t testing.TB, cfg Config, h Handler, ln net.Listener) *fixture {
	t.Helper()
	f := &fixture{t: t, addr: ln.Addr().String()}
	f.ahead.Store(1)
	cfg.Now = f.ahead.Load
	s, err := New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		f.end()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		f.until("the budget to be given back", func() bool { return s.InflightBytes() == 0 })
	})
	return f
}

// end shuts down, within a time that only a hanging test exceeds.
func (f *fixture) end() {
	f.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			f.t.Errorf("Shutdown: %v", err)
		}
	})
}

func (f *fixture) dial() net.Conn {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// advance turns the clock and sweeps.
func (f *fixture) advance(d time.Duration) {
	f.ahead.Add(int64(d))
	f.sweep(nil)
}

// only returns the one open connection.
func (f *fixture) only() *Conn {
	f.t.Helper()
	var c *Conn
	f.until("one connection", func() bool {
		l := f.list(nil)
		if len(l) == 1 {
			c = l[0]
		}
		return len(l) == 1
	})
	return c
}

// until waits for a condition that other goroutines bring about.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	until(f.t, what, ok)
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// arrived waits until so many bytes stand in the server's socket, unread: that a client's Write has returned does not say so.
func (f *fixture) arrived(c *Conn, n int) {
	f.t.Helper()
	f.until(fmt.Sprintf("%d bytes to arrive", n), func() (all bool) {
		err := c.raw.Control(func(fd uintptr) {
			waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			all = err == nil && waiting >= n
		})
		return err == nil && all
	})
}

// ended waits until so many connections ended for a cause.
func (f *fixture) ended(cause Cause, n uint64) {
	f.t.Helper()
	f.until(fmt.Sprintf("%d connections ended by %v", n, cause), func() bool {
		return f.Counters.Ended[cause].Load() == n
	})
}

// gone waits until the server closes the connection, and returns what came before.
func gone(t testing.TB, c net.Conn) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("the connection is still open")
	}
	c.Close() // or the server lingers
	return b
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// roundTrip sends one request and checks the echo.
func roundTrip(t testing.TB, c net.Conn, correlation int32, body string) {
	t.Helper()
	write(t, c, frame(correlation, []byte(body)))
	if n, b := readReply(t, c); n != correlation || string(b) != body {
		t.Fatalf("reply %d with %d bytes, want %d with %d", n, len(b), correlation, len(body))
	}
}
