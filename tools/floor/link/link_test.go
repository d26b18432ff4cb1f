package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/echo"
)

func TestFormatOffsets(t *testing.T) {
	got := make([]byte, GreetingBytes)
	PutGreeting(got, 0x01020304)
	if want := []byte("ACKFLINK\x01\x00\x00\x00\x04\x03\x02\x01"); !bytes.Equal(got, want) {
		t.Errorf("greeting is % x, want % x", got, want)
	}
	got = make([]byte, echo.HeaderBytes)
	PutMessage(got, Message{echo.Header{Sequence: 5, PayloadLen: 6, Frames: 7}, KindTrial})
	if want := []byte("ACKFLOOR\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"); !bytes.Equal(got, want) {
		t.Errorf("message is % x, want % x", got, want)
	}
	got = make([]byte, AckBytes)
	PutAck(got, 0x0102, 0x0304)
	if want := []byte("\x02\x01\x00\x00\x00\x00\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00"); !bytes.Equal(got, want) {
		t.Errorf("acknowledgement is % x, want % x", got, want)
	}
	if seq, ns := ParseAck(got); seq != 0x0102 || ns != 0x0304 {
		t.Errorf("parsed %x %x", seq, ns)
	}
}

func TestParseMessage(t *testing.T) {
	for name, c := range map[string]struct {
		m    Message
		last uint64
		ok   bool
	}{
		"a batch":                {Message{echo.Header{Sequence: 2, PayloadLen: 100, Frames: 3}, KindBatch}, 1, true},
		"a trial after a gap":    {Message{echo.Header{Sequence: 9, PayloadLen: 100, Frames: 3}, KindTrial}, 1, true},
		"a ping":                 {Message{echo.Header{Sequence: 2}, KindPing}, 1, true},
		"as large as it may be":  {Message{echo.Header{Sequence: 2, PayloadLen: 8192 - echo.HeaderBytes, Frames: 3}, KindBatch}, 1, true},
		"too large":              {Message{echo.Header{Sequence: 2, PayloadLen: 8193 - echo.HeaderBytes, Frames: 3}, KindBatch}, 1, false},
		"the same sequence":      {Message{echo.Header{Sequence: 2, PayloadLen: 100, Frames: 3}, KindBatch}, 2, false},
		"an unknown kind":        {Message{echo.Header{Sequence: 2, PayloadLen: 100, Frames: 3}, 3}, 1, false},
		"a batch without bytes":  {Message{echo.Header{Sequence: 2, Frames: 3}, KindBatch}, 1, false},
		"a batch without frames": {Message{echo.Header{Sequence: 2, PayloadLen: 100}, KindBatch}, 1, false},
		"a ping with bytes":      {Message{echo.Header{Sequence: 2, PayloadLen: 100, Frames: 1}, KindPing}, 1, false},
	} {
		b := make([]byte, echo.HeaderBytes)
		PutMessage(b, c.m)
		got, err := ParseMessage(b, 8192, c.last)
		if (err == nil) != c.ok || c.ok && got != c.m {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := ParseMessage(make([]byte, echo.HeaderBytes), 8192, 0); !errors.Is(err, echo.ErrNoBlock) {
		t.Errorf("zeros: %v, want ErrNoBlock", err)
	}
}

// follower answers every greeting with answer.
func follower(t *testing.T, answer []byte) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, GreetingBytes))
			c.Write(answer)
			io.Copy(c, c)
		}
	}()
	return ln.Addr().String()
}

// What DialUntil returns is a socket that is nobody else's, does not block, and is connected.
func TestDialUntil(t *testing.T) {
	greeting := func(batchBytes int) []byte {
		b := make([]byte, GreetingBytes)
		PutGreeting(b, batchBytes)
		return b
	}
	fd, err := DialUntil(t.Context(), follower(t, greeting(8192)), 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Read(fd, make([]byte, 1)); n != -1 || err != unix.EAGAIN {
		t.Errorf("an empty socket: %d, %v, want EAGAIN", n, err)
	}
	if _, err := unix.Write(fd, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "abc" {
		t.Errorf("read %q, %v, want what was written", b[:max(n, 0)], err)
	}
	if _, err := DialUntil(t.Context(), follower(t, greeting(4096)), 8192); !errors.Is(err, ErrMismatch) {
		t.Errorf("smaller batches: %v, want ErrMismatch", err)
	}
	if _, err := DialUntil(t.Context(), follower(t, []byte("HTTP/1.1 400 Bad Request")), 8192); !errors.Is(err, ErrMismatch) {
		t.Errorf("another protocol: %v, want ErrMismatch", err)
	}
	// Somebody who accepts and says nothing holds nobody up when the context ends.
	ctx, cancel := context.WithCancel(t.Context())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		if c, err := silent.Accept(); err == nil {
			io.ReadFull(c, make([]byte, GreetingBytes))
			cancel()
		}
	}()
	if _, err := DialUntil(ctx, silent.Addr().String(), 8192); err == nil {
		t.Error("a silent follower was accepted")
	}
}
