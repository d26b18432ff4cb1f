package node

import (
	"context"
	"time"
)

// pollEvery is how often a node that writes looks how full the ring is, and whether a partition has enough to flush. An idle
// node does not look. At a gigabyte a second the default ring gains two percent in this time.
const pollEvery = 20 * time.Millisecond

// pollIdle is how often it looks when nothing was written since it last looked, and what was waits for the next checkpoint.
const pollIdle = 10 * pollEvery

// pollLoop looks at the ring while the node writes: it sets the throttle, and tells flushLoop to see what is to be flushed. It
// is a goroutine of its own because flushLoop waits for the disk, and that is when the ring fills. It goes on while a checkpoint
// is under way: that has emptied the backlog, and while their rows wait for the disk no new one adds a group to it.
func (n *Node) pollLoop() {
	defer n.loops.Done()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	ticker.Stop()
	every, seen := time.Duration(0), uint64(0) // 0: the ticker is stopped
	pace := func(d time.Duration) {
		if d != every {
			every = d
			ticker.Reset(d)
		}
	}
	for {
		select {
		case <-n.stopping:
			return
		case <-n.backlog.Wake():
			pace(pollEvery)
			continue
		case <-ticker.C:
		}
		ms := n.throttle.Ring(n.wal.Usage())
		if ms == 0 && n.backlog.Empty() && !n.saving.Load() {
			every = 0
			ticker.Stop()
			continue
		}
		if end := n.wal.Stats().Bytes.Load(); end != seen || ms > 0 || n.saving.Load() {
			seen = end
			pace(pollEvery)
		} else {
			pace(pollIdle)
		}
		select {
		case n.flushDue <- struct{}{}:
		default: // it has not come back from the last time
		}
	}
}

// throttleMs is how long a producer is to wait.
func (n *Node) throttleMs() int32 { return n.throttle.Ms(len(n.flushDue) > 0, n.budget.Used()) }

// readyPoll is how often AwaitReady looks: many things make a node ready.
const readyPoll = 5 * time.Millisecond

// AwaitReady returns nil once the node is ready, else ctx's error.
func (n *Node) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if ok, _ := n.Ready(); ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
