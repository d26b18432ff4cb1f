// Package ladder finds how much load there may be before users notice: both sides at a ladder of rates, each until it is saturated.
//
// It is the same on one machine and across regions. What differs is how a slice is run, which is the caller's.
package ladder

import (
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/verdict"
)

// rungTries is how often a rung is run when the generator does not vouch for it: on a shared machine a slice is spoilt now and
// then, and a ladder with gaps has no knee.
const rungTries = 2

// hopeless is how many times the objective a median is that ends a side's ladder: a queue that long grows until the slice ends.
const hopeless = 10

// Slice runs one side at a rate. Slices with the same seed, which is a number to derive one from, have the same arrivals.
type Slice func(s record.Side, rate float64, seed uint64) (session.Sample, record.Slice, error)

// Climb runs the sides up the workload's rates, each until it is saturated, and notes every rung. Which side goes first changes with every rung.
func Climb(b *verdict.Book, w *profiles.Workload, sides []record.Side, slice Slice) error {
	saturated := map[record.Side]bool{}
	for i, rate := range w.Rungs() {
		turn := slices.Clone(sides)
		if i%2 == 1 { // A B, then B A
			slices.Reverse(turn)
		}
		for _, s := range turn {
			if saturated[s] {
				continue
			}
			r, err := rung(w, i, rate, s, slice)
			if err != nil {
				return err
			}
			b.Rec.Rungs = append(b.Rec.Rungs, r)
			saturated[s] = beyondAll(r, float64(w.ObjectiveP99Us))
		}
	}
	return nil
}

// beyondAll says that a side is saturated: more need not be tried. A rung that does not count says so too; what it cannot say is
// where the knee is.
func beyondAll(r record.Rung, objectiveUs float64) bool {
	return r.AtLeast || r.P50Us > hopeless*objectiveUs
}

// rung runs one side at one rate, again if need be.
func rung(w *profiles.Workload, i int, rate float64, s record.Side, slice Slice) (r record.Rung, err error) {
	for try := range rungTries {
		smp, sl, err := slice(s, rate, uint64(4000+1000*try+i))
		if err != nil {
			return r, err
		}
		if r = rungOf(rate, smp, sl, w.Timeout()); r.Verdict == record.OK {
			break
		}
	}
	return r, nil
}

// rungOf is what a slice says about a side at a rate.
func rungOf(rate float64, smp session.Sample, sl record.Slice, timeout time.Duration) record.Rung {
	p50, p99 := smp.Hist.Response.Percentile(50, timeout.Nanoseconds()), smp.Hist.Response.Percentile(99, timeout.Nanoseconds())
	r := record.Rung{RatePerSecond: rate, Side: sl.Side, Requests: smp.Requests, AnsweredPerSecond: float64(smp.Requests) / smp.Answered.Seconds(), Unsent: smp.Unsent,
		P50Us: float64(p50.NS) / 1e3, P99Us: float64(p99.NS) / 1e3, AtLeast: p99.AtLeast, Verdict: sl.Verdict, Reasons: sl.Reasons, HostOnly: sl.HostOnly}
	if total := smp.Hist.Response.Total(); r.Verdict == record.OK && !smp.Hist.Response.Supports(99) {
		r.Verdict, r.Reasons = record.Invalid, []string{fmt.Sprintf("%d requests are too few for a p99, which takes %d", total, hist.Needed(99))}
	}
	return r
}

// Conclude fills the record from the rungs.
func Conclude(b *verdict.Book, w *profiles.Workload, sides []record.Side) {
	for _, s := range sides {
		k, ok := record.FindKnee(b.Rec.Rungs, s, float64(w.ObjectiveP99Us))
		switch {
		case !ok:
			noRung(b, s)
		case k.Missed > 0 && k.RatePerSecond > 0:
			b.Figure(s, "knee_per_second", "1/s", k.RatePerSecond)
		}
	}
	for _, r := range b.Rec.Rungs {
		if r.Side == record.System && r.Verdict == record.OK {
			b.Rec.Requests += r.Requests
		}
	}
}

// noRung notes that a side has no rung that counts.
func noRung(b *verdict.Book, s record.Side) {
	host, why := true, ""
	for _, r := range b.Rec.Rungs {
		if r.Side == s {
			host = host && r.HostOnly
			if why == "" {
				why = fmt.Sprintf("; at %.0f/s: %s", r.RatePerSecond, r.Reasons[0])
			}
		}
	}
	tell := b.Invalid
	if host {
		tell = b.InvalidByHost
	}
	tell("no rate of the %s is valid%s", s, why)
}
