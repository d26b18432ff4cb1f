package wire

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ackline/loadgen/pace"
	"ackline/tools/netlab/line"
)

// collector notes what comes, and when.
type collector struct {
	mu     sync.Mutex
	values []int
	atNS   []int64
	n      int
	full   chan struct{}
}

func collect(n int) *collector { return &collector{n: n, full: make(chan struct{})} }

func (c *collector) take(v int) {
	at := pace.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values, c.atNS = append(c.values, v), append(c.atNS, at)
	if len(c.values) == c.n {
		close(c.full)
	}
}

func (c *collector) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.full:
	case <-time.After(20 * time.Second):
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("%d of %d came", len(c.values), c.n)
	}
}

func start(t *testing.T, q line.Quality, deliver func(int)) *Wire[int] {
	t.Helper()
	w, err := New(q, 1, deliver)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// Sent at odd times by several, all comes, in order, never early; some of it on time even on a busy machine.
func TestOnTime(t *testing.T) {
	const n, delayNS = 400, int64(3e6)
	got := collect(n)
	w := start(t, line.Quality{DelayNS: delayNS}, got.take)
	random := rand.New(rand.NewPCG(1, 2))
	sentNS := make([]int64, n)
	for i := range n {
		if i%3 == 0 {
			for until := pace.Now() + random.Int64N(2e6); pace.Now() < until; { // as a program that works between its sends
			}
		}
		sentNS[i] = pace.Now()
		if !w.Send(1, i) {
			t.Fatal("lost")
		}
	}
	got.wait(t)
	best := int64(1 << 62)
	for i, v := range got.values {
		late := got.atNS[i] - sentNS[v] - delayNS
		if v != i || late < 0 {
			t.Fatalf("%d came as number %d, %d ns after it was due", v, i, late)
		}
		best = min(best, late)
	}
	if best > 1e6 {
		t.Errorf("the most punctual came %d ns late, want well below a millisecond", best)
	}
}

func TestHoldReleaseAndLoss(t *testing.T) {
	got := collect(2)
	w := start(t, line.Quality{DelayNS: 1e6}, got.take)
	w.Hold()
	w.Send(1, 0)
	w.Set(line.Quality{Loss: 1})
	if w.Send(1, 1) {
		t.Error("a line that loses everything took something")
	}
	w.Set(line.Quality{DelayNS: 1e6})
	w.Release()
	w.Send(1, 2)
	got.wait(t)
	if got.values[0] != 0 || got.values[1] != 2 {
		t.Errorf("%v came, want 0 and 2", got.values)
	}
}

func TestCloseDoesNotWaitForWhatIsUnderWay(t *testing.T) {
	w := start(t, line.Quality{DelayNS: time.Hour.Nanoseconds()}, func(int) { t.Error("came at once") })
	w.Send(1, 0)
	begin := time.Now()
	w.Close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	if w.Send(1, 1) {
		t.Error("a wire that is closed took something")
	}
}

func TestRoom(t *testing.T) {
	for _, c := range []struct {
		q    line.Quality
		want int
	}{
		{line.Quality{DelayNS: 1e9}, mostBytes},
		{line.Quality{DelayNS: 1e8, JitterNS: 1e8, BytesPerSecond: 1e6}, 200_000 + queueBytes},
		{line.Quality{DelayNS: 1e9, BytesPerSecond: 1e9}, mostBytes},
	} {
		w := start(t, c.q, func(int) {})
		if got := w.Room(); got != c.want {
			t.Errorf("%+v has room for %d bytes, want %d", c.q, got, c.want)
		}
	}
}
