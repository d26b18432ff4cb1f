package engine

import (
	"sync"
	"sync/atomic"
)

// ticks are the groups that want to be ticked.
type ticks struct {
	mu      sync.Mutex // guards active, and every member's slot and gone
	active  []*member
	scratch []*member // owned by who calls Tick
	// timed: a timer runs, and sees who is listed. Stored before a look at active, loaded after a change of it.
	timed atomic.Bool
}

// set lists a member, or takes it off the list. wake is called when the list is empty no more and no timer runs.
func (t *ticks) set(m *member, needed bool, wake func()) {
	t.mu.Lock()
	first := false
	switch {
	case needed && m.slot < 0 && !m.gone:
		m.slot = len(t.active)
		t.active = append(t.active, m)
		first = m.slot == 0
	case !needed && m.slot >= 0:
		t.remove(m)
	}
	t.mu.Unlock()
	if first && !t.timed.Load() {
		wake()
	}
}

// remove needs mu.
func (t *ticks) remove(m *member) {
	last := len(t.active) - 1
	t.active[m.slot] = t.active[last]
	t.active[m.slot].slot = m.slot
	t.active[last] = nil
	t.active, m.slot = t.active[:last], -1
}

// drop takes a member off the list for ever.
func (t *ticks) drop(m *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.gone = true
	if m.slot >= 0 {
		t.remove(m)
	}
}

func (t *ticks) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.active)
}

// flushEvery is after how many groups what they have enqueued is sent: a queue to a peer is bounded.
const flushEvery = 256

// Tick moves the clock of every group that needs it by one tick, and carries out what follows. One goroutine at a time.
func (e *Engine) Tick() {
	t := &e.ticks
	t.mu.Lock()
	list := append(t.scratch[:0], t.active...)
	t.mu.Unlock()
	for i, m := range list {
		m.group.Tick()
		if i%flushEvery == flushEvery-1 {
			e.Flush()
		}
	}
	e.counters.ticks.Add(1)
	e.Drive()
	clear(list)
	t.scratch = list[:0]
	e.lookAgain()
}
