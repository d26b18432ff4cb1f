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
