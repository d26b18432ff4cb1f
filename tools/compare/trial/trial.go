// Package trial decides whether one build is slower than another, on a machine whose speed drifts.
//
// Two runs an hour apart differ by more than most changes do, and whoever measures until a difference shows finds one. So
// everything is fixed before the first launch: which figures are judged, how large a change matters (δ), after how many
// pairs of launches the data are looked at, and how sure an interval must be so that all figures at all looks together err
// at most 5% of the time. Then
//
//	calibration   one launch of either build, not counted: both can be measured, and what is kept the same from then on is settled
//	A against A   pairs of launches of the base: what this host calls a difference where there is none
//	A against B   pairs in the order A B B A, both launches of a pair with one seed, until every figure is decided at a
//	              look, or the last look is over
//
// A pair one launch of which is not valid counts for nothing and is measured again, a bounded number of times. Who measures
// is behind Launcher, so that the procedure is tested with launches that are made up; it is a function of what Launcher
// answers and nothing else, so that an interrupted comparison goes on by being asked the same things again.
package trial

import (
	"context"
	"fmt"
	"math"
	"slices"

	"ackline/tools/stats"
)

// Side is one of the two builds.
type Side string

// The builds.
const (
	Base Side = "base"
	Head Side = "head"
)

// Phase is a part of the procedure.
type Phase string

// The phases, in their order.
const (
	Calibration Phase = "calibration"
	SameSame    Phase = "A against A"
	SameOther   Phase = "A against B"
)

// Step is one launch that is wanted.
type Step struct {
	Number int    `json:"number"` // from 0, in the order of running; never used twice in a comparison
	Phase  Phase  `json:"phase"`
	Pair   int    `json:"pair"` // from 0 within the phase, pairs that came to nothing included
	Side   Side   `json:"side"` // which build
	Seed   uint64 `json:"seed,string"`
}

// Value is one figure of a launch, of which less is better.
type Value struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Gated bool    `json:"gated,omitempty"` // may decide; what does not is shown without a verdict
	Value float64 `json:"value"`
}

// Launch is what came out of a step.
type Launch struct {
	Valid   bool     `json:"valid"`
	Reasons []string `json:"reasons,omitempty"` // why it is not
	Seconds float64  `json:"seconds"`
	Values  []Value  `json:"values"`
}

// value is the figure's value, not a number when the launch has none.
func (l *Launch) value(name string) float64 {
	for _, v := range l.Values {
		if v.Name == name {
			return v.Value
		}
	}
	return math.NaN()
}

// Launcher measures. An error ends the comparison: a launch that lost data, a program that is not there.
type Launcher interface {
	Launch(ctx context.Context, s Step) (Launch, error)
}

// Plan is what is fixed beforehand.
type Plan struct {
	SamePairs int      `json:"same_pairs"` // of A against A
	Looks     []int    `json:"looks"`      // numbers of valid pairs, rising
	Spare     int      `json:"spare"`      // pairs of each phase that may come to nothing because a launch is not valid
	Gates     []string `json:"gates"`      // the figures that decide; empty: all that may
	Seed      uint64   `json:"seed,string"`
}

// Full is a whole comparison, Quick one look.
func Full() Plan { return Plan{SamePairs: 10, Looks: slices.Clone(stats.Looks), Spare: 10} }

// Quick is the comparison of a few minutes: one look after ten pairs.
func Quick() Plan { return Plan{SamePairs: 3, Looks: stats.Looks[:1:1], Spare: 2} }

// Last is the number of pairs at the last look.
func (p *Plan) Last() int { return p.Looks[len(p.Looks)-1] }

// Most is how many launches there are if none is invalid and every look is needed.
func (p *Plan) Most() int { return 2 + 2*p.SamePairs + 2*p.Last() }

// Validate reports a plan that cannot be carried out.
func (p *Plan) Validate() error {
	if p.SamePairs < 1 || p.Spare < 0 || len(p.Looks) == 0 || p.Looks[0] < 1 {
		return fmt.Errorf("plan: %d pairs of A against A, %d to spare, looks %v: want at least one pair, none or more to spare, and a look", p.SamePairs, p.Spare, p.Looks)
	}
	for i := 1; i < len(p.Looks); i++ {
		if p.Looks[i] <= p.Looks[i-1] {
			return fmt.Errorf("plan: looks at %v pairs: want them rising", p.Looks)
		}
	}
	return nil
}

// Progress says how far a comparison is.
type Progress struct {
	Step        Step
	Done, Most  int     // launches; Most is what it takes if every look is needed
	SecondsEach float64 // of a launch, as far as known: 0 before the first
}

// Pair is two valid launches that ran one after the other.
type Pair struct{ A, B Launch }

// Outcome is what a comparison found.
type Outcome struct {
	Plan       Plan          `json:"plan"`
	Verdict    stats.Verdict `json:"verdict"`
	Confidence float64       `json:"confidence"` // of each interval
	Pairs      int           `json:"pairs"`      // valid ones, A against B
	Rows       []Row         `json:"rows"`
	Spoilt     []string      `json:"spoilt,omitempty"`    // launches that were not valid: which, and why
	Exhausted  bool          `json:"exhausted,omitempty"` // more pairs came to nothing than there were to spare
}

// Run carries out the plan. tell is called before every launch and may be nil.
func Run(ctx context.Context, p Plan, l Launcher, tell func(Progress)) (*Outcome, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	r := &runner{plan: p, launcher: l, tell: tell, out: &Outcome{Plan: p, Verdict: stats.Inconclusive}}
	for _, side := range []Side{Base, Head} {
		if _, err := r.launch(ctx, Calibration, 0, side); err != nil {
			return nil, err
		}
	}
	same, err := r.pairs(ctx, SameSame, nil, p.SamePairs)
	if err != nil {
		return nil, err
	}
	if len(same) == 0 {
		r.out.Exhausted = true
		return r.out, nil
	}
	gates, err := gated(p.Gates, same)
	if err != nil {
		return nil, err
	}
	r.out.Plan.Gates = gates
	r.out.Confidence = stats.GateConfidence(len(gates), len(p.Looks))
	itself := r.out.itself(same)
	var pairs []Pair
	for _, look := range p.Looks {
		if pairs, err = r.pairs(ctx, SameOther, pairs, look); err != nil {
			return nil, err
		}
		r.out.judge(itself, pairs)
		if r.out.Exhausted || r.out.Verdict != stats.Inconclusive {
			break
		}
	}
	return r.out, nil
}

// runner is a comparison under way.
type runner struct {
	plan     Plan
	launcher Launcher
	tell     func(Progress)
	out      *Outcome
	steps    int
	seconds  float64
	tried    map[Phase]int // pairs begun
}

// launch runs the next step.
func (r *runner) launch(ctx context.Context, phase Phase, pair int, side Side) (Launch, error) {
	if ctx.Err() != nil {
		return Launch{}, context.Cause(ctx)
	}
	s := Step{Number: r.steps, Phase: phase, Pair: pair, Side: side, Seed: mix(r.plan.Seed, phase, pair)}
	if r.tell != nil {
		each := 0.0
		if r.steps > 0 {
			each = r.seconds / float64(r.steps)
		}
		r.tell(Progress{Step: s, Done: r.steps, Most: max(r.plan.Most(), r.steps+1), SecondsEach: each})
	}
	l, err := r.launcher.Launch(ctx, s)
	if err != nil {
		return Launch{}, fmt.Errorf("launch %d (%s): %w", s.Number, s.Side, err)
	}
	r.steps++
	r.seconds += l.Seconds
	if !l.Valid {
		why := "no reason given"
		if len(l.Reasons) > 0 {
			why = l.Reasons[0]
		}
		r.out.Spoilt = append(r.out.Spoilt, fmt.Sprintf("launch %d, %s of %s: %s", s.Number, s.Side, s.Phase, why))
	}
	return l, nil
}

// pairs adds valid pairs to those there are until there are want. Fewer come back when too many were not valid.
func (r *runner) pairs(ctx context.Context, phase Phase, have []Pair, want int) ([]Pair, error) {
	if r.tried == nil {
		r.tried = map[Phase]int{}
	}
	for len(have) < want {
		n := r.tried[phase]
		if n-len(have) > r.plan.Spare {
			r.out.Exhausted = r.out.Exhausted || phase == SameOther
			return have, nil
		}
		r.tried[phase]++
		second := Head
		if phase == SameSame {
			second = Base
		}
		var both [2]Launch
		for i := range both {
			// A B, then B A: what a launch leaves behind for the next, and a drift that keeps its direction, fall on both sides alike.
			at := i ^ n&1
			side := Base
			if at == 1 {
				side = second
			}
			var err error
			if both[at], err = r.launch(ctx, phase, n, side); err != nil {
				return nil, err
			}
		}
		if both[0].Valid && both[1].Valid {
			have = append(have, Pair{both[0], both[1]})
		}
	}
	return have, nil
}

// mix makes a pair's seed from the comparison's (splitmix64).
func mix(seed uint64, phase Phase, pair int) uint64 {
	x := seed + uint64(pair) + uint64(slices.Index([]Phase{Calibration, SameSame, SameOther}, phase))<<32 + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return max(x^x>>31, 1) // bench takes 0 for none
}

// gated are the figures that decide: those that were named, or all that may. They are settled by A against A, before B was
// looked at.
func gated(names []string, same []Pair) ([]string, error) {
	var may []string
	for _, p := range same {
		for _, v := range p.A.Values {
			if v.Gated && !slices.Contains(may, v.Name) {
				may = append(may, v.Name)
			}
		}
	}
	for _, n := range names {
		if !slices.Contains(may, n) {
			return nil, fmt.Errorf("no launch has the figure %q; these may decide: %q", n, may)
		}
	}
	if len(may) == 0 {
		return nil, fmt.Errorf("no launch has a figure that may decide")
	}
	if len(names) > 0 {
		return names, nil
	}
	return may, nil
}
