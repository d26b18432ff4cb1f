package config

import (
	"strings"
	"testing"
)

func TestDistancesAreChecked(t *testing.T) {
	for _, c := range []struct {
		change func(*Cluster)
		want   string
	}{
		{func(*Cluster) {}, ""},
		{func(c *Cluster) { c.LeaderPlacement = "latency" }, ""},
		{func(c *Cluster) { c.LeaderPlacement = "nearest" }, `cluster.leader_placement (--leader-placement) is "nearest", it must be "spread" or "latency"`},
		{func(c *Cluster) { c.LeaderGainMs = -1 }, "cluster.leader_gain_ms is -1"},
		{func(c *Cluster) { c.LeaderHoldS = -1 }, "cluster.leader_hold_s is -1"},
		{func(c *Cluster) { c.LeaderEveryS = -1 }, "cluster.leader_every_s is -1"},
		{func(c *Cluster) { c.LinkBytesPerSecond = -1 }, "cluster.link_bytes_per_s is -1"},
	} {
		cfg := Default()
		cfg.Node.DataDir = "/data"
		c.change(&cfg.Cluster)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", cfg.Cluster, err, c.want)
		}
	}
}
