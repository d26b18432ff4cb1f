package transport

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"ackline/broker/id"
	"ackline/broker/transport/call"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure/securetest"
)

func answering(t *testing.T, n id.NodeID, change func(*Config), h call.Handler) *node {
	cfg := testConfig(n)
	if change != nil {
		change(&cfg)
	}
	a := newNode(t, cfg)
	a.Answer(7, h)
	return a.start(anywhere)
}

// Calls go both ways, plain and over TLS, through the same door as raft's messages, and come back after a restart.
func TestCalls(t *testing.T) {
	ca := securetest.NewCA(t)
	for name, change := range map[string]func(*Config){
		"plain": nil,
		"tls":   func(c *Config) { c.TLS = keys(t, ca, c.Node) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			say := func(_ context.Context, from id.NodeID, p []byte) ([]byte, error) { return append(p, byte(from)), nil }
			a, b := answering(t, 1, change, say), answering(t, 2, change, say)
			acquaint(a, b)
			big := make([]byte, 5<<20)
			if got, err := a.Call(ctx, 2, 7, big); err != nil || !bytes.Equal(got, append(big, 1)) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if got, err := b.Call(ctx, 1, 7, nil); err != nil || string(got) != "\x02" {
				t.Fatalf("%q, %v", got, err)
			}
			var e *call.Error
			if _, err := a.Call(ctx, 3, 7, nil); !errors.As(err, &e) || e.Unknown {
				t.Errorf("a call to nobody: %v", err)
			}
			b.Close()
			until(t, "calls to fail", func() bool {
				_, err := a.Call(ctx, 2, 7, nil)
				return errors.Is(err, call.ErrNoLink) && errors.As(err, &e) && !e.Unknown
			})
			if n := a.told("lost 2 call"); n != 0 {
				t.Errorf("raft is told %d times of what is not its own", n)
			}
			b2 := newNode(t, func() Config {
				cfg := testConfig(2)
				if change != nil {
					change(&cfg)
				}
				return cfg
			}())
			b2.Answer(7, say)
			b2.start(b.addr)
			b2.AddPeer(1, a.addr)
			until(t, "calls to work again", func() bool { _, err := a.Call(ctx, 2, 7, nil); return err == nil })
			a.Close()
			b2.Close()
			noGoroutines(t)
		})
	}
}

// Close ends handlers and callers.
func TestCloseEndsCalls(t *testing.T) {
	began := make(chan struct{})
	a := answering(t, 1, nil, nil)
	b := answering(t, 2, nil, func(ctx context.Context, _ id.NodeID, _ []byte) ([]byte, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	acquaint(a, b)
	told := make(chan error, 1)
	go func() { _, err := a.Call(context.Background(), 2, 7, nil); told <- err }()
	select {
	case <-began:
	case err := <-told:
		t.Fatalf("the call ended before the other side had it: %v", err)
	}
	b.Close()
	var e *call.Error
	var remote *call.RemoteError
	if err := <-told; !(errors.As(err, &e) && e.Unknown) && !errors.As(err, &remote) {
		t.Errorf("%v", err)
	}
	a.Close()
	noGoroutines(t)
}

// A flood of calls that nobody answers does not hold up what raft lives by.
func TestCallsDelayNothing(t *testing.T) {
	release := make(chan struct{})
	a := answering(t, 1, nil, nil)
	b := answering(t, 2, nil, func(ctx context.Context, _ id.NodeID, _ []byte) ([]byte, error) { <-release; return nil, nil })
	acquaint(a, b)
	ctx, cancel := context.WithCancel(context.Background())
	for range 300 {
		go a.Call(ctx, 2, 7, make([]byte, 100<<10))
	}
	a.Send(2, 1, app(1, nil))
	b.awaitMessages(1)
	cancel()
	close(release)
	if got := frame.Lasting - frame.Links; got != 1 {
		t.Errorf("%d classes beside raft's", got)
	}
}
