// Package worklist is a list of what one goroutine is to do, added to by others that must not wait for it.
package worklist

import "sync"

// Queue is such a list, oldest first. Safe for concurrent use; one goroutine takes.
type Queue[T any] struct {
	mu   sync.Mutex // guards list
	list []T
	wake chan struct{} // capacity 1
}

// New returns an empty queue.
func New[T any]() *Queue[T] { return &Queue[T]{wake: make(chan struct{}, 1)} }

// Add appends. It never waits, and may be called with any lock held.
func (q *Queue[T]) Add(v ...T) {
	q.mu.Lock()
	q.list = append(q.list, v...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Wake gets a value when something was added since the last.
func (q *Queue[T]) Wake() <-chan struct{} { return q.wake }

// Take removes the oldest and returns them, at most so many.
func (q *Queue[T]) Take(most int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(most, len(q.list))
	some := q.list[:n:n]
	if q.list = q.list[n:]; len(q.list) == 0 {
		q.list = nil
	}
	return some
}
