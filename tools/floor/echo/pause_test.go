package echo

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// An answer comes no sooner than the pause ends, each answer has its own, and the median is of what was waited.
func TestPause(t *testing.T) {
	const length, n = 2 * time.Millisecond, 9
	p, err := NewPause(length)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen(Config{ListenAddr: "127.0.0.1:0", ReplyBytes: MinReplyBytes, BatchBytes: BlockSize, Pause: p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c := dial(t, s)
	rng := rand.New(rand.NewPCG(1, 1))
	for id := range uint32(n) {
		start := time.Now()
		if _, err := c.Write(frame(rng, id, 100)); err != nil {
			t.Fatal(err)
		}
		expect(t, c, id, MinReplyBytes)
		if took := time.Since(start); took < length {
			t.Errorf("answer %d after %v, want at least %v", id, took, length)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m := p.Median(); p.total != n || m < length {
		t.Errorf("%d pauses with a median of %v, want %d of at least %v", p.total, m, n, length)
	}
}

func TestPauseMedian(t *testing.T) {
	for _, c := range []struct {
		pauses []time.Duration
		want   time.Duration
	}{
		{nil, 0},
		{[]time.Duration{40 * time.Microsecond}, 40_050},
		{[]time.Duration{time.Hour, 41_200, 40 * time.Microsecond}, 41_250},
		{[]time.Duration{time.Hour, time.Hour}, 2*MaxPause - pauseStep/2},
	} {
		p, err := NewPause(time.Microsecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range c.pauses {
			p.count(d)
		}
		if got := p.Median(); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.pauses, got, c.want)
		}
	}
}

func TestPauseThatCannotBe(t *testing.T) {
	for _, d := range []time.Duration{0, -1, MaxPause + 1} {
		if _, err := NewPause(d); err == nil {
			t.Errorf("a pause of %v", d)
		}
	}
	p, err := NewPause(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{ListenAddr: "127.0.0.1:0", ReplyBytes: MinReplyBytes, BatchBytes: BlockSize, Pause: p}, &memory{}); err == nil {
		t.Error("a pause beside a disk")
	}
}
