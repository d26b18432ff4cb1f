package throttle

import (
	"testing"
	"time"

	"ackline/broker/node/config"
)

func TestThrottleIsTheTimeThatTheExcessTakes(t *testing.T) {
	limits := func(checkpoint, percent, maxMs int) config.Limits {
		c := config.Default()
		c.Storage.CheckpointPercent, c.Limits.ThrottlePercent, c.Limits.ThrottleMaxMs = checkpoint, percent, maxMs
		return c.WithDefaults().Limits
	}
	const gib, mib = 1 << 30, 1 << 20
	for _, c := range []struct {
		what                       string
		checkpoint, percent, maxMs int
		used, usable, rate         int64
		ms                         int32
	}{
		{"an empty ring", 0, 0, 0, 0, gib, gib, 0},
		{"where checkpoints start", 0, 0, 0, gib / 2, gib, gib, 0},
		{"the threshold", 0, 0, 0, 3 * gib / 4, gib, gib, 0},
		{"the first byte above", 0, 0, 0, 3*gib/4 + 1, gib, gib, 1},
		{"half of the rest", 0, 0, 0, 7 * gib / 8, gib, gib, 125},
		{"a full ring", 0, 0, 0, gib, gib, gib, 250},
		{"checkpoints in the reserve", 0, 0, 0, gib + gib/10, gib, gib, 350},
		{"a slower disk", 0, 0, 0, 7 * gib / 8, gib, gib / 4, 500},
		{"not longer than the bound", 0, 0, 0, gib, gib, gib / 8, 1000},
		{"another bound", 0, 0, 200, gib, gib, gib / 8, 200},
		{"a small ring on a fast disk", 0, 0, 0, 64 * mib, 64 * mib, 2 * gib, 8},
		{"no rate yet, half of the rest", 0, 0, 0, 7 * gib / 8, gib, 0, 500},
		{"no rate yet, a full ring", 0, 0, 0, gib, gib, 0, 1000},
		{"a ring of many bytes", 0, 0, 0, 1 << 50, 1 << 50, gib, 1000},
		{"a later checkpoint moves the threshold", 60, 0, 0, 8 * gib / 10, gib, gib, 0},
		{"another threshold", 0, 90, 0, gib, gib, gib, 100},
		{"never", 0, 100, 0, 2 * gib, gib, gib, 0},
	} {
		th := New(limits(c.checkpoint, c.percent, c.maxMs), mib)
		th.Flushed(c.rate, time.Second)
		if got := th.Ring(c.used, c.usable); got < c.ms || got > c.ms+1 {
			t.Errorf("%s: %d ms, want %d", c.what, got, c.ms)
		}
	}
	th, last := New(limits(0, 0, 0), 0), int32(0)
	th.Flushed(300, time.Second)
	for used := range int64(1200) {
		ms := th.Ring(used, 1000)
		if ms < last {
			t.Fatalf("%d ms with %d bytes used, %d with one less", ms, used, last)
		}
		last = ms
	}
}

// TestMemoryCountsWhileFlushesAreBehind: memory that is full of what waits for its checkpoint is no reason to wait.
func TestMemoryCountsWhileFlushesAreBehind(t *testing.T) {
	c := config.Default().WithDefaults()
	th := New(c.Limits, 1<<20)
	th.Flushed(1<<30, time.Second)
	full := c.Limits.CacheBytes
	if got := th.Ms(false, full); got != 0 {
		t.Errorf("%d ms although nobody is behind", got)
	}
	if got, want := th.Ms(true, full), int32(16); got < want || got > want+1 { // a quarter of 64 MiB
		t.Errorf("%d ms with memory full, want %d", got, want)
	}
	th.Ring(1<<30, 1<<30)
	if got := th.Ms(true, full); got < 250 {
		t.Errorf("%d ms with a full ring, want the 250 that it takes", got)
	}
	th.Ring(0, 1<<30)
	if got := th.Ms(false, full); got != 0 {
		t.Errorf("%d ms with the ring empty again", got)
	}
}

// TestRateFollowsTheDisk, and small rounds, which are mostly a sync, say nothing of it.
func TestRateFollowsTheDisk(t *testing.T) {
	th := New(config.Default().WithDefaults().Limits, 1<<20)
	wait := func() int32 { return th.Ring(1<<30, 1<<30) }
	th.Flushed(1<<30, time.Second)
	fast := wait()
	th.Flushed(1000, time.Second)
	if got := wait(); got != fast {
		t.Errorf("%d ms after a round of 1,000 bytes, %d before", got, fast)
	}
	for range 20 {
		th.Flushed(1<<28, time.Second)
	}
	if got := wait(); got < 3*fast || got > 5*fast {
		t.Errorf("%d ms on a disk of a quarter of the speed, %d before", got, fast)
	}
}
