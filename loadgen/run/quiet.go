package run

import (
	"runtime"
	"runtime/debug"
)

// Quiet prepares this process for measuring with that many worker threads, and returns what undoes it. Each worker must find
// a P the moment a system call returns, or it would wait for another goroutine's turn; and collections, which the workers
// themselves never cause, should be rare.
func Quiet(threads int) (undo func()) {
	procs := runtime.GOMAXPROCS(0)
	if want := runtime.NumCPU() + threads; want > procs {
		runtime.GOMAXPROCS(want)
	}
	percent := debug.SetGCPercent(800)
	return func() {
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	}
}
