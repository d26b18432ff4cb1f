package server

import (
	"crypto/tls"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// conn returns the server's end of a client's connection.
func (f *fixture) conn(client net.Conn) (s *Conn) {
	f.t.Helper()
	f.until("the connection", func() bool {
		for _, c := range f.list(nil) {
			if c.RemoteAddr().String() == client.LocalAddr().String() {
				s = c
			}
		}
		return s != nil
	})
	return s
}

// TestMutedClientIsNotRead: a client that is told to wait and sends on is not read before its time is over, whoever sent the
// reply that told it. Nobody else is kept waiting.
func TestMutedClientIsNotRead(t *testing.T) {
	const quiet = time.Hour
	plain := func(f *fixture) net.Conn { return f.dial() }
	for name, way := range map[string]struct {
		complete func(r *Request)
		silent   bool // there is no reply
		dial     func(f *fixture) net.Conn
		tls      bool
	}{
		"by the reader":       {complete: echo, dial: plain},
		"by another":          {complete: func(r *Request) { go echo(r) }, dial: plain},
		"corked":              {complete: func(r *Request) { reply(r, r.Header.Body); var k Corker; k.Complete(r); k.Flush() }, dial: plain},
		"without a reply":     {complete: (*Request).Discard, silent: true, dial: plain},
		"by the writer (TLS)": {complete: echo, tls: true, dial: func(f *fixture) net.Conn { return tls.Client(f.dial(), &tls.Config{InsecureSkipVerify: true}) }},
	} {
		t.Run(name, func(t *testing.T) {
			served := make(chan int32, 10)
			h := funcs{serve: func(r *Request) {
				served <- r.Header.Correlation
				if r.Header.Correlation != 1 {
					echo(r)
					return
				}
				r.Mute = quiet
				way.complete(r)
			}}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if way.tls {
				borrowed := httptest.NewTLSServer(nil) // for its certificate
				t.Cleanup(borrowed.Close)
				ln = tls.NewListener(ln, borrowed.TLS)
			}
			f := startOn(t, Config{}, h, ln)
			deaf, other := way.dial(f), way.dial(f)
			write(t, deaf, frame(1, nil))
			if !way.silent {
				readReply(t, deaf)
			}
			<-served
			write(t, deaf, frame(2, nil))
			f.until("the reader to sit out its time", func() bool { return f.Counters.Mutes.Load() == 1 || len(served) > 0 })
			roundTrip(t, other, 3, "not me")
			if n := <-served; n != 3 || len(served) > 0 {
				t.Fatalf("request %d was served to a client that was to wait", n)
			}
			f.ahead.Add(int64(quiet))
			f.conn(deaf).taker.nudge() // the timer goes by another clock than the test's
			if n, _ := readReply(t, deaf); n != 2 {
				t.Errorf("reply %d, want 2", n)
			}
			roundTrip(t, deaf, 4, "heard")
			deaf.Close() // a TLS server waits for its clients
			other.Close()
		})
	}
}

// TestMuteHoldsNothingBack: what was read before is answered, in its order, and a muted connection ends with the server.
func TestMuteHoldsNothingBack(t *testing.T) {
	hold := make(chan *Request, 3)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, append(append(frame(1, nil), frame(2, nil)...), frame(3, nil)...))
	first, second, third := <-hold, <-hold, <-hold
	first.Mute = time.Hour
	echo(first)
	if n, _ := readReply(t, c); n != 1 {
		t.Errorf("reply %d, want 1", n)
	}
	write(t, c, frame(4, nil)) // never served
	f.until("the reader to sit out its time", func() bool { return f.Counters.Mutes.Load() == 1 })
	third.Mute = 2 * time.Hour // counts, and later than the first
	echo(third)
	echo(second)
	for want := int32(2); want <= 3; want++ {
		if n, _ := readReply(t, c); n != want {
			t.Errorf("reply %d, want %d", n, want)
		}
	}
	s := f.only()
	f.until("the longer time", func() bool { return s.mutedUntil.Load() == f.ahead.Load()+int64(2*time.Hour) })
	f.end()
	f.ended(CauseShutdown, 1)
}

// TestMutedTimeIsNotTheClients: neither idle nor slow is who may not speak.
func TestMutedTimeIsNotTheClients(t *testing.T) {
	const quiet = time.Hour // longer than every timeout
	f := start(t, Config{}, funcs{serve: func(r *Request) {
		if r.Header.Correlation == 1 {
			r.Mute = quiet
		}
		echo(r)
	}})
	c := f.dial()
	next := frame(2, []byte("in two pieces"))
	write(t, c, append(frame(1, nil), next[:10]...))
	readReply(t, c)
	s := f.only()
	f.until("the reader to sit out its time", func() bool { return f.Counters.Mutes.Load() == 1 })
	f.advance(quiet - 1)
	f.advance(1) // before the reader has looked
	s.taker.nudge()
	f.until("the frame to go on", func() bool { return s.partialSince.Load() == f.ahead.Load() })
	f.advance(f.cfg.FrameTimeout)
	write(t, c, next[10:])
	if n, _ := readReply(t, c); n != 2 {
		t.Errorf("reply %d, want 2", n)
	}
	f.until("the reply to be counted", func() bool { return f.Counters.Replies.Load() == 2 })
	f.advance(f.cfg.IdleTimeout)
	roundTrip(t, c, 3, "still here")
	f.until("the reply to be counted", func() bool { return f.Counters.Replies.Load() == 3 })
	f.advance(f.cfg.IdleTimeout + 1)
	f.ended(CauseIdle, 1)
}

// TestWaitingForRoomIsNotASlowFrame: a frame that has begun to arrive is not late because replies before it were.
func TestWaitingForRoomIsNotASlowFrame(t *testing.T) {
	hold := make(chan *Request, 3)
	f := start(t, Config{MaxPipeline: 1}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	last := frame(3, []byte("in two pieces"))
	write(t, c, append(append(frame(1, nil), frame(2, nil)...), last[:10]...))
	s := f.only()
	f.until("the reader to wait", func() bool { return f.Counters.PipelineWaits.Load() == 1 })
	f.advance(f.cfg.FrameTimeout + 1)
	echo(<-hold)
	second := <-hold
	f.until("the begun frame", func() bool { return s.partialSince.Load() != 0 })
	f.advance(f.cfg.FrameTimeout) // not longer
	echo(second)
	write(t, c, last[10:])
	echo(<-hold)
	for want := int32(1); want <= 3; want++ {
		if n, _ := readReply(t, c); n != want {
			t.Fatalf("reply %d, want %d", n, want)
		}
	}
}
