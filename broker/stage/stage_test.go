package stage

import (
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNowIsMonotonicClock(t *testing.T) {
	read := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano()
	}
	// The two are tied together once, a few instructions apart; a pre-emption there shifts Now by as much. Any other clock
	// would be off by the machine's uptime or by decades.
	const slack = int64(5 * time.Second)
	before := read()
	now := Now()
	after := read()
	if now < before-slack || now > after+slack {
		t.Errorf("Now is %d, CLOCK_MONOTONIC went from %d to %d", now, before, after)
	}
	if next := Now(); next < now {
		t.Errorf("Now went back from %d to %d", now, next)
	}
}

func micros(seconds float64) uint64 { return uint64(math.Round(seconds * 1e6)) }

func TestObserve(t *testing.T) {
	at := func(us ...int64) (c Clock) {
		for i, u := range us {
			c[i] = u * 1000
		}
		return c
	}
	for _, c := range []struct {
		name  string
		clock Clock
		want  map[Stage]uint64 // microseconds
		total uint64
	}{
		{"all", at(100, 110, 130, 160, 200, 250, 310), map[Stage]uint64{Decode: 10, Propose: 20, Queue: 30, Sync: 40, Quorum: 50, Reply: 60}, 210},
		{"followers were faster", at(100, 110, 130, 160, 200, 190, 220), map[Stage]uint64{Decode: 10, Propose: 20, Queue: 30, Sync: 40, Quorum: 0, Reply: 20}, 120},
		{"sync not seen", at(100, 110, 130, 160, 0, 190, 220), map[Stage]uint64{Decode: 10, Propose: 20, Queue: 30, Quorum: 30, Reply: 30}, 120},
		{"refused", at(100, 110, 0, 0, 0, 0, 120), map[Stage]uint64{Decode: 10, Reply: 10}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSet()
			s.Observe(&c.clock)
			for i := Read; i < Count; i++ {
				got := s.Stage(i).Snapshot()
				us, marked := c.want[i]
				if marked != (got.Count() == 1) || micros(got.Sum) != us {
					t.Errorf("%v: %d values, sum %v s; want %v, %d us", i, got.Count(), got.Sum, marked, us)
				}
			}
			if got := s.Total().Snapshot(); got.Count() != 1 || micros(got.Sum) != c.total {
				t.Errorf("total: %d values, sum %v s; want %d us", got.Count(), got.Sum, c.total)
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	s := NewSet()
	if n := testing.AllocsPerRun(100, func() {
		var c Clock
		for i := Read; i < Count; i++ {
			c.Mark(i)
		}
		s.Observe(&c)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNames(t *testing.T) {
	for i := Read; i < Count; i++ {
		if i.String() == "" {
			t.Errorf("stage %d has no name", i)
		}
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}

func BenchmarkObserve(b *testing.B) {
	s := NewSet()
	b.RunParallel(func(pb *testing.PB) {
		c := Clock{1, 2000, 3000, 40000, 50000, 60000, 70000}
		for pb.Next() {
			s.Observe(&c)
		}
	})
}

func BenchmarkObserveAlone(b *testing.B) {
	s := NewSet()
	c := Clock{1, 2000, 3000, 40000, 50000, 60000, 70000}
	for b.Loop() {
		s.Observe(&c)
	}
}
