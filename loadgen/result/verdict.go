package result

import (
	"fmt"
	"math"
	"slices"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
)

// Status is what a run is worth.
type Status string

// The verdicts. Failed is a run whose data did not survive the check.
const (
	Valid   Status = "VALID"
	Invalid Status = "INVALID"
	Failed  Status = "CHECK FAILED"
)

// Code names a reason.
type Code string

// The reasons for which figures are no result.
const (
	Lag        Code = "lag"          // the generator was late, beyond what may be put down to the system
	Starved    Code = "starved"      // the generator's threads waited for a CPU when the tail happened
	Garbage    Code = "garbage"      // the generator collected garbage when the tail happened
	CPULimit   Code = "cpu-limit"    // the machine or its control group took the CPU away when the tail happened
	OutOfRange Code = "out-of-range" // a value lies outside of the histograms
	Samples    Code = "samples"      // too few for the percentile that is judged
	WarmingUp  Code = "warm-up"      // the system did not settle
	EndedEarly Code = "ended-early"  // the system could not be reached any more
	Unchecked  Code = "unchecked"    // the check was asked for and could not be made
	AgentLost  Code = "agent-lost"   // one of the machines that made the load did not say what came of its part
	// FasterThanFloor: it seems to take less than the least that a durable write can take.
	FasterThanFloor Code = "faster-than-floor"
	BadData         Code = "check" // the check found records that are lost, repeated, misplaced or changed
)

// Reason is one cause of a verdict, in words.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Verdict is a status with its reasons.
type Verdict struct {
	Status  Status   `json:"status"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// Has reports whether a reason with this code is among v's.
func (v Verdict) Has(c Code) bool {
	return slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Code == c })
}

// Evidence is what a verdict is made from.
type Evidence struct {
	Set       *hist.Set
	TimeoutNS int64
	// Percentile is the highest one that the run must support, such as 99. 0: samples are not judged, as in a slice whose
	// histograms will be pooled.
	Percentile float64
	Tail       Tail
	WarmUp     *WarmUp       // nil when it was not measured
	Ended      string        // why the run ended early; "" when it did not
	Check      *check.Report // nil when no check was asked for
	// Unanswered: operations had no answers (acks 0), so that there are no latencies to be judged.
	Unanswered bool
}

// The generator's lag at the 99th percentile may be as much as the larger of these.
const (
	lagFloorNS = 20_000
	lagShare   = 0.05
)

// Allowed is how much of a response time may be the generator's own: the larger of 20 µs and 5%.
func Allowed(responseNS int64) int64 {
	return max(lagFloorNS, int64(math.Round(lagShare*float64(responseNS))))
}

// Judge makes the verdict. Backlog is not looked at: a system that stalls is a result.
func Judge(e Evidence) Verdict {
	var r []Reason
	add := func(c Code, format string, args ...any) { r = append(r, Reason{c, fmt.Sprintf(format, args...)}) }
	if e.Ended != "" {
		add(EndedEarly, "the load ended before its time: %s", e.Ended)
	}
	if e.WarmUp != nil && !e.WarmUp.Settled {
		add(WarmingUp, "the system did not settle: %s", e.WarmUp.Why)
	}
	if n := e.Set.OutOfRange(); n > 0 {
		add(OutOfRange, "%d values lie outside of the histograms' range of %v to %v", n, hist.Value{NS: hist.LowestNS}, hist.Value{NS: hist.HighestNS})
	}
	if p := e.Percentile; p > 0 && !e.Set.Response.Supports(p) {
		add(Samples, "p%g needs %d operations, there are %d: run longer or faster, or judge a lower percentile", p, hist.Needed(p), e.Set.Response.Total())
	}
	if e.Set.Lag.Count() > 0 {
		lag, resp := e.Set.Lag.Percentile(99, e.TimeoutNS), e.Set.Response.Percentile(99, e.TimeoutNS)
		if limit := Allowed(resp.NS); lag.NS > limit {
			add(Lag, "the generator was late: p99 lag is %v, at most %v is allowed beside a p99 response of %v; fewer operations per thread, more threads, or a quieter machine would help",
				lag, hist.Value{NS: limit}, resp)
		}
	}
	r = append(r, e.Tail.judge()...)
	if e.Unanswered {
		r = slices.DeleteFunc(r, func(r Reason) bool { return r.Code != EndedEarly && r.Code != WarmingUp })
	}
	v := Verdict{Status: Valid, Reasons: r}
	if c := e.Check; c != nil && !c.Done {
		v.Reasons = append(v.Reasons, Reason{Unchecked, "what was acknowledged could not be read back: " + c.Error})
	}
	if len(v.Reasons) > 0 {
		v.Status = Invalid
	}
	if c := e.Check; c != nil && c.Faults() > 0 {
		v.Status = Failed
		// The other reasons speak of latencies, and this run has none.
		v.Reasons = slices.DeleteFunc(v.Reasons, func(r Reason) bool { return r.Code != EndedEarly && r.Code != Unchecked })
		v.Reasons = append(v.Reasons, Reason{BadData, fmt.Sprintf("of %d acknowledged records %d are lost, %d are there again, %d out of order, %d at another offset, %d changed",
			c.Acked, c.Lost, c.Duplicated, c.Reordered, c.WrongOffset, c.WrongBytes)})
	}
	return v
}
