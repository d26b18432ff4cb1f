// Package waiter lets one reader wait for several partitions at once: whichever has something new first wakes it, once, and the
// others find out when they look at it next.
package waiter

import "sync/atomic"

// Waiter is a reader that waits until there is something new in any of several partitions. It is woken once; the reader
// then reads again. Allocate one per wait.
type Waiter struct {
	C    chan struct{} // capacity 1: receives once
	done atomic.Bool
}

// New returns a waiter to register with partitions.
func New() *Waiter { return &Waiter{C: make(chan struct{}, 1)} }

// Fire wakes the reader. Several partitions may try.
func (w *Waiter) Fire() {
	if w.done.CompareAndSwap(false, true) {
		w.C <- struct{}{}
	}
}

// Spent tells whether nobody waits any more.
func (w *Waiter) Spent() bool { return w.done.Load() }

// Cancel ends the wait; partitions drop the waiter when they next look.
func (w *Waiter) Cancel() { w.done.Store(true) }

// List is the waiters of one partition.
type List struct {
	*Waiter
	Next *List
}

// Complete wakes every reader of the list.
func (l *List) Complete() {
	for ; l != nil; l = l.Next {
		l.Fire()
	}
}

// DropSpent returns the list without those that were woken elsewhere or gave up, so that an idle partition does not collect them.
func (l *List) DropSpent() *List {
	first := l
	for at := &first; *at != nil; {
		if (*at).Spent() {
			*at = (*at).Next
		} else {
			at = &(*at).Next
		}
	}
	return first
}
