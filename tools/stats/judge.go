package stats

import "math"

// Verdict is what an interval says about a line drawn beforehand.
type Verdict string

const (
	Met          Verdict = "met"          // the interval's worse end is within the bar
	Missed       Verdict = "missed"       // the whole interval is outside the bar
	Undecided    Verdict = "undecided"    // the bar lies inside the interval
	Passed       Verdict = "passed"       // the whole interval within ±δ: no change that matters
	Regressed    Verdict = "regressed"    // the whole interval beyond +δ
	Improved     Verdict = "improved"     // the whole interval beyond -δ
	Inconclusive Verdict = "inconclusive" // neither
)

// AgainstBar judges an estimate of which less is better against an upper bar. An interval from too few launches is never
// more than undecided.
func AgainstBar(e Estimate, bar float64) Verdict {
	switch {
	case e.Short:
		return Undecided
	case e.High <= bar:
		return Met
	case e.Low > bar:
		return Missed
	}
	return Undecided
}

// AgainstDelta judges the estimate of a ratio new/old of which less is better: delta 0.03 means that 3% is the smallest
// change anybody acts on. The limits are symmetric in log: 1/(1+delta) and 1+delta.
func AgainstDelta(e Estimate, delta float64) Verdict {
	low, high := 1/(1+delta), 1+delta
	switch {
	case e.Short:
		return Inconclusive
	case e.Low > high:
		return Regressed
	case e.High < low:
		return Improved
	case e.Low >= low && e.High <= high:
		return Passed
	}
	return Inconclusive
}

// SmallestEffect is the half-width of a ratio's interval as a fraction: the smallest relative change an A-against-A run
// of this many pairs could tell from none on this host. It is what is compared with δ.
func SmallestEffect(e Estimate) float64 {
	return math.Sqrt(e.High/e.Low) - 1
}

// GateConfidence is the confidence for one of gated metrics looked at up to looks times so that all of them together
// err at most 5% of the time (Bonferroni).
func GateConfidence(gated, looks int) float64 {
	return 1 - 0.05/float64(max(gated, 1)*max(looks, 1))
}
