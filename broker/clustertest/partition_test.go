package clustertest

import (
	"fmt"
	"testing"
	"time"
)

// cuts are ways in which a network may fail a leader; others are the rest.
var cuts = []struct {
	name string
	// ways are lost. alone: the leader must be replaced, and is asked for an acknowledgement that it must not give.
	ways  func(leader int, others []int) []way
	alone bool
}{
	{"the leader is cut off", func(l int, o []int) []way { return between([]int{l}, o) }, true},
	{"the leader is not heard", func(l int, o []int) []way { return from([]int{l}, o) }, true},
	{"the leader hears nobody", func(l int, o []int) []way { return from(o, []int{l}) }, true},
	{"the leader and one other do not reach each other", func(l int, o []int) []way { return between([]int{l}, o[:1]) }, false},
	{"a follower is cut off", func(l int, o []int) []way { return between(o[:1], []int{l, o[1]}) }, false},
}

func from(some, others []int) (list []way) {
	for _, w := range between(some, others) {
		for _, a := range some {
			if w.from == a {
				list = append(list, w)
			}
		}
	}
	return list
}

// TestNetworkPartitions cuts the links of a leader in several ways. The majority goes on, the minority's leader acknowledges
// nothing, topics can be made meanwhile, and after the repair everyone agrees.
func TestNetworkPartitions(t *testing.T) {
	t.Parallel()
	c := newRelayedCluster(t, 3, impatient)
	l, w := startLoad(c), startWatch(c)
	var gaps []time.Duration
	for i := range rounds(len(cuts)) {
		cut, p := cuts[i%len(cuts)], i%partitions
		l.goesOn(10)
		was := w.leader(p, 0)
		l.resetGaps()
		c.net.lose(cut.ways(was.leader, c.others(was.leader))...)
		var sent *stray
		if cut.alone {
			sent = c.node(was.leader).sendStray(p, 2*time.Second)
			w.leader(p, was.epoch)
		}
		l.goesOn(10)
		gaps = append(gaps, l.gaps(p)...)
		if sent != nil {
			// Cut off before it was asked, it cannot have had a majority; if it was asked before that, the record is in the log.
			if err := sent.settle(l); err == nil {
				t.Logf("%s: acknowledged just in time", cut.name)
			}
		}
		name := fmt.Sprintf("during-%d", i)
		c.node(c.others(was.leader)[1]).createOn(name) // which no cut keeps from a majority
		c.net.heal()
		c.ready()
		c.agree(name)
		l.check()
		t.Logf("%s: partition %d stood still for %v", cut.name, p, gaps[len(gaps)-1])
	}
	w.finish()
	l.finish()
	report(t, "gap after a partition", gaps)
}

// TestMinorityOfFive cuts two of five nodes off, a leader among them.
func TestMinorityOfFive(t *testing.T) {
	t.Parallel()
	c := newRelayedCluster(t, 5, impatient)
	l, w := startLoad(c), startWatch(c)
	for i := range rounds(1) {
		p := i % partitions
		l.goesOn(10)
		was := w.leader(p, 0)
		o := c.others(was.leader)
		c.net.lose(between([]int{was.leader, o[0]}, o[1:])...)
		w.leader(p, was.epoch)
		l.goesOn(10)
		for _, n := range []int{was.leader, o[0]} {
			s := c.node(n).sendStray(p, time.Second)
			if err := s.settle(l); err == nil {
				t.Errorf("node %d acknowledged offset %d with two of five", n, s.answer.BaseOffset)
			}
		}
		c.net.heal()
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
}
