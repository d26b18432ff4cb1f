package replica_test

import (
	"slices"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/catchup"
)

// away has replica 3 lack 33 MiB, with a pace of 1 MiB a second. pass lets ticks of 10 ms go by.
func away(t *testing.T) (c *net, leader *peer, want []string, pass func(ticks int)) {
	clock := int64(1e9)
	pace := catchup.New(catchup.Config{LeastBytesPerSecond: 1 << 20, Now: func() int64 { return clock },
		WAL: func() (uint64, uint64, uint64) { return 0, 0, 0 }})
	c = (&net{t: t, ring: 128 << 20, tune: func(cfg *replica.Config) { cfg.Catchup = pace }}).open(3)
	leader = c.elect(1)
	c.cut[3] = true
	for k := range 2400 {
		want = append(want, number(k)+strings.Repeat(".", 14<<10))
		c.mustPropose(leader, want[k])
		c.run()
	}
	c.cut[3] = false
	return c, leader, want, func(ticks int) {
		for range ticks {
			clock += 10e6
			c.tick()
		}
	}
}

// alike checks that replicas have applied the same, in few words.
func (n *net) alike(want []string, replicas ...id.ReplicaID) {
	n.t.Helper()
	for _, i := range replicas {
		if got := n.peers[i].data(); !slices.Equal(got, want) {
			n.t.Errorf("replica %d applied %d entries, want %d, or others", i, len(got), len(want))
		}
	}
}

// Who is far behind is sent more at the governor's pace, while the others go on; in the end it has all.
func TestWhoIsFarBehindIsPaced(t *testing.T) {
	c, leader, want, pass := away(t)
	pass(50)
	if last := c.peers[3].group.Status().Last; last == 0 || int(last) > len(want)/2 {
		t.Errorf("replica 3 has %d of %d entries after half a second, at a megabyte a second", last, len(want))
	}
	i := c.mustPropose(leader, "meanwhile")
	c.run()
	if leader.committed < i {
		t.Errorf("committed %d, want %d: the others are a quorum", leader.committed, i)
	}
	pass(3000)
	c.alike(append(want, "meanwhile"), 1, 2, 3)
}

// Who is far behind and needed for a quorum is not kept waiting, whatever the pace.
func TestWhoIsNeededIsNotPaced(t *testing.T) {
	c, leader, want, pass := away(t)
	pass(20)
	c.cut[2] = true
	leader.group.PeersDown([]id.ReplicaID{2})
	i := c.mustPropose(leader, "with two of three")
	pass(2)
	if leader.committed < i {
		t.Errorf("committed %d, want %d; replica 3 has %d entries", leader.committed, i, c.peers[3].group.Status().Last)
	}
	c.alike(append(want, "with two of three"), 1, 3)
}

// A leader that leads no more has nothing to hold back, and the next one brings everybody up to date.
func TestPaceEndsWithTheLeader(t *testing.T) {
	c, _, want, pass := away(t)
	pass(20)
	c.elect(2)
	pass(3000)
	c.alike(want, 1, 2, 3)
}
