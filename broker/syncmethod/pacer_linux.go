package syncmethod

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the time that a measurement goes by: nanoseconds that only rise.
type Clock interface {
	Now() int64
	SleepUntil(ns int64) // returns at once when ns has passed
}

// Pacer is a Clock that keeps to absolute deadlines within microseconds. The runtime's own timers can be a
// millisecond late, and the kernel's default timer slack is 50 µs, as long as a write. A Pacer belongs to the
// goroutine that made it.
type Pacer struct {
	start time.Time
	mono  int64 // CLOCK_MONOTONIC at start, ns
	slack int   // the thread's timer slack before, ns
}

// NewPacer locks the calling goroutine to its thread and sets the thread's timer slack to 1 ns, until Close.
func NewPacer() (*Pacer, error) {
	runtime.LockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	var ts unix.Timespec
	if err == nil {
		err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("syncmethod: timer slack: %w", err)
	}
	return &Pacer{start: time.Now(), mono: ts.Nano(), slack: slack}, nil
}

// Now returns CLOCK_MONOTONIC, less the fraction of a microsecond that NewPacer took between its two readings.
// Go reads the same clock without a system call.
func (p *Pacer) Now() int64 { return p.mono + int64(time.Since(p.start)) }

// SleepUntil implements Clock.
func (p *Pacer) SleepUntil(ns int64) {
	if ns <= p.Now() {
		return
	}
	ts := unix.NsecToTimespec(ns)
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			panic(fmt.Sprintf("syncmethod: clock_nanosleep until %d: %v", ns, err)) // no deadline is invalid
		}
		return
	}
}

// Close gives the thread back as it was.
func (p *Pacer) Close() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(p.slack), 0, 0, 0) // it was valid before
	runtime.UnlockOSThread()
}
