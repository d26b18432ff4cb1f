package node

import (
	"context"
	"time"
)

// The ring fills when segments are written more slowly than records come in. Full, it makes producers wait for their acks,
// all at once and for as long as a checkpoint takes; so before that they are slowed, the more the fuller it is.

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
		used, usable := n.wal.Usage()
		ms := n.cfg.Limits.ThrottleMs(used, usable, n.flushRate.Load())
		n.ringMs.Store(ms)
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

// throttleMs is how long producers are to wait: for room in the ring, or in the memory for entries while flushLoop is behind.
// What memory lets go of before it is in a segment must be read back from the WAL for that, which makes flushLoop later still. A
// gigabyte a second fills that memory between two looks of pollLoop, so it is looked at with each answer.
func (n *Node) throttleMs() int32 {
	ms := n.ringMs.Load()
	if len(n.flushDue) > 0 {
		ms = max(ms, n.cfg.Limits.ThrottleMs(n.budget.Used(), n.cfg.Limits.CacheBytes, n.flushRate.Load()))
	}
	return ms
}

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
