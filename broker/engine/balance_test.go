package engine

import (
	"fmt"
	"testing"

	"ackline/broker/id"
)

// TestLeadershipsComeBackSlowly: a node claims the groups that it is to lead when others have had them for long enough, a few at
// a time, and never while it is about to stop.
func TestLeadershipsComeBackSlowly(t *testing.T) {
	const groups, after, most = 12, 10, 5
	c := newCluster(t, options{})
	first := id.MetadataGroup + 1
	for g := first; g < first+groups; g++ {
		c.addAll(g, 1) // node 2 leads, and node 1 is to
	}
	c.addAll(id.MetadataGroup, 1)
	led := func(node, want int) {
		t.Helper()
		until(t, fmt.Sprintf("node %d to lead %d groups", node+1, want), func() bool { return c.nodes[node].e.Stats().Led == want })
	}
	claims := func(node int, now int64, want int) {
		t.Helper()
		if got := c.nodes[node].e.Balance(now, after, most); got != want {
			t.Fatalf("at %d node %d claims %d groups, want %d", now, node+1, got, want)
		}
	}
	e := c.nodes[0].e
	until(t, "node 1 to know who leads", func() bool {
		for g := first; g < first+groups; g++ {
			if l, ok := e.Leader(g); !ok || l.Node != 2 {
				return false
			}
		}
		return true
	})
	claims(0, 100, 0) // from now on
	claims(0, 109, 0)
	e.Yield(true)
	claims(0, 110, 0)
	e.Yield(false)
	for _, node := range []int{1, 2} {
		claims(node, 100, 0)
		claims(node, 110, 0) // they are to lead nothing
	}
	claims(0, 110, most)
	led(0, most)
	claims(0, 111, most)
	led(0, 2*most)
	claims(0, 112, groups-2*most)
	led(0, groups)
	led(1, 1) // the metadata group is not placed
	claims(0, 200, 0)
	for g := first; g < first+groups; g++ {
		c.propose(g, "x")
	}
	// One that was lost again begins anew.
	if err := e.Group(first).TransferLeadership(replicaID(first, 3)); err != nil {
		t.Fatal(err)
	}
	e.Drive()
	led(2, 1)
	until(t, "node 1 to know of it", func() bool { l, ok := e.Leader(first); return ok && l.Node == 3 })
	claims(0, 300, 0)
	claims(0, 309, 0)
	claims(0, 310, 1)
	led(0, groups)
}

// TestNobodyClaimsWhatIsGone: neither a group that was removed, nor one that is to be led by another now.
func TestNobodyClaimsWhatIsGone(t *testing.T) {
	c := newCluster(t, options{})
	e := c.nodes[0].e
	for _, g := range []id.GroupID{7, 8} {
		c.addAll(g, 1)
		until(t, "node 1 to know who leads", func() bool { l, ok := e.Leader(g); return ok && l.Node == 2 })
	}
	e.Balance(100, 10, 5)
	e.Remove(7)
	if !e.SetReplicas(8, []Replica{{3, replicaID(8, 3)}, {1, replicaID(8, 1)}, {2, replicaID(8, 2)}}) {
		t.Fatal("group 8 is not here")
	}
	if got := e.Balance(200, 10, 5); got != 0 {
		t.Fatalf("%d groups are claimed", got)
	}
	e.SetReplicas(8, []Replica{{1, replicaID(8, 1)}, {2, replicaID(8, 2)}, {3, replicaID(8, 3)}})
	e.Balance(300, 10, 5)
	if got := e.Balance(310, 10, 5); got != 1 {
		t.Fatalf("%d groups are claimed, want the one that is to be led here again", got)
	}
}
