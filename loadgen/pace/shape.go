package pace

import (
	"fmt"
	"math"
	"time"
)

// Shape changes the rate of a schedule over time. The zero Shape changes nothing.
//
// It is a map of time, applied to the arrivals of a schedule at an even rate: arrival i of the shaped schedule comes when the shaped
// rate's integral reaches what the even rate's has at arrival i. So a shaped Poisson schedule is the Poisson process of that rate (the time-change theorem), a shaped constant one is evenly spaced in what has arrived, and
// both stay pure functions of time and seed.
type Shape struct {
	// RampTo is the rate per second that is reached, in a straight line from RatePerSecond, after RampOver, and kept from then on.
	// 0: no ramp.
	RampTo   float64       `json:"ramp_to,omitempty"`
	RampOver time.Duration `json:"ramp_over,omitempty"`
	// On and Off make arrivals come for On, at the schedule's rate, and then not for Off, again and again. Both 0: always on.
	On  time.Duration `json:"on,omitempty"`
	Off time.Duration `json:"off,omitempty"`
}

// IsZero tells that the rate does not change.
func (s Shape) IsZero() bool { return s == Shape{} }

func (s Shape) validate() error {
	switch {
	case s.IsZero():
		return nil
	case !(s.RampTo >= 0 && s.RampTo <= maxRate):
		return fmt.Errorf("a ramp to %g per second: want more than 0 and at most %g", s.RampTo, maxRate)
	case (s.RampTo > 0) != (s.RampOver > 0):
		return fmt.Errorf("a ramp to %g per second over %v: want both, or neither", s.RampTo, s.RampOver)
	case s.On < 0 || s.Off < 0 || (s.On > 0) != (s.Off > 0):
		return fmt.Errorf("on for %v, off for %v: want both, or neither", s.On, s.Off)
	case s.RampTo > 0 && s.On > 0:
		return fmt.Errorf("a ramp and times that are off: want one of them, since neither would be seen")
	}
	return nil
}

// at maps time t of a schedule at an even rate, per second, to the shaped schedule's. Both in nanoseconds.
func (s Shape) at(t int64, rate float64) int64 {
	if s.On > 0 {
		return t + t/int64(s.On)*int64(s.Off)
	}
	if s.RampTo == 0 {
		return t
	}
	// In seconds and arrivals: after t there have been n; the ramp has had n after x, when rate x + (to-rate) x²/2T = n.
	n, over := float64(t)/1e9*rate, s.RampOver.Seconds()
	whole := (rate + s.RampTo) / 2 * over
	if n >= whole {
		return int64((over + (n-whole)/s.RampTo) * 1e9)
	}
	slope := (s.RampTo - rate) / over
	// The usual formula with its fraction turned over, which loses no digits for a slope near 0 and needs none to be different from it.
	return int64(2 * n / (rate + math.Sqrt(rate*rate+2*slope*n)) * 1e9)
}
