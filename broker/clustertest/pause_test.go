package clustertest

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestPausedLeaderAcknowledgesNothingItShouldNot stops the process of a leader until another leads, and lets it go on. What it
// is asked to write before it can have heard of its successor must not be acknowledged, unless it is in the log.
func TestPausedLeaderAcknowledgesNothingItShouldNot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w := startLoad(c), startWatch(c)
	var gaps []time.Duration
	for i := range fewer(5, 2) {
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

// TestClientsFollowFromHintToMetadata has a producer hear of a leader first in an answer, which names the next leader and its epoch,
// and then in nothing but metadata, for the named leader is dead. What metadata say must count as much.
func TestClientsFollowFromHintToMetadata(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	c.create(topic, partitions, 3, nil)
	w := startWatch(c)
	cl := c.client(c.listen("producer"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	write := func(what string) {
		t.Helper()
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(what)}).FirstErr(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	was := w.leader(0, 0)
	write("to the first leader")
	first := c.node(was.leader)
	first.proc.signal(syscall.SIGSTOP)
	now := w.leader(0, was.epoch)
	first.proc.signal(syscall.SIGCONT)
	until(t, "the former leader to follow its successor", func() bool {
		view := first.view()
		return strings.Contains(view, fmt.Sprintf("%s 0: led by %d in epoch %d,", topic, now.leader, now.epoch)) &&
			strings.Contains(view, topic+" 0: high watermark -1, epoch -1, error 6\n")
	})
	write("to the first, which knows the second")
	c.node(now.leader).kill()
	w.leader(0, now.epoch)
	write("to the third, of which only metadata tell")
	w.finish()
}
