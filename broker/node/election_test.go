package node_test

import (
	"testing"
	"time"

	"ackline/broker/node/config"
)

// TestElectionTimeoutIsTold: who measures an outage compares it with the time-out that is in force, which grows with the distance.
func TestElectionTimeoutIsTold(t *testing.T) {
	const timeout = "ackline_raft_election_timeout_seconds"
	c := prepareCluster(t, 3)
	c.change = func(cfg *config.Config) { cfg.Cluster.TickMs, cfg.Cluster.ElectionMs = 10, 200 }
	c.farApart(func(int, int) time.Duration { return 100 * time.Millisecond })
	c.started()
	for i := range c.nodes {
		until(t, "a time-out of five round trips", func() bool { v := c.metric(i, timeout); return v >= 0.5 && v <= 2 })
	}
	c.stop(1)
	c.stop(2)
	until(t, "the node that is left to go by its configuration", func() bool { return c.metric(0, timeout) == 0.2 })
}
