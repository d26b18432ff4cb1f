package launch

import (
	"context"
	"fmt"
	"time"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// sweep measures how much load there may be before users notice: broker and durable echo at a ladder of rates.
func (l *launch) sweep(ctx context.Context) error { return l.writes(ctx, (*contest).climb) }

// rungTries is how often a rung is run when the generator does not vouch for it: on a shared machine a slice is spoilt now and
// then, and a ladder with gaps has no knee.
const rungTries = 2

// hopeless is how many times the objective a median is that ends a side's ladder: a queue that long grows until the slice ends.
const hopeless = 10

// beyondAll says that a side is saturated: more need not be tried. A rung that does not count says so too; what it cannot say is
// where the knee is.
func beyondAll(r record.Rung, objectiveUs float64) bool {
	return r.AtLeast || r.P50Us > hopeless*objectiveUs
}

// climb runs both sides up the ladder, each until it is saturated. Which side goes first changes with every rung.
func (c *contest) climb(ctx context.Context, broker *target.Brokers) error {
	before, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	saturated := map[side]bool{}
	for i, rate := range c.Scenario.Workload.Rungs() {
		for _, s := range order[2*(i%2) : 2*(i%2)+2] { // A B, then B A
			if saturated[s] || !c.has(s) {
				continue
			}
			r, err := c.rung(ctx, i, rate, s)
			if err != nil {
				return c.explain(s, err)
			}
			c.Rec.Rungs = append(c.Rec.Rungs, r)
			saturated[s] = beyondAll(r, float64(c.Scenario.Workload.ObjectiveP99Us))
		}
	}
	after, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	if err := c.knees(); err != nil {
		return err
	}
	c.inside(target.Between(before, after))
	c.Rec.Stages = nil // over all rates together they say nothing
	return nil
}

// rung runs one side at one rate, again if need be.
func (c *contest) rung(ctx context.Context, i int, rate float64, s side) (r record.Rung, err error) {
	what := session.Stretch{Length: c.Suite.RungLength(c.Scenario, rate), Discard: time.Duration(c.Suite.DiscardMs) * time.Millisecond, Rate: rate,
		Seed: c.sub(uint64(4000 + i))}
	for try := range rungTries {
		c.step("%.0f requests a second: %s", rate, s)
		smp, err := c.turn(ctx, len(c.slices), s, what)
		if err != nil {
			return r, err
		}
		r = rungOf(rate, smp, c.slices[len(c.slices)-1], c.Scenario.Workload.Timeout())
		if r.Verdict == record.OK || try == rungTries-1 {
			break
		}
		what.Seed = c.sub(uint64(5000 + i))
	}
	return r, nil
}

// rungOf is what a slice says about a side at a rate.
func rungOf(rate float64, smp session.Sample, sl record.Slice, timeout time.Duration) record.Rung {
	p50, p99 := smp.Hist.Response.Percentile(50, timeout.Nanoseconds()), smp.Hist.Response.Percentile(99, timeout.Nanoseconds())
	r := record.Rung{RatePerSecond: rate, Side: sl.Side, Requests: smp.Requests, Unsent: smp.Unsent, P50Us: float64(p50.NS) / 1e3, P99Us: float64(p99.NS) / 1e3,
		AtLeast: p99.AtLeast, Verdict: sl.Verdict, Reasons: sl.Reasons, HostOnly: sl.HostOnly}
	if total := smp.Hist.Response.Total(); r.Verdict == record.OK && !smp.Hist.Response.Supports(99) {
		r.Verdict, r.Reasons = record.Invalid, []string{fmt.Sprintf("%d requests are too few for a p99, which takes %d", total, hist.Needed(99))}
	}
	return r
}

// knees fills the record from the rungs.
func (c *contest) knees() error {
	c.Rec.Slices = c.slices
	objective := float64(c.Scenario.Workload.ObjectiveP99Us)
	for _, s := range c.sides() {
		k, ok := record.FindKnee(c.Rec.Rungs, s, objective)
		switch {
		case !ok:
			c.noRung(s)
		case k.Missed > 0 && k.RatePerSecond > 0:
			c.Figure(s, "knee_per_second", "1/s", k.RatePerSecond)
		}
		if err := c.writeLog(s); err != nil {
			return err
		}
	}
	for _, r := range c.Rec.Rungs {
		if r.Side == record.System && r.Verdict == record.OK {
			c.Rec.Requests += r.Requests
		}
	}
	return nil
}

// noRung notes that a side has no rung that counts.
func (c *contest) noRung(s side) {
	host, why := true, ""
	for _, r := range c.Rec.Rungs {
		if r.Side == s {
			host = host && r.HostOnly
			if why == "" {
				why = fmt.Sprintf("; at %.0f/s: %s", r.RatePerSecond, r.Reasons[0])
			}
		}
	}
	tell := c.Invalid
	if host {
		tell = c.InvalidByHost
	}
	tell("no rate of the %s is valid%s", s, why)
}
