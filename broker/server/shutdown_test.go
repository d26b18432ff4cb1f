package server

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	hold := make(chan *Request, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := startOn(t, Config{}, funcs{serve: func(r *Request) { hold <- r }}, ln)
	busy, idle := f.dial(), f.dial()
	write(t, busy, frame(1, nil))
	r := <-hold
	f.until("both", func() bool { return f.Connections() == 2 })
	done := make(chan struct{})
	go func() { f.end(); close(done) }()
	gone(t, idle)
	f.until("the end of reading", r.Conn.ending.Load)
	// What comes now is not served any more, and must not destroy the reply either.
	write(t, busy, frame(2, nil))
	reply(r, []byte("in time"))
	r.Reply()
	if n, body := readReply(t, busy); n != 1 || string(body) != "in time" {
		t.Errorf("reply %d %q", n, body)
	}
	gone(t, busy)
	<-done
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
	f.ended(CauseShutdown, 2)
}

// TestWhoWasNeverAnsweredIsReset: an end of file before the first answer says to clients that this is no Kafka broker, and they give
// up; a reset that it is one no more. So it is for those that are refused, too. What breaks the protocol gets its end of file.
func TestWhoWasNeverAnsweredIsReset(t *testing.T) {
	end := func(c net.Conn) error {
		c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	f := start(t, Config{MaxConnections: 4}, funcs{serve: echo})
	wrong := f.dial()
	write(t, wrong, []byte{0xff, 0xff, 0xff, 0xff})
	if err := end(wrong); !errors.Is(err, io.EOF) {
		t.Errorf("a frame of negative length is answered with %v", err)
	}
	wrong.Close()
	f.until("its end", func() bool { return f.Connections() == 0 })
	silent, begun, answered, other := f.dial(), f.dial(), f.dial(), f.dial()
	write(t, begun, frame(1, nil)[:5])
	roundTrip(t, answered, 1, "hello")
	roundTrip(t, other, 1, "hello")
	f.until("all four", func() bool { return f.Connections() == 4 })
	extra, err := net.Dial("tcp", f.addr)
	if err == nil {
		defer extra.Close()
		err = end(extra)
	} // else the reset came before the connection was known to be made
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one connection too many ends with %v", err)
	}
	f.StopAccepting()
	if _, err := net.Dial("tcp", f.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to who accepts none: %v", err)
	}
	roundTrip(t, other, 2, "still served")
	go f.end()
	for what, c := range map[string]net.Conn{"one that said nothing": silent, "one that began to say something": begun} {
		if err := end(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s ends with %v", what, err)
		}
	}
	for _, c := range []net.Conn{answered, other} {
		if err := end(c); !errors.Is(err, io.EOF) {
			t.Errorf("one that was answered ends with %v", err)
		}
		c.Close()
	}
}

func TestShutdownDeadline(t *testing.T) {
	hold := make(chan *Request, 1)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, frame(1, nil))
	r := <-hold
	f.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	if b := gone(t, c); len(b) > 0 {
		t.Errorf("came back: %x", b)
	}
	reply(r, nil)
	r.Reply()
	f.until("the end", func() bool { return f.Connections() == 0 })
}
