package record

import (
	"strconv"

	"ackline/loadgen/knee"
)

// Rung is one side's slice of a sweep: requests that arrive at a fixed rate, by a schedule that does not wait for answers.
type Rung struct {
	RatePerSecond float64 `json:"rate_per_second"` // of the arrivals
	Side          Side    `json:"side"`
	Requests      int64   `json:"requests"` // acknowledged
	// AnsweredPerSecond is Requests by the time from when the first was due until the last was answered: where a queue has formed fewer than
	// RatePerSecond. 0 in records of older versions.
	AnsweredPerSecond float64 `json:"answered_per_second,omitempty"`
	Unsent            int64   `json:"unsent,omitempty"`
	P50Us             float64 `json:"us_p50"`
	P99Us             float64 `json:"us_p99"`
	// AtLeast says that the p99 fell on a request that was due and could not be sent before the slice's end, because those
	// before it were not answered: the side is saturated, and P99Us is the time-out.
	AtLeast  bool     `json:"at_least,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons,omitempty"`
	HostOnly bool     `json:"host_only,omitempty"` // as in Launch
}

// Meets says whether the p99 is within an objective.
func (r *Rung) Meets(objectiveUs float64) bool { return !r.AtLeast && r.P99Us <= objectiveUs }

// Knee is the highest rate that a side bore within an objective.
type Knee struct {
	RatePerSecond float64 // 0: it missed the objective at the lowest rate already
	// Missed is the rate of the next valid rung, at which it missed the objective; the true knee lies between the two. 0: there
	// is none, because the ladder ended, so that the knee is RatePerSecond at least.
	Missed float64
}

// ObjectiveKey is the key of a scenario's Configuration under which a sweep's objective stands, in µs.
const ObjectiveKey = "objective_p99_us"

// ObjectiveUs is what the p99 of a sweep may be. ok is false for any other scenario.
func (s *Scenario) ObjectiveUs() (us float64, ok bool) {
	us, err := strconv.ParseFloat(s.Configuration[ObjectiveKey], 64)
	return us, err == nil && us > 0
}

// FindKnee walks up the valid rungs of a side until one misses the objective. Those that are not valid are passed over: they
// only make the gap between RatePerSecond and Missed wider. ok is false when the side has no valid rung.
func FindKnee(rungs []Rung, side Side, objectiveUs float64) (k Knee, ok bool) {
	i, err := knee.Between(func(yield func(float64, bool) bool) {
		for i := range rungs {
			if r := &rungs[i]; r.Side == side && r.Verdict == OK && !yield(r.RatePerSecond, r.Meets(objectiveUs)) {
				return
			}
		}
	})
	return Knee{RatePerSecond: i.Kept, Missed: i.Missed}, err == nil
}
