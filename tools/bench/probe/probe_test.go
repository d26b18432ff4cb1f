package probe

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/pace"
)

func open(t *testing.T, c *brokertest.Cluster) *Probe {
	t.Helper()
	p, err := Open(t.Context(), Config{Brokers: []string{c.Addr()}, Topic: "t", RecordBytes: 100, RatePerSecond: 500, Timeout: 20 * time.Second, RunID: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// A broker that answers nothing at first is seen to come back, from when records were due and not from when they were sent,
// and everything that it acknowledged is read back.
func TestProbe(t *testing.T) {
	c := brokertest.Start(t, 1)
	c.Create("t", 1)
	until := make(chan struct{})
	c.Break(brokertest.Faults{Until: until})
	p := open(t, c)
	const limit, silent = 200 * time.Millisecond, 400 * time.Millisecond
	mended, from, back := int64(0), 0, int64(0)
	start, samples, err := p.Run(t.Context(), time.Minute, func(start int64, s []Sample) (found bool) {
		if now := pace.Now(); mended == 0 && now > start+silent.Nanoseconds() {
			mended = now
			close(until)
		}
		back, from, found = Restored(s, start, limit, from)
		return found
	})
	if err != nil {
		t.Fatal(err)
	}
	// At most a hundredth of a second's 500 records may be slower than the limit.
	if earliest := mended - limit.Nanoseconds() - 5*int64(2*time.Millisecond); mended == 0 || back < earliest {
		t.Errorf("restored %v after the start, the broker was silent until %v", time.Duration(back-start), time.Duration(mended-start))
	}
	for i, s := range samples {
		due := start + int64(i)*int64(2*time.Millisecond)
		if s.Intended != due || s.Acked == failed {
			t.Fatalf("record %d was due at %d and answered at %d, want due at %d and answered", i, s.Intended, s.Acked, due)
		}
		if due < mended && s.Acked < mended {
			t.Fatalf("record %d was answered at %d by a broker that was silent until %d", i, s.Acked, mended)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if found, err := p.Verify(t.Context()); err != nil || !found.Passed() || found.Acked != int64(len(samples)) || p.Acked() != found.Acked {
		t.Errorf("%+v, %v; want all of %d", found, err, len(samples))
	}
}

// Over a distance a tuned client takes several connections to keep a rate; samples are in order all the same, and all is read back.
func TestSeveralConnections(t *testing.T) {
	for answer, want := range map[time.Duration]int{0: 0, time.Millisecond: 1, 58 * time.Millisecond: 12} {
		if got := Needed(1000, answer); got != want {
			t.Errorf("1,000/s with answers after %v: %d connections, want %d", answer, got, want)
		}
	}
	c := brokertest.Start(t, 1)
	c.Create("t", 1)
	var dialled atomic.Int64
	p, err := Open(t.Context(), Config{Brokers: []string{c.Addr()}, Topic: "t", RecordBytes: 100, RatePerSecond: 2000, Timeout: 20 * time.Second, RunID: 7,
		Client: Tuned, Connections: 4, Way: func(addr string, connect func(string) error) error {
			dialled.Add(1)
			return connect(addr)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if n := len(p.driver.Effective().Connections); n != 4 || dialled.Load() < 4 {
		t.Errorf("%d connections, %d of them by the way, want 4", n, dialled.Load())
	}
	_, samples, err := p.Run(t.Context(), 300*time.Millisecond, nil)
	if err != nil || len(samples) != 599 && len(samples) != 600 || !slices.IsSortedFunc(samples, func(a, b Sample) int { return cmp.Compare(a.Intended, b.Intended) }) {
		t.Errorf("%d samples, %v, want 600 in order", len(samples), err)
	}
	if found, err := p.Verify(t.Context()); err != nil || !found.Passed() || found.Acked != int64(len(samples)) {
		t.Errorf("%+v, %v; want all of %d", found, err, len(samples))
	}
}

func TestProbeFindsLostRecords(t *testing.T) {
	c := brokertest.Start(t, 1)
	c.Create("t", 1)
	c.Break(brokertest.Faults{LoseBatch: 3})
	p := open(t, c)
	if _, _, err := p.Run(t.Context(), 20*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := p.Verify(t.Context()); err != nil || found.Lost != 1 || found.Passed() {
		t.Errorf("%+v, %v; want one lost record", found, err)
	}
}

// Records that are refused count as failed, and the probe goes on.
func TestRefusedRecordsFail(t *testing.T) {
	c := brokertest.Start(t, 1)
	c.Create("t", 1)
	c.Break(brokertest.Faults{Code: 19}) // NOT_ENOUGH_REPLICAS, which may pass
	p := open(t, c)
	_, samples, err := p.Run(t.Context(), 20*time.Millisecond, nil)
	if err != nil || len(samples) != 10 {
		t.Fatalf("%d records in 20 ms at 500 a second, %v; want 10", len(samples), err)
	}
	for _, s := range samples {
		if s.Acked != failed {
			t.Errorf("a refused record: %+v", s)
		}
	}
}

func TestProbeIsInterrupted(t *testing.T) {
	c := brokertest.Start(t, 1)
	c.Create("t", 1)
	c.Break(brokertest.Faults{Mute: true})
	p := open(t, c)
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("^C")
	go func() {
		c.AwaitStored("t", 0, 1)
		cancel(told)
	}()
	if _, _, err := p.Run(ctx, time.Hour, nil); !errors.Is(err, told) {
		t.Errorf("got %v, want the cause", err)
	}
	if _, err := Open(t.Context(), Config{Brokers: []string{c.Addr()}, Topic: "none", RecordBytes: 100, Timeout: time.Second}); err == nil {
		t.Error("a topic that is not there was opened")
	}
}
