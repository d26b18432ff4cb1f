// Package pace says when operations start and wakes a thread at those times.
//
// The problem: a generator that starts the next operation when the last one answered slows down with the system it
// measures, and so never sees the queue that real users would stand in (coordinated omission). Arrivals therefore
// come from a schedule that knows nothing of the answers: a pure function of time and a seed (Spec, Stream). The
// other half of the problem is waking up: the runtime's timers can be a millisecond late and a kernel timer tens of
// microseconds, which would be added to every latency. Pacer sleeps to an absolute deadline on a locked thread and
// spins over the part of the way that the kernel is known to oversleep.
package pace

import (
	"fmt"
	"math"
)

// Kind names the shape of a schedule.
type Kind string

// The kinds. Closed is not a schedule: the next operation starts when there is room for it, so that its intended
// time is the time at which it was started, and waiting is not seen.
const (
	Constant Kind = "constant"
	Poisson  Kind = "poisson"
	Bursts   Kind = "bursts"
	Closed   Kind = "closed"
)

// Spec is a schedule of arrivals, shared by all workers of a run.
type Spec struct {
	Kind Kind `json:"kind"`
	// RatePerSecond is the arrival rate of all workers together. Must be above 0, except for Closed, which ignores it.
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	// Burst is how many arrivals share one instant; used by Bursts only. 0 means 32.
	Burst int `json:"burst,omitempty"`
	// Seed selects the Poisson arrivals. Every value, 0 included, is a seed.
	Seed uint64 `json:"seed"`
	// Shape makes the rate change over time. Not for Closed.
	Shape Shape `json:"shape,omitzero"`
}

// maxRate bounds the rate to one arrival per nanosecond, the unit of the clock.
const maxRate = 1e9

// defaultBurst is what Burst == 0 means.
const defaultBurst = 32

// Validate says what is wrong with s and what would be right.
func (s Spec) Validate() error {
	switch s.Kind {
	case Closed:
		if !s.Shape.IsZero() {
			return fmt.Errorf("arrivals %s: a ramp or times that are off are of a schedule, and a closed loop has none", s.Kind)
		}
		return nil
	case Constant, Poisson, Bursts:
	default:
		return fmt.Errorf("arrivals %q: want constant, poisson, bursts or closed", s.Kind)
	}
	if !(s.RatePerSecond > 0 && s.RatePerSecond <= maxRate) {
		return fmt.Errorf("arrivals %s: rate %g per second: want more than 0 and at most %g", s.Kind, s.RatePerSecond, maxRate)
	}
	if s.Burst < 0 {
		return fmt.Errorf("arrivals %s: burst %d: want 0 (which means %d) or more", s.Kind, s.Burst, defaultBurst)
	}
	if err := s.Shape.validate(); err != nil {
		return fmt.Errorf("arrivals %s: %w", s.Kind, err)
	}
	return nil
}

// Open reports whether arrivals come from a schedule, not from answers.
func (s Spec) Open() bool { return s.Kind != Closed }

// Stream returns the arrivals of one worker out of workers. The union over all workers is the whole schedule: for
// Constant and Bursts arrival i of the whole belongs to worker i mod workers; for Poisson every worker has its own
// process at 1/workers of the rate, because independent Poisson processes add up to one.
func (s Spec) Stream(worker, workers int) *Stream {
	if worker < 0 || worker >= workers {
		panic(fmt.Sprintf("pace: worker %d of %d", worker, workers))
	}
	st := &Stream{kind: s.Kind, i: int64(worker), step: int64(workers), shape: s.Shape, rate: s.RatePerSecond, shaped: !s.Shape.IsZero()}
	switch s.Kind {
	case Constant, Bursts:
		st.gapNS = 1e9 / s.RatePerSecond
		st.burst = 1
		if s.Kind == Bursts {
			st.burst = int64(s.Burst)
			if st.burst == 0 {
				st.burst = defaultBurst
			}
		}
	case Poisson:
		st.gapNS = 1e9 / s.RatePerSecond * float64(workers)
		st.rng = mix(s.Seed ^ mix(uint64(worker)+1))
	case Closed:
	default:
		panic(fmt.Sprintf("pace: kind %q passed Validate", s.Kind))
	}
	return st
}

// Stream yields the arrival times of one worker, one after the other, in constant memory. Used by one goroutine.
type Stream struct {
	kind  Kind
	gapNS float64
	i     int64 // number of the next arrival in the whole schedule (Constant, Bursts)
	step  int64
	burst int64
	sumNS float64 // time of the last arrival (Poisson); 2^53 ns is 104 days, so no precision is lost
	rng   uint64

	shaped bool
	shape  Shape
	rate   float64 // of the whole schedule, per second
}

// Next returns the next arrival in nanoseconds from the start of the schedule; never less than the one before. A
// Closed stream always answers 0: there is always an arrival waiting.
func (s *Stream) Next() int64 {
	t := s.even()
	if s.shaped {
		t = s.shape.at(t, s.rate)
	}
	return t
}

// even is the next arrival at the even rate.
func (s *Stream) even() int64 {
	switch s.kind {
	case Constant, Bursts:
		// Multiplied, not summed: arrival i is a function of i alone, with no error that grows.
		t := int64(float64(s.i/s.burst*s.burst) * s.gapNS)
		s.i += s.step
		return t
	case Poisson:
		s.rng += golden
		u := float64(mix(s.rng)>>11) / (1 << 53) // [0, 1)
		s.sumNS += -math.Log1p(-u) * s.gapNS     // inverse of the exponential distribution
		return int64(s.sumNS)
	}
	return 0
}

// golden and mix are SplitMix64 (Steele, Lea, Flood 2014), written out so that a seed means the same arrivals under
// every version of Go.
const golden = 0x9e3779b97f4a7c15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
