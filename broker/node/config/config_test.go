package config

import (
	"strings"
	"testing"
)

func TestThrottleConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		checkpoint, percent, maxMs int
		want                       string
	}{
		{0, 0, 0, ""},
		{75, 0, 0, ""},
		{0, 51, 30_000, ""},
		{0, 100, 1, ""},
		{0, 50, 0, "limits.throttle_percent is 50, it must be above storage.checkpoint_percent, which is 50"},
		{0, 101, 0, "limits.throttle_percent is 101"},
		{0, -1, 0, "limits.throttle_percent is -1"},
		{0, 0, -1, "limits.throttle_max_ms is -1, it must be 1 to 30000"},
		{0, 0, 30_001, "limits.throttle_max_ms is 30001"},
	} {
		cfg := Default()
		cfg.Node.DataDir = "/data"
		cfg.Storage.CheckpointPercent, cfg.Limits.ThrottlePercent, cfg.Limits.ThrottleMaxMs = c.checkpoint, c.percent, c.maxMs
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		}
	}
}

func TestThrottleRisesWithTheRing(t *testing.T) {
	limits := func(checkpoint, percent, maxMs int) Limits {
		c := Default()
		c.Storage.CheckpointPercent, c.Limits.ThrottlePercent, c.Limits.ThrottleMaxMs = checkpoint, percent, maxMs
		return c.WithDefaults().Limits
	}
	for _, c := range []struct {
		what                       string
		checkpoint, percent, maxMs int
		used, usable               int64
		ms                         int32
	}{
		{"an empty ring", 0, 0, 0, 0, 1000, 0},
		{"where checkpoints start", 0, 0, 0, 500, 1000, 0},
		{"the threshold", 0, 0, 0, 750, 1000, 0},
		{"the first byte above", 0, 0, 0, 751, 1000, 1},
		{"a fifth of the rest", 0, 0, 0, 800, 1000, 8},
		{"half of the rest", 0, 0, 0, 875, 1000, 125},
		{"four fifths of the rest", 0, 0, 0, 950, 1000, 512},
		{"a full ring", 0, 0, 0, 1000, 1000, 1000},
		{"checkpoints in the reserve", 0, 0, 0, 1100, 1000, 1000},
		{"a ring of many bytes", 0, 0, 0, 1 << 50, 1 << 50, 1000},
		{"a later checkpoint moves the threshold", 60, 0, 0, 800, 1000, 0},
		{"and the rest with it", 60, 0, 0, 900, 1000, 125},
		{"another bound", 0, 0, 200, 875, 1000, 25},
		{"another threshold", 0, 90, 0, 950, 1000, 125},
		{"never", 0, 100, 0, 1100, 1000, 0},
	} {
		if got := limits(c.checkpoint, c.percent, c.maxMs).ThrottleMs(c.used, c.usable); got != c.ms {
			t.Errorf("%s: %d ms, want %d", c.what, got, c.ms)
		}
	}
	l, last := limits(0, 0, 0), int32(0)
	for used := range int64(1200) {
		ms := l.ThrottleMs(used, 1000)
		if ms < last {
			t.Fatalf("%d ms with %d bytes used, %d with one less", ms, used, last)
		}
		last = ms
	}
}
