package clustertest

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestPausedLeaderAcknowledgesNothingItShouldNot stops the process of a leader until another leads, and lets it go on. What it
// is asked to write before it can have heard of its successor must not be acknowledged, unless it is in the log.
func TestPausedLeaderAcknowledgesNothingItShouldNot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w := startLoad(c), startWatch(c)
	var gaps []time.Duration
	for i := range rounds(5) {
		p := i % partitions
		l.goesOn(10)
		was := w.leader(p, 0)
		former, led := c.node(was.leader), w.led(was.leader)
		l.resetGaps()
		former.proc.signal(syscall.SIGSTOP)
		w.leader(p, was.epoch)
		l.goesOn(10)
		gaps = append(gaps, l.gaps(led...)...)
		// The kernel keeps these for the process, which reads them before it looks at the time.
		sent := []*stray{former.sendStray(p, time.Second), former.sendStray(p, time.Second)}
		before := l.count(p)
		until(t, "the load to go on beside them", func() bool { return l.count(p) > before })
		former.proc.signal(syscall.SIGCONT)
		for _, s := range sent {
			if err := s.settle(l); err == nil {
				t.Errorf("round %d: node %d, which led until epoch %d, acknowledged offset %d", i, was.leader, was.epoch, s.answer.BaseOffset)
			}
		}
		c.ready()
		l.check()
	}
	w.finish()
	l.finish()
	report(t, "gap after SIGSTOP of a leader", gaps)
}

// TestPausedFollower stops a follower for longer than the election time-out: when it goes on, its clock says that its leader is
// dead. It must not take the lead away from one that is not.
func TestPausedFollower(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w := startLoad(c), startWatch(c)
	l.goesOn(10)
	was := w.leader(0, 0)
	n := c.node(c.others(was.leader)[0])
	n.proc.signal(syscall.SIGSTOP)
	until(t, "the others to take it for dead", func() bool {
		return c.node(was.leader).said(fmt.Sprintf("msg=\"a node counts as dead\" node=%d", n.id))
	})
	l.goesOn(10)
	n.proc.signal(syscall.SIGCONT)
	c.ready()
	l.goesOn(10)
	w.finish()
	l.finish()
}
