package pace

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// started and startedNS tie the runtime's monotonic clock, which is CLOCK_MONOTONIC read without a system call (28 ns
// where the call takes 270), to that clock's absolute value, so that Now can be compared between processes and with
// clock_nanosleep's deadlines.
var started, startedNS = calibrate()

func calibrate() (time.Time, int64) {
	base := time.Now()
	offset, best := int64(0), int64(1<<62)
	for range 32 {
		a := time.Since(base).Nanoseconds()
		abs := Raw()
		b := time.Since(base).Nanoseconds()
		if b-a < best {
			best, offset = b-a, abs-(a+b)/2
		}
	}
	return base, offset
}

// Now returns CLOCK_MONOTONIC in nanoseconds, within the duration of one system call of what Raw would say.
func Now() int64 { return startedNS + time.Since(started).Nanoseconds() }

// Raw asks the kernel for CLOCK_MONOTONIC.
func Raw() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("pace: clock_gettime(CLOCK_MONOTONIC): %v", err))
	}
	return ts.Nano()
}

// Wall converts a reading of Now to the wall clock.
func Wall(ns int64) time.Time {
	return started.Add(time.Duration(ns - startedNS)).Round(0)
}

// LockThread locks the calling goroutine to its thread and sets that thread's timer slack to 1 ns (the default of
// 50 µs is added to every sleep). The returned function undoes both.
func LockThread() (release func(), err error) {
	runtime.LockOSThread()
	old, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("timer slack: prctl: %w", err)
	}
	return func() {
		// The thread goes back to the runtime's pool; a failure here leaves it with the finer slack, which is harmless.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(old), 0, 0, 0)
		runtime.UnlockOSThread()
	}, nil
}
