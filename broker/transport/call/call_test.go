package call

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

const patience = 20 * time.Second

func config() Config {
	return Config{Peer: 2, MaxPayload: 1 << 20, MaxCalls: 100, QueueBytes: 4 << 20, ReadBytes: 4 << 10, WriteTimeout: patience}
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ends is a connection's two ends.
func ends(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// attach gives a client a connection as its keeper would. ended is closed after Detach.
func attach(t *testing.T, c *Client, nc net.Conn) (ended chan struct{}) {
	t.Helper()
	if !c.Attach(nc) {
		t.Fatal("the client is closed")
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		c.Receive(nc)
		c.Detach()
	}()
	return ended
}

// served is a client whose calls a handler answers.
func served(t *testing.T, cfg Config, h Handler) *Client { return connected(t, cfg, cfg, h) }

func connected(t *testing.T, cfg, server Config, h Handler) *Client {
	t.Helper()
	near, far := ends(t)
	var wg sync.WaitGroup
	s := NewServer(server, func(k Kind) Handler {
		if k != 7 {
			return nil
		}
		return h
	}, func(f func()) {
		wg.Add(1)
		go func() { defer wg.Done(); f() }()
	})
	over := make(chan struct{})
	go func() { s.Serve(context.Background(), far); far.Close(); close(over) }()
	c := NewClient(cfg)
	ended := attach(t, c, near)
	t.Cleanup(func() {
		c.Close()
		<-ended
		<-over
		wg.Wait()
		if len(s.turns) != 0 || s.bytes.Load() != 0 {
			t.Errorf("%d turns and %d bytes are not given back", len(s.turns), s.bytes.Load())
		}
	})
	return c
}

func echo(_ context.Context, _ id.NodeID, p []byte) ([]byte, error) { return p, nil }

// Answers find their questions, whatever their sizes and order.
func TestManyAtOnce(t *testing.T) {
	const n = 64
	var wait sync.WaitGroup
	wait.Add(n) // nobody is answered before all have asked
	c := served(t, config(), func(_ context.Context, from id.NodeID, p []byte) ([]byte, error) {
		wait.Done()
		wait.Wait()
		if from != 2 {
			return nil, errors.New("from another")
		}
		return p, nil
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p := bytes.Repeat(binary.LittleEndian.AppendUint32(nil, uint32(i)), 1+i*100)
			if got, err := c.Call(patient(t), 7, p); err != nil || !bytes.Equal(got, p) {
				t.Errorf("call %d of %d bytes: %d bytes, %v", i, len(p), len(got), err)
			}
		}()
	}
	wg.Wait()
}

// want checks an error and whether it says that nothing was done.
func want(t *testing.T, what string, err, is error, unknown bool) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, is) || e.Unknown != unknown || e.NotDone() == unknown {
		t.Errorf("%s: %v, want %v, unknown %v", what, err, is, unknown)
	}
}

func TestRefusals(t *testing.T) {
	cfg := config()
	cfg.MaxPayload = 64
	c := served(t, cfg, func(_ context.Context, _ id.NodeID, p []byte) ([]byte, error) {
		if len(p) == 0 {
			return nil, errors.New("nothing\nto do")
		}
		return make([]byte, 100), nil
	})
	_, err := c.Call(patient(t), 7, make([]byte, 65))
	want(t, "too large", err, ErrTooLarge, false)
	_, err = c.Call(patient(t), 8, nil)
	want(t, "another kind", err, ErrNoSuch, false)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Call(over, 7, nil)
	want(t, "too late", err, context.Canceled, false)
	var remote *RemoteError
	if _, err = c.Call(patient(t), 7, nil); !errors.As(err, &remote) || err.Error() != "node 2: nothing?to do" {
		t.Errorf("a handler's error: %v", err)
	}
	if _, err = c.Call(patient(t), 7, []byte{1}); !errors.As(err, &remote) || !strings.Contains(err.Error(), "100 bytes of 64") {
		t.Errorf("an answer too large: %v", err)
	}
}

// The callee does not work on more than it may, in number and in bytes.
func TestDeclines(t *testing.T) {
	cfg := config()
	cfg.MaxCalls, cfg.QueueBytes = 2, 1000
	server := cfg
	cfg.MaxCalls = 10
	began, release := make(chan struct{}, 10), make(chan struct{})
	c := connected(t, cfg, server, func(_ context.Context, _ id.NodeID, p []byte) ([]byte, error) {
		began <- struct{}{}
		<-release
		return p, nil
	})
	var wg sync.WaitGroup
	ask := func(size int) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := c.Call(patient(t), 7, make([]byte, size))
			for errors.Is(err, ErrDeclined) { // a call before has its answer, and its turn is not given back yet
				_, err = c.Call(patient(t), 7, make([]byte, size))
			}
			if err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}()
		<-began
	}
	ask(2000) // more than there is room for, and alone
	_, err := c.Call(patient(t), 7, []byte{1})
	want(t, "bytes", err, ErrDeclined, false)
	close(release)
	wg.Wait()
	release = make(chan struct{})
	ask(1)
	ask(1)
	_, err = c.Call(patient(t), 7, []byte{1})
	want(t, "number", err, ErrDeclined, false)
	close(release)
	wg.Wait()
}

// A caller that waits no longer: whether the request had left decides what it is told, and the handler's context ends too.
func TestTimeIsOver(t *testing.T) {
	began := make(chan struct{}, 1)
	c := served(t, config(), func(ctx context.Context, _ id.NodeID, _ []byte) ([]byte, error) {
		if _, has := ctx.Deadline(); !has {
			return nil, errors.New("no deadline")
		}
		began <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, 7, nil)
	if err == nil {
		t.Fatal("answered")
	}
	<-began
	var e *Error
	if errors.As(err, &e) { // or the handler's answer came first
		want(t, "sent", err, context.DeadlineExceeded, true)
	}

	idle := NewClient(config())
	ctx, cancel = context.WithCancel(context.Background())
	told := make(chan error, 1)
	go func() { _, err := idle.Call(ctx, 7, make([]byte, 10)); told <- err }()
	for {
		idle.mu.Lock()
		n := len(idle.queue)
		idle.mu.Unlock()
		if n == 1 {
			break
		}
		runtime.Gosched()
	}
	cancel()
	want(t, "not sent", <-told, context.Canceled, false)
	if idle.queued != 0 || len(idle.queue) != 0 || len(idle.open) != 0 {
		t.Errorf("something is left: %d bytes, %d, %d", idle.queued, len(idle.queue), len(idle.open))
	}
}

// When the connection ends, what had left is unknown and what had not is not done. Then calls fail until there is another.
func TestConnectionEnds(t *testing.T) {
	near, far := net.Pipe() // takes nothing that is not read
	c := NewClient(config())
	ended := attach(t, c, near)
	told := make(chan error, 3)
	ask := func(size int) { go func() { _, err := c.Call(patient(t), 7, make([]byte, size)); told <- err }() }
	ask(10)
	if _, _, err := frame.Receive(far, nil, 1<<20); err != nil {
		t.Fatal(err)
	}
	ask(1000) // its frame leaves in part
	var b [100]byte
	far.Read(b[:])
	far.Close()
	<-ended
	unknown := 0
	for range 2 {
		var e *Error
		if err := <-told; !errors.As(err, &e) || !errors.Is(err, ErrLost) {
			t.Fatalf("%v", err)
		}
		if e.Unknown {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("%d of 2 are unknown, of one not all had left", unknown)
	}
	c.Expect(false)
	_, err := c.Call(patient(t), 7, nil)
	want(t, "none is made", err, ErrNoLink, false)
	c.Detach() // as after a connection that ended: the next is made at once
	ask(1)
	near, far = ends(t)
	ended = attach(t, c, near)
	if h, _, err := frame.Receive(far, nil, 1<<20); err != nil || h.Kind != frame.KindRequest {
		t.Fatalf("%v, %v", h, err)
	}
	c.Close()
	<-ended
	want(t, "closed", <-told, ErrLost, true)
	if _, err = c.Call(patient(t), 7, nil); !errors.Is(err, ErrClosed) || c.Attach(near) {
		t.Errorf("after Close: %v", err)
	}
}

func TestBoundsOfTheCaller(t *testing.T) {
	cfg := config()
	cfg.MaxCalls, cfg.QueueBytes = 3, 1000
	c := NewClient(cfg)
	for range 2 {
		if _, err := c.enqueue(&frame.Request{Payload: make([]byte, 400)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Call(patient(t), 7, make([]byte, 400))
	want(t, "bytes", err, ErrBusy, false)
	if _, err := c.enqueue(&frame.Request{}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Call(patient(t), 7, nil)
	want(t, "number", err, ErrBusy, false)
	c.Close()
}

// What makes no sense ends the connection.
func TestNonsense(t *testing.T) {
	number := (&frame.Reply{Number: 9}).Frame()
	request := (&frame.Request{Number: 1}).Frame()
	short := frame.Seal(make([]byte, frame.HeaderSize+3), frame.KindReply)
	for _, wire := range [][]byte{number, request, short} {
		near, far := ends(t)
		c := NewClient(config())
		c.Attach(near)
		far.Write(wire)
		if err := c.Receive(near); !errors.Is(err, frame.ErrFormat) {
			t.Errorf("the caller takes % x: %v", wire, err)
		}
		c.Detach()
	}
	for _, wire := range [][]byte{number, frame.Seal(make([]byte, frame.HeaderSize+20), frame.KindRequest)} {
		near, far := ends(t)
		s := NewServer(config(), func(Kind) Handler { return echo }, func(f func()) { go f() })
		near.Write(wire)
		if err := s.Serve(context.Background(), far); !errors.Is(err, frame.ErrFormat) {
			t.Errorf("the callee takes % x: %v", wire, err)
		}
	}
}

// Handlers of a connection that ended hear of it.
func TestHandlersHearOfTheEnd(t *testing.T) {
	near, far := ends(t)
	heard := make(chan error, 1)
	began := make(chan struct{})
	s := NewServer(config(), func(Kind) Handler {
		return func(ctx context.Context, _ id.NodeID, _ []byte) ([]byte, error) {
			close(began)
			<-ctx.Done()
			heard <- ctx.Err()
			return nil, nil
		}
	}, func(f func()) { go f() })
	near.Write((&frame.Request{Number: 1}).Frame())
	go func() { <-began; near.Close() }()
	if err := s.Serve(context.Background(), far); err == nil {
		t.Error("no end")
	}
	if err := <-heard; err == nil {
		t.Error("the context goes on")
	}
}

func TestWords(t *testing.T) {
	if got := fmt.Sprint(&Error{Peer: 3, Kind: 1, Unknown: true, Err: ErrLost}); got != "call: asking node 3 (kind 1): the connection ended; it may have been done" {
		t.Error(got)
	}
}

func BenchmarkCall(b *testing.B) {
	var t testing.T
	near, far := ends(&t)
	s := NewServer(config(), func(Kind) Handler { return echo }, func(f func()) { go f() })
	go s.Serve(context.Background(), far)
	c := NewClient(config())
	attach(&t, c, near)
	p := make([]byte, 1024)
	for b.Loop() {
		if _, err := c.Call(context.Background(), 7, p); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}
