package server

import (
	"sync"
	"sync/atomic"
)

// budget is the memory that all connections share. Taking and giving back cost one atomic addition each while there
// is enough; otherwise readers queue, first come first served.
//
// A frame that arrives in pieces grows by and by (read.go), so that with many of them begun every one could wait for
// the others. To keep one of them moving, a reader that is growing may overdraw the budget, one at a time, until its
// frame is complete.
type budget struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32 // len(queue); read without mu by give

	mu        sync.Mutex
	queue     []*taker // owned by mu
	overdrawn *taker   // owned by mu; who may exceed the limit
}

// A taker is a reader's place in the budget. It is the reader's own, except where mu is named.
type taker struct {
	need    int64 // owned by budget.mu while queued
	growing bool  // owned by budget.mu while queued
	granted bool  // owned by budget.mu while queued
	wake    chan struct{}
}

func newTaker() *taker { return &taker{wake: make(chan struct{}, 1)} }

// nudge makes a waiting taker look around; it never blocks.
func (t *taker) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tryTake takes n bytes if they are free and nobody waits.
func (b *budget) tryTake(n int64) bool {
	if b.waiting.Load() > 0 {
		return false
	}
	if b.used.Add(n) <= b.limit {
		return true
	}
	b.give(n)
	return false
}

// take waits for n bytes; growing says that they are for a frame that has begun. It returns false, with nothing
// taken, once stop says so; whoever makes stop true must nudge.
func (b *budget) take(t *taker, n int64, growing bool, stop func() bool) bool {
	b.mu.Lock()
	t.need, t.growing, t.granted = n, growing, false
	b.queue = append(b.queue, t)
	b.waiting.Add(1)
	// The addition comes before the look at used, and give does it the other way round: one of us sees the other.
	b.grant()
	for !t.granted {
		if stop() {
			b.remove(t)
			b.grant()
			b.mu.Unlock()
			return false
		}
		b.mu.Unlock()
		<-t.wake
		b.mu.Lock()
	}
	b.mu.Unlock()
	return true
}

// force takes n bytes whether they are free or not: the bytes exist already.
func (b *budget) force(n int64) { b.used.Add(n) }

// give returns n bytes.
func (b *budget) give(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// complete ends t's permission to overdraw.
func (b *budget) complete(t *taker) {
	b.mu.Lock()
	if b.overdrawn == t {
		b.overdrawn = nil
		b.grant()
	}
	b.mu.Unlock()
}

// grant serves the queue as far as there is memory, and lets one growing taker overdraw. Needs mu.
func (b *budget) grant() {
	for len(b.queue) > 0 {
		t := b.queue[0]
		if b.used.Add(t.need) > b.limit {
			b.used.Add(-t.need)
			break
		}
		b.admit(t)
	}
	if b.overdrawn != nil {
		if t := b.overdrawn; b.queued(t) {
			b.used.Add(t.need)
			b.admit(t)
		}
		return
	}
	for _, t := range b.queue {
		if t.growing {
			b.overdrawn = t
			b.used.Add(t.need)
			b.admit(t)
			return
		}
	}
}

// admit needs mu; t's need has been added to used.
func (b *budget) admit(t *taker) {
	b.remove(t)
	t.granted = true
	t.nudge()
}

// queued needs mu.
func (b *budget) queued(t *taker) bool {
	for _, q := range b.queue {
		if q == t {
			return true
		}
	}
	return false
}

// remove needs mu.
func (b *budget) remove(t *taker) {
	for i, q := range b.queue {
		if q == t {
			copy(b.queue[i:], b.queue[i+1:])
			b.queue[len(b.queue)-1] = nil
			b.queue = b.queue[:len(b.queue)-1]
			b.waiting.Add(-1)
			return
		}
	}
}
