package pace

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := NewBackoff(10*time.Millisecond, time.Second, 1, 2)
	again := NewBackoff(10*time.Millisecond, time.Second, 1, 2)
	other := NewBackoff(10*time.Millisecond, time.Second, 1, 3)
	same := 0
	for round := range 3 {
		want := 10 * time.Millisecond
		for i := range 12 {
			got := b.Next()
			if got < want/2 || got > want {
				t.Errorf("round %d, wait %d is %v, want %v to %v", round, i, got, want/2, want)
			}
			if got != again.Next() {
				t.Error("the same seed draws other waits")
			}
			if got == other.Next() {
				same++
			}
			want = min(2*want, time.Second)
		}
		b.Reset()
		again.Reset()
		other.Reset()
	}
	if same > 2 {
		t.Errorf("another stream draws the same %d of 36 times", same)
	}
}

func TestBucket(t *testing.T) {
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	b := Bucket{Rate: 1000, Burst: 100} // a byte a millisecond
	start := ms(1_000_000)
	for i, c := range []struct {
		at   int64
		n    int
		want time.Duration
	}{
		{0, 100, 0}, {0, 50, 50 * time.Millisecond}, {0, 10, 60 * time.Millisecond}, {30, 10, 40 * time.Millisecond},
		{70, 10, 10 * time.Millisecond}, {5000, 100, 0}, {5000, 1, time.Millisecond}, {5001, 0, 0},
	} {
		if got := b.Take(c.n, start+ms(c.at)); got != c.want {
			t.Errorf("step %d: %d bytes at %d ms wait %v, want %v", i, c.n, c.at, got, c.want)
		}
	}
	// Whoever shares it, and however small the steps are, the rate holds.
	b = Bucket{Rate: 1 << 20, Burst: 1 << 10}
	at, sent := start, 0
	for at < start+int64(time.Second) {
		at += int64(b.Take(7, at)) + 100
		sent += 7
	}
	if sent < 1<<20-1<<14 || sent > 1<<20+1<<11 {
		t.Errorf("%d bytes in a second at a rate of %d", sent, 1<<20)
	}
	if d := (&Bucket{}).Take(1<<40, 0); d != 0 {
		t.Errorf("no limit waits %v", d)
	}
}
