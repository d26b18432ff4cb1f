// Package stage answers the question "where did this request's time go" for every request, at a cost that does not
// show in the answer. A produce carries a Clock, a fixed array with one timestamp per stage of the write path, that
// whoever reaches the stage marks; when the reply has gone out, the differences are added to one histogram per stage
// (Set). Neither allocates or takes a lock.
package stage

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/metric/histogram"
)

// Stage is a point that a request passes. A stage's duration is the time since the last earlier stage that was marked.
type Stage uint8

const (
	Read    Stage  = iota // the frame's last byte was read from the socket
	Decode                // the request was parsed and checked
	Propose               // the entry was handed to raft
	Queue                 // a WAL batch collected the entry: its write begins
	Sync                  // that batch is durable on this node
	Quorum                // the entry is committed
	Reply                 // the kernel took the last byte of the reply
	Count   = iota        // the number of stages
)

// Names are the stages' names in metrics and reports, in order.
var Names = [Count]string{"read", "decode", "propose", "queue", "sync", "quorum", "reply"}

func (s Stage) String() string { return Names[s] }

// Clock holds when a request passed each stage, in nanoseconds of Now; 0 for a stage that it did not pass. It has no
// lock: the goroutine that carries the request marks it, and handing the request over hands the clock over.
type Clock [Count]int64

// Mark notes that the request passes s now.
func (c *Clock) Mark(s Stage) { c[s] = Now() }

// Since is how long after Read the request passed s, in nanoseconds; -1 when it did not.
func (c *Clock) Since(s Stage) int64 {
	if c[s] == 0 {
		return -1
	}
	return c[s] - c[Read]
}

// base and baseNS tie Go's monotonic clock, which only tells differences, to CLOCK_MONOTONIC.
var base, baseNS = func() (time.Time, int64) {
	var ts unix.Timespec
	t := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("stage: CLOCK_MONOTONIC: " + err.Error())
	}
	return t, ts.Nano()
}()

// Now returns nanoseconds of CLOCK_MONOTONIC, so that figures of several processes of one machine (and of BPF
// programs) can be laid side by side. time.Since of a fixed base reads the monotonic clock alone.
func Now() int64 { return baseNS + int64(time.Since(base)) }

// durations covers 1 µs to 16.8 s in 49 bounds a factor of 1.41 apart: the fast stages take a microsecond.
var durations = histogram.Layout{First: 1000, Octaves: 24, Halves: true, PerUnit: 1e9}

// Set is one histogram per stage, and one for the whole of it (Read to Reply). All observe nanoseconds.
type Set struct {
	group *histogram.Group // a member for each stage, and total; [Read] stays empty: nothing comes before it
}

const total = Count

// NewSet returns empty histograms.
func NewSet() *Set {
	return &Set{histogram.NewGroup(slices.Repeat([]histogram.Layout{durations}, Count+1)...)}
}

// Observe adds a finished request. Stages that were not marked are left out, and the next one counts from the last
// that was. A stage that was overtaken (two followers may form the quorum before the local sync returns) counts as 0.
func (s *Set) Observe(c *Clock) {
	counts, last := s.group.Hold(), c[Read]
	for i := Decode; i < Count; i++ {
		if t := c[i]; t != 0 {
			counts.Observe(int(i), t-last)
			last = max(last, t)
		}
	}
	counts.Observe(total, last-c[Read])
	counts.Release()
}

// Stage returns the histogram of one stage.
func (s *Set) Stage(i Stage) *histogram.Histogram { return s.group.Histogram(int(i)) }

// Total returns the histogram of Read to Reply.
func (s *Set) Total() *histogram.Histogram { return s.group.Histogram(total) }
