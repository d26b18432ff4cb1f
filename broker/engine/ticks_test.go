package engine

import (
	"testing"
	"time"

	"ackline/broker/transport/frame"
)

// Groups that rest are ticked again when they need it, whether the timer that saw them still runs or was stopped; and while it runs,
// nobody wakes the goroutine for them.
func TestGroupsThatWakeAreTicked(t *testing.T) {
	c := newCluster(t, options{tick: time.Millisecond})
	m := c.addAll(1, 0)
	c.propose(1, "first")
	for _, rest := range []struct {
		what string
		is   func(*node) bool
	}{
		{"a group to rest", func(n *node) bool { return n.e.Stats().Ticking == 0 }},
		{"a timer to be stopped", func(n *node) bool { return n.e.Stats().Ticking == 0 && !n.e.ticks.timed.Load() }},
	} {
		until(t, rest.what, func() bool { return rest.is(c.nodes[0]) && rest.is(c.nodes[1]) && rest.is(c.nodes[2]) })
		before := [3]uint64{}
		for i, n := range c.nodes {
			before[i] = n.e.Stats().Ticks
		}
		if err := m.propose("next"); err != nil {
			t.Fatal(err)
		}
		until(t, "everybody to tick, after "+rest.what, func() bool {
			for i, n := range c.nodes {
				if n.e.Stats().Ticks == before[i] {
					return false
				}
			}
			return true
		})
	}
	c.same(1, 3, 0, 1, 2)
}

func TestListedMemberWakesTheLoopOnlyWithoutATimer(t *testing.T) {
	var ts ticks
	m, woken := &member{slot: -1}, 0
	wake := func() { woken++ }
	for _, timed := range []bool{false, true} {
		ts.timed.Store(timed)
		before := woken
		ts.set(m, true, wake)
		ts.set(m, false, wake)
		if got := woken-before == 1; got == timed {
			t.Errorf("with a timer: %v; the loop was woken: %v", timed, got)
		}
	}
}

// A connection that ended may have taken a word of quiet with it, which nobody repeats: who leads says it again.
func TestLostHeartbeatsWakeTheLeader(t *testing.T) {
	c := newCluster(t, options{manual: true})
	m := c.addAll(1, 0)
	c.propose(1, "x")
	asleep := func() bool {
		c.tick()
		return c.nodes[0].e.Stats().Ticking+c.nodes[1].e.Stats().Ticking+c.nodes[2].e.Stats().Ticking == 0
	}
	until(t, "the group to rest", asleep)
	sent := m.group.Counters().Sent
	c.nodes[0].e.Callbacks().LinkLost(2, frame.Control)
	for c.nodes[0].e.Work() {
		continue
	}
	if c.nodes[0].e.Stats().Ticking != 1 {
		t.Fatal("the leader sleeps on")
	}
	until(t, "the group to rest again", asleep)
	if m.group.Counters().Sent == sent {
		t.Error("the leader said nothing")
	}
}
