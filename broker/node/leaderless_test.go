package node_test

import (
	"testing"
)

// leaderless is what a node says about groups without a leader.
func (c *cluster) leaderless(i int) float64 { return c.metric(i, "ackline_raft_leaderless_groups") }

// TestLeaderlessGroupsAreCounted: an alert stands on this count, so it must be 0 in a cluster that is well, and that has
// nothing to do, and every group of a node that is alone.
func TestLeaderlessGroupsAreCounted(t *testing.T) {
	const partitions = 4
	c := newCluster(t, 3)
	c.ready()
	c.create("events", partitions, 3)
	for i := range c.nodes {
		until(t, "every group to have a leader", func() bool { return c.leaderless(i) == 0 })
	}
	c.stop(1)
	c.stop(2)
	until(t, "the node that is left to miss all leaders", func() bool { return c.leaderless(0) == partitions+1 }) // the metadata's, too
	c.start(1)
	until(t, "two of three to have leaders", func() bool { return c.leaderless(0) == 0 && c.leaderless(1) == 0 })
}
