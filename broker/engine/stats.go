package engine

import "sync/atomic"

// counters only go up, but for led.
type counters struct {
	led                                          atomic.Int64
	stopped, woken, dropped, refused, unroutable atomic.Uint64
	ticks, passes                                atomic.Uint64
}

// Stats is what an engine has and what it did. The first five are as of now, the rest only goes up.
type Stats struct {
	Groups, Led, Ticking      int
	EarlyMessages, EarlyBytes int // that wait for replicas that are not here

	Stopped    uint64 // groups that ended, by Stop or a failure
	Woken      uint64 // messages that waited and were stepped when their replica came
	Dropped    uint64 // messages that waited and were dropped
	Refused    uint64 // messages for replicas that are not here any more, from where they cannot come from, or for stopped groups
	Unroutable uint64 // messages to replicas of which nobody knows where they are
	Ticks      uint64 // rounds of ticks; an idle node has none
	Passes     uint64 // over all groups, for what happened to peers
}

// Stats reads the counters.
func (e *Engine) Stats() Stats {
	c := &e.counters
	s := Stats{Groups: e.groups.len(), Led: int(c.led.Load()), Ticking: e.ticks.len(),
		Stopped: c.stopped.Load(), Woken: c.woken.Load(), Dropped: c.dropped.Load(), Refused: c.refused.Load(),
		Unroutable: c.unroutable.Load(), Ticks: c.ticks.Load(), Passes: c.passes.Load()}
	e.early.mu.Lock()
	s.EarlyMessages, s.EarlyBytes = e.early.b.Len()
	e.early.mu.Unlock()
	return s
}
