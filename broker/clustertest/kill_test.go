package clustertest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestKillNineOfALeader kills the leader of a partition again and again, and says how long its partitions stood still.
func TestKillNineOfALeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	l, w := startLoad(c), startWatch(c)
	var gaps []time.Duration
	for i := range rounds(8) {
		l.goesOn(20)
		was := w.leader(i%partitions, 0)
		led := w.led(was.leader)
		l.resetGaps()
		c.node(was.leader).kill()
		w.leader(i%partitions, was.epoch)
		l.goesOn(10)
		gaps = append(gaps, l.gaps(led...)...)
		c.node(was.leader).start()
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
	report(t, "gap after kill -9 of a leader", gaps)
}

// TestKillNineOfAFollower kills a node that does not lead the partition, while its log is being written.
func TestKillNineOfAFollower(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	l, w := startLoad(c), startWatch(c)
	for i := range rounds(6) {
		l.goesOn(20)
		others := c.others(w.leader(i%partitions, 0).leader)
		n := c.node(others[i%len(others)])
		n.kill()
		l.goesOn(20)
		n.start()
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
}

// TestKillNineOfAllNodes kills everything at once: what was acknowledged must be on the disks.
func TestKillNineOfAllNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	l, w := startLoad(c), startWatch(c)
	for range rounds(3) {
		l.goesOn(20)
		for _, n := range c.nodes {
			n.proc.cmd.Process.Kill()
		}
		for _, n := range c.nodes {
			n.kill()
		}
		for _, n := range c.nodes {
			n.start()
		}
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
}

// TestKillNineOfTwoOfFive kills a leader and another node at once.
func TestKillNineOfTwoOfFive(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5, "")
	l, w := startLoad(c), startWatch(c)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range rounds(3) {
		l.goesOn(20)
		was := w.leader(i%partitions, 0)
		others := c.others(was.leader)
		victims := []*node{c.node(was.leader), c.node(others[r.IntN(len(others))])}
		for _, n := range victims {
			n.proc.cmd.Process.Kill()
		}
		for _, n := range victims {
			n.kill()
		}
		w.leader(i%partitions, was.epoch)
		l.goesOn(10)
		for _, n := range victims {
			n.start()
		}
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
}

// report prints a distribution.
func report(t *testing.T, what string, list []time.Duration) {
	t.Helper()
	if len(list) == 0 {
		t.Fatalf("%s: nothing was measured", what)
	}
	slices.Sort(list)
	t.Logf("%s, %d of them: least %v, median %v, worst %v; all: %v", what, len(list), list[0], list[len(list)/2], list[len(list)-1], list)
}
