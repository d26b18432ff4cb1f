// Package wire carries what goes into a delay line to whoever it is for, when it is due: a line with a clock and a goroutine.
//
// It is there for both ways to emulate a network, which differ in what travels (chunks of connections, packets) and not in when it
// arrives. Distances within a region are a millisecond, so what counts is to be there on time: see alarm.
package wire

import (
	"sync"
	"time"

	"ackline/loadgen/pace"
	"ackline/tools/netlab/line"
)

// Wire is one direction between two hosts. Everything between them shares it, and so its bandwidth and its cuts.
type Wire[T any] struct {
	alarm   *alarm
	deliver func(T)
	done    chan struct{}

	mu     sync.Mutex // guards what is below; held for no I/O
	line   *line.Line[T]
	wakeNS int64 // what the alarm is set to
	closed bool
}

// New starts a wire. The seed decides about jitter and loss. deliver gets what comes out, on the wire's goroutine, and must not wait: what
// is behind would be late.
func New[T any](q line.Quality, seed uint64, deliver func(T)) (*Wire[T], error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	w := &Wire[T]{alarm: a, deliver: deliver, done: make(chan struct{}), line: line.New[T](q, seed)}
	go w.run()
	return w, nil
}

// Set changes what happens to what is sent from now on.
func (w *Wire[T]) Set(q line.Quality) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Set(q)
}

// Hold stops the wire: what comes waits in it.
func (w *Wire[T]) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Hold()
}

// Release lets a wire that was held go on, with what waits in it.
func (w *Wire[T]) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Release(pace.Now())
	w.arm()
}

// Close stops the wire for good. What is under way is lost.
func (w *Wire[T]) Close() {
	w.mu.Lock()
	was := w.closed
	w.closed = true
	w.mu.Unlock()
	if !was {
		_ = w.alarm.close() // a timer has nothing to lose
	}
	<-w.done
}

// Send puts something of so many bytes on its way. False: it is lost.
func (w *Wire[T]) Send(bytes int, value T) bool {
	now := pace.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	empty := w.line.Len() == 0
	in := w.line.In(now, bytes, value)
	if empty {
		w.arm()
	}
	return in
}

// arm sets the alarm to the next deadline. Needs mu.
func (w *Wire[T]) arm() {
	if deadline, ok := w.line.Next(); ok && !w.closed {
		w.wakeNS = w.alarm.set(deadline)
	}
}

// run delivers what is due. Order holds, so there is nothing that could be due before what the alarm is set to.
func (w *Wire[T]) run() {
	defer close(w.done)
	for w.alarm.wait() {
		w.mu.Lock()
		w.alarm.pace.Woke(w.wakeNS, pace.Now())
		deadline, ok := w.line.Next()
		w.mu.Unlock()
		if !ok || deadline-pace.Now() > 2*spinNS { // held meanwhile, or put off
			w.rearm()
			continue
		}
		for pace.Now() < deadline {
		}
		for {
			w.mu.Lock()
			value, ok := w.line.Out(pace.Now())
			w.mu.Unlock()
			if !ok {
				break
			}
			w.deliver(value)
		}
		w.rearm()
	}
}

func (w *Wire[T]) rearm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arm()
}

// Room is how many bytes fit onto the wire and into a queue before it. A wire without a limit takes what fits into TCP's greatest usual
// window.
func (w *Wire[T]) Room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Room(w.line.Quality())
}

// Room is how many bytes fit onto a line of that quality and into a queue before it.
func Room(q line.Quality) int {
	if q.BytesPerSecond == 0 {
		return mostBytes
	}
	inside := q.BytesPerSecond * time.Duration(q.DelayNS+q.JitterNS).Seconds()
	return int(min(inside+queueBytes, mostBytes))
}

const (
	mostBytes  = 16 << 20
	queueBytes = 256 << 10
)
