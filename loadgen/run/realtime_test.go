package run

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/pace"
)

// A thread that keeps a schedule has a real-time priority while it does, where that is permitted; one that waits for answers has not,
// since nothing bounds what CPU it takes.
func TestOnlyThreadsWithAScheduleAreRealtime(t *testing.T) {
	granted, release, err := pace.LockRealtime()
	if err != nil {
		t.Fatal(err)
	}
	release()
	for name, c := range map[string]struct {
		arrivals pace.Spec
		off      bool
		want     bool
	}{
		"schedule":                 {constant(1000), false, granted},
		"schedule, not wanted":     {constant(1000), true, false},
		"as soon as there is room": {closed, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var policy atomic.Uint32
			s := sessionOf(&idle{room: 1, submit: true, work: func(int) {
				if a, err := unix.SchedGetAttr(0, 0); err == nil {
					policy.Store(a.Policy)
				}
			}})
			s.cfg.NoRealtime = c.off
			out := slice(t, s, Spec{Arrivals: c.arrivals, For: 50 * time.Millisecond, Count: 20})
			if got := policy.Load() == unix.SCHED_FIFO; got != c.want || out.Generator.Realtime != c.want {
				t.Errorf("the thread has a real-time priority: %t, the result says %t, want %t", got, out.Generator.Realtime, c.want)
			}
		})
	}
}

// A session keeps idle CPUs from halting as long as it is open, unless it is told not to.
func TestSessionKeepsCPUsAwake(t *testing.T) {
	release, err := pace.KeepAwake()
	permitted := err == nil
	if permitted {
		release()
	}
	addr := floorServer(t, new(atomic.Int64))
	for _, off := range []bool{false, true} {
		s := open(t, Config{Floor: addr, NoAwake: off})
		if got := s.asleep != nil; got != (permitted && !off) {
			t.Errorf("no awake %t: kept from halting %t", off, got)
		}
		closed := s.asleep == nil
		if !closed {
			let := s.asleep
			s.asleep = func() { closed = true; let() }
		}
		if err := s.Close(); err != nil || !closed {
			t.Errorf("Close: %v, may halt again: %t", err, closed)
		}
	}
}
