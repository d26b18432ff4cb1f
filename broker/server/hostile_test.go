package server

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"ackline/broker/kwire"
)

func TestFramesThatCostTheConnection(t *testing.T) {
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, c := range []struct {
		name  string
		bytes []byte
		cause Cause
	}{
		{"2 GiB", length(1<<31 - 1), CauseFrame},
		{"negative length", length(1 << 31), CauseFrame},
		{"length 0", length(0), CauseFrame},
		{"shorter than a header", length(7), CauseFrame},
		{"above the limit", length(1<<20 + 1), CauseFrame},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), CauseFrame},
		{"TLS", []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, CauseFrame},
		{"unknown key", rawFrame(99, 0, 1, nil), CauseVersion},
		{"version not served", rawFrame(kwire.KeyFetch, 99, 1, nil), CauseVersion},
		{"header cut", append(length(9), make([]byte, 9)...), CauseHeader},
		{"2^32 tags in the header", append(length(15), 0, 60, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), CauseHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, Config{MaxFrameBytes: 1 << 20}, funcs{serve: echo})
			honest, bad := f.dial(), f.dial()
			roundTrip(t, honest, 1, "before")
			// A request before it still gets its reply.
			write(t, bad, append(frame(5, []byte("first")), c.bytes...))
			if n, body := readReply(t, bad); n != 5 || string(body) != "first" {
				t.Errorf("reply %d %q", n, body)
			}
			if rest := gone(t, bad); len(rest) > 0 {
				t.Errorf("%d bytes came back: %x", len(rest), rest)
			}
			f.ended(c.cause, 1)
			roundTrip(t, honest, 2, "after")
		})
	}
}

func TestUnsupportedApiVersionsReachesTheHandler(t *testing.T) {
	f := start(t, Config{}, funcs{serve: func(r *Request) {
		if r.Unsupported == nil || r.Unsupported.Max != 4 {
			t.Errorf("Unsupported is %v", r.Unsupported)
		}
		r.Buf = kwire.AppendResponse(r.Buf, r.Header, kwire.ApiVersions(35))
		r.Reply()
	}})
	c := f.dial()
	write(t, c, rawFrame(kwire.KeyApiVersions, 99, 7, []byte("whatever the future brings")))
	if n, body := readReply(t, c); n != 7 || body[1] != 35 {
		t.Errorf("reply %d %x", n, body)
	}
}

// TestByteAMinute: clients that begin frames and drip hold next to nothing, are cut, and hinder nobody, while a frame
// that makes progress may take long.
func TestByteAMinute(t *testing.T) {
	const drippers = 40
	f := start(t, Config{FrameTimeout: 30 * time.Second, MaxFrameBytes: 8 << 20, MaxInflightBytes: 10 << 20}, funcs{serve: echo})
	var slow []net.Conn
	for range drippers {
		c := f.dial()
		slow = append(slow, c)
		write(t, c, []byte{0, 0x7f, 0xff, 0xff, 1}) // 8 MiB are announced, one byte comes
	}
	begun := func() (n int) {
		for _, c := range f.list(nil) {
			if c.partialSince.Load() != 0 {
				n++
			}
		}
		return n
	}
	f.until("the frames to begin", func() bool { return begun() == drippers })
	if got := f.InflightBytes(); got > f.cfg.MaxInflightBytes {
		t.Errorf("%d bytes are in use, of %d", got, f.cfg.MaxInflightBytes)
	}
	dripping := f.InflightBytes()
	honest := f.dial()
	roundTrip(t, honest, 1, string(make([]byte, 4<<20)))
	f.until("the server to see that its reply was read", func() bool { return f.InflightBytes() == dripping })

	before := f.Counters.BytesIn.Load()
	f.advance(20 * time.Second)
	for _, c := range slow {
		write(t, c, []byte{1})
	}
	f.until("the second byte", func() bool { return f.Counters.BytesIn.Load() == before+drippers })
	roundTrip(t, honest, 2, "still here")
	f.advance(11 * time.Second)
	for _, c := range slow {
		gone(t, c)
	}
	f.ended(CauseSlowFrame, drippers)
	roundTrip(t, honest, 3, "and still")
}

// TestPartOfALength: even three bytes of a length must not wait forever.
func TestPartOfALength(t *testing.T) {
	f := start(t, Config{}, funcs{serve: echo})
	c := f.dial()
	write(t, c, []byte{0, 0, 0})
	s := f.only()
	f.until("the bytes", func() bool { return s.partialSince.Load() != 0 })
	f.advance(f.cfg.FrameTimeout + 1)
	gone(t, c)
	f.ended(CauseSlowFrame, 1)
}

// TestSlowButSteady: a long frame that keeps coming is not cut, however long it takes.
func TestSlowButSteady(t *testing.T) {
	f := start(t, Config{FrameTimeout: 30 * time.Second}, funcs{serve: echo})
	c := f.dial()
	body := make([]byte, 10*progressStep)
	b := frame(1, body)
	for len(b) > 0 {
		n := min(len(b), progressStep)
		read := f.Counters.BytesIn.Load()
		write(t, c, b[:n])
		f.until("the bytes to be read", func() bool { return f.Counters.BytesIn.Load() == read+uint64(n) })
		if b = b[n:]; len(b) > 0 {
			s := f.only()
			f.until("the progress to show", func() bool { return s.partialSince.Load() == f.ahead.Load() })
			f.advance(29 * time.Second)
		}
	}
	if n, got := readReply(t, c); n != 1 || len(got) != len(body) {
		t.Errorf("reply %d of %d bytes", n, len(got))
	}
}

// TestSlowHandlerIsNotASlowFrame: the time between a frame's end and its reply is not the client's.
func TestSlowHandlerIsNotASlowFrame(t *testing.T) {
	serving, finish := make(chan struct{}), make(chan struct{})
	f := start(t, Config{}, funcs{serve: func(r *Request) {
		close(serving)
		<-finish
		echo(r)
	}})
	c := f.dial()
	b := frame(1, []byte("in two pieces"))
	write(t, c, b[:10])
	s := f.only()
	f.until("the first piece", func() bool { return s.partialSince.Load() != 0 })
	write(t, c, b[10:])
	<-serving
	f.advance(f.cfg.IdleTimeout + f.cfg.FrameTimeout)
	close(finish)
	if n, _ := readReply(t, c); n != 1 {
		t.Errorf("reply %d", n)
	}
}

func TestNeverReading(t *testing.T) {
	const size = 64 << 10
	f := start(t, Config{MaxQueuedReplyBytes: 256 << 10, IdleTimeout: 1000 * time.Hour}, funcs{serve: func(r *Request) {
		if r.Header.Correlation == 0 {
			echo(r)
			return
		}
		reply(r, make([]byte, size))
		r.Reply()
	}})
	c := f.dial()
	go func() { // more than sockets and limits hold; fails when the connection is cut
		for i := range int32(10_000) {
			if _, err := c.Write(frame(i+1, make([]byte, 4000))); err != nil {
				return
			}
		}
	}()
	s := f.only()
	f.until("the writer to block and the reader to stop", func() bool {
		return s.blockedSince.Load() != 0 && f.Counters.PipelineWaits.Load() > 0
	})
	s.mu.Lock()
	queued := s.queued
	s.mu.Unlock()
	if queued > f.cfg.MaxQueuedReplyBytes+size+8 {
		t.Errorf("%d bytes are queued", queued)
	}
	honest := f.dial()
	roundTrip(t, honest, 0, "hello")
	f.advance(f.cfg.WriteTimeout)
	if f.Counters.Ended[CauseSlowReader].Load() != 0 {
		t.Error("cut too early")
	}
	f.advanceUntilEnded(CauseSlowReader, f.cfg.WriteTimeout+1)
	roundTrip(t, honest, 0, "hello again")
}

// advanceUntilEnded turns the clock on by steps until a connection is cut. One step is enough if the writer is blocked for
// good; between two chunks that the socket still takes it only looks so.
func (f *fixture) advanceUntilEnded(cause Cause, step time.Duration) {
	f.t.Helper()
	f.until(fmt.Sprintf("a connection to be ended by %v", cause), func() bool {
		f.advance(step)
		return f.Counters.Ended[cause].Load() == 1
	})
}

// TestUnreadRepliesUnderPressure: when unread replies exceed the memory of all, those who do not read go sooner.
func TestUnreadRepliesUnderPressure(t *testing.T) {
	f := start(t, Config{MaxFrameBytes: 1 << 20, MaxInflightBytes: 2 << 20}, funcs{serve: func(r *Request) {
		reply(r, make([]byte, 64<<20))
		r.Reply()
	}})
	c := f.dial()
	write(t, c, frame(1, nil))
	s := f.only()
	f.until("the writer to block", func() bool { return s.blockedSince.Load() != 0 })
	if got := f.InflightBytes(); got < 64<<20 {
		t.Errorf("%d bytes are counted", got)
	}
	f.advanceUntilEnded(CauseSlowReader, f.cfg.WriteTimeout/8+1)
	f.until("the memory to come back", func() bool { return f.InflightBytes() == 0 })
	runtime.KeepAlive(c)
}

func TestIdle(t *testing.T) {
	hold := make(chan *Request, 1)
	f := start(t, Config{IdleTimeout: time.Minute}, funcs{serve: func(r *Request) {
		if string(r.Header.Body) == "hold" {
			hold <- r
			return
		}
		echo(r)
	}})
	silent, waiting, active := f.dial(), f.dial(), f.dial()
	f.until("three connections", func() bool { return f.Connections() == 3 })
	write(t, waiting, frame(9, []byte("hold")))
	r := <-hold
	f.advance(31 * time.Second)
	roundTrip(t, active, 1, "hello")
	f.until("its read to show", func() bool {
		n := 0
		for _, c := range f.list(nil) {
			if c.lastActive.Load() == f.ahead.Load() {
				n++
			}
		}
		return n == 1
	})
	f.advance(30 * time.Second)
	gone(t, silent)
	f.ended(CauseIdle, 1)
	roundTrip(t, active, 2, "hello")
	echo(r)
	if n, _ := readReply(t, waiting); n != 9 {
		t.Errorf("reply %d", n)
	}
}

func TestMaxConnections(t *testing.T) {
	f := start(t, Config{MaxConnections: 3}, funcs{serve: echo})
	var in []net.Conn
	for i := range 3 {
		in = append(in, f.dial())
		roundTrip(t, in[i], 1, "hello")
	}
	if extra, err := net.Dial("tcp", f.addr); err == nil { // else the reset came before the connection was known to be made
		gone(t, extra)
	}
	if n := f.Counters.Refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	in[0].Close()
	f.until("a place", func() bool { return f.Connections() == 2 })
	roundTrip(t, f.dial(), 1, "hello")
}

// TestManyConnections: a thousand at once, each served, and what an idle one holds.
func TestManyConnections(t *testing.T) {
	const n = 1000
	f := start(t, Config{}, funcs{serve: echo})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // the pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for i := range conns {
		conns[i] = f.dial()
		wg.Add(1)
		go func() {
			defer wg.Done()
			roundTrip(t, conns[i], int32(i), fmt.Sprint("client ", i))
		}()
	}
	wg.Wait()
	if each := int64(heap()-before) / n; each > 16<<10 { // both ends, the test's goroutines' stacks, cleanup closures
		t.Errorf("an idle connection holds %d bytes", each)
	} else {
		t.Logf("an idle connection holds %d bytes, the client's end included", each)
	}
}

// TestHalfOpen: a client that goes away without a word, while its request is handled.
func TestHalfOpen(t *testing.T) {
	hold := make(chan *Request, 2)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, append(frame(1, nil), frame(2, nil)...))
	a, b := <-hold, <-hold
	c.(*net.TCPConn).SetLinger(0) // a reset
	c.Close()
	s := f.only()
	f.until("the reader to end", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.readDone })
	reply(b, nil)
	b.Reply()
	reply(a, nil)
	a.Reply()
	f.ended(CauseClient, 1)
	f.until("the connection to be forgotten", func() bool { return f.Connections() == 0 })
}

// TestHalfClosed: a client that has said all it wants to say still gets its replies.
func TestHalfClosed(t *testing.T) {
	hold := make(chan *Request, 1)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, frame(1, nil))
	c.(*net.TCPConn).CloseWrite()
	r := <-hold
	s := f.only()
	f.until("the reader to end", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.readDone })
	reply(r, []byte("yes"))
	r.Reply()
	if n, body := readReply(t, c); n != 1 || string(body) != "yes" {
		t.Errorf("reply %d %q", n, body)
	}
	gone(t, c)
}

func TestAbort(t *testing.T) {
	hold := make(chan *Request, 3)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, append(append(frame(1, nil), frame(2, nil)...), frame(3, nil)...))
	first, second, third := <-hold, <-hold, <-hold
	reply(third, nil)
	third.Reply()
	second.Abort()
	if b := gone(t, c); len(b) > 0 {
		t.Errorf("came back: %x", b)
	}
	reply(first, nil)
	first.Reply()
	f.ended(CauseHandler, 1)
	f.until("the memory to come back", func() bool { return f.InflightBytes() == 0 })
	if n := f.Counters.Replies.Load(); n != 0 {
		t.Errorf("%d replies are counted", n)
	}
}

// TestUnreadRequestsDoNotDestroyReplies: closing a socket that holds unread bytes throws away what was not sent yet.
func TestUnreadRequestsDoNotDestroyReplies(t *testing.T) {
	const size = 1 << 20
	f := start(t, Config{}, funcs{serve: func(r *Request) {
		reply(r, make([]byte, size))
		r.Reply()
	}})
	d := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) (err error) {
		rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8192) })
		return err
	}}
	c, err := d.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A request, a frame that ends the connection, and more than one read takes behind it.
	write(t, c, append(append(frame(1, nil), 0, 0, 0, 0), make([]byte, 100<<10)...))
	s := f.only()
	f.until("the reader to end", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.readDone })
	if n, body := readReply(t, c); n != 1 || len(body) != size {
		t.Errorf("reply %d of %d bytes", n, len(body))
	}
}

func TestCompletingTwicePanics(t *testing.T) {
	hold := make(chan *Request, 2)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, append(frame(1, nil), frame(2, nil)...))
	first, second := <-hold, <-hold
	second.Complete()
	func() {
		defer first.Conn.mu.Unlock() // complete panicked with it held
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		second.Complete()
	}()
	first.Discard()
}

func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("zero: %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, c := range []Config{
		{MaxConnections: -1}, {MaxFrameBytes: 100}, {MaxInflightBytes: 1 << 20}, {MaxFrameBytes: 2 << 30},
		{IdleTimeout: -1}, {FrameTimeout: -time.Second}, {WriteTimeout: -1}, {MaxPipeline: -1}, {ReadBufferBytes: 1},
		{MaxQueuedReplyBytes: -1},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v passes", c)
		} else if _, again := New(c, funcs{}); again == nil {
			t.Errorf("New takes what Validate refuses: %v", err)
		}
	}
}
