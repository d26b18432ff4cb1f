// Package climb puts trials on a system, at one rate after the other, until its knee is known (package knee), and reports it.
//
// The problem: a figure such as "12,000/s at p99 ≤ 5 ms" is made of a hundred thousand operations at twenty rates, and each of them
// can be wrong in its own way. So every trial is a slice of its own on one open session: its beginning, in which the rate changes,
// is left out; all answers are waited for before the next begins; its whole histogram is kept; and if the generator was late or
// starved, it has no vote. At the end everything that was acknowledged in any trial is read back: a system that lost a record has no
// knee.
package climb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
	"ackline/loadgen/knee"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
	"ackline/tools/version"
)

// Config is what a climb is made with.
type Config struct {
	Objective knee.Objective `json:"objective"`
	Limits    knee.Limits    `json:"limits"`
	// Arrivals is the schedule of every trial; its rate is the search's, and its seed is the first trial's, the next one's one more and
	// so on. Open: a closed loop has no rate.
	Arrivals pace.Spec `json:"arrivals"`
	// For is the length of each trial. It is made longer where that is needed for the percentile, up to Longest. 0 means 5 s.
	For time.Duration `json:"for"`
	// Longest bounds a trial. 0 means two minutes.
	Longest time.Duration `json:"longest"`
	// Discard is how much of each trial's beginning is run and not measured.
	Discard time.Duration `json:"discard"`
	// Rest is the pause between trials, for what a system owes its disk.
	Rest time.Duration `json:"rest"`
	// WarmUp runs the lowest rate before the first trial until it has settled, for at most so long; 0 does not. WarmUpFixed runs it
	// for exactly so long instead.
	WarmUp      time.Duration `json:"warm_up,omitempty"`
	WarmUpFixed time.Duration `json:"warm_up_fixed,omitempty"`
}

// normal replaces zeros by what they mean.
func (c Config) normal() Config {
	c.Limits = c.Limits.Normal()
	if c.For == 0 {
		c.For = 5 * time.Second
	}
	if c.Longest == 0 {
		c.Longest = 2 * time.Minute
	}
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.normal()
	arrivals := c.Arrivals
	arrivals.RatePerSecond = c.Limits.From
	if err := errors.Join(c.Limits.Validate(), arrivals.Validate()); err != nil {
		return err
	}
	switch {
	case !arrivals.Open():
		return errors.New("arrivals closed: a closed loop has no rate, and so no knee")
	case !arrivals.Shape.IsZero():
		return errors.New("the rate of a trial does not change")
	case c.For < 0 || c.Longest < c.For || c.Longest > time.Hour:
		return fmt.Errorf("trials of %v to %v: want more than 0, and at most an hour", c.For, c.Longest)
	case c.Discard < 0 || c.Rest < 0 || c.WarmUp < 0 || c.WarmUpFixed < 0:
		return fmt.Errorf("discard %v, rest %v, warm-up %v: none may be negative", c.Discard, c.Rest, max(c.WarmUp, c.WarmUpFixed))
	}
	if need := c.needed(c.Limits.From); need > c.Longest {
		return fmt.Errorf("p%g takes %d operations, which at %g per second take %v: begin at a higher rate, allow trials longer than %v, or judge a lower percentile",
			c.Objective.Percentile, hist.Needed(c.Objective.Percentile), c.Limits.From, need.Round(time.Second), c.Longest)
	}
	return nil
}

// needed is how long arrivals at a rate take until there are enough, with a little more, because arrivals are random.
func (c *Config) needed(rate float64) time.Duration {
	n := float64(hist.Needed(c.Objective.Percentile))
	return time.Duration(math.Ceil((n + 4*math.Sqrt(n)) / rate * 1e9))
}

// Load is what trials are put on: a run.Session.
type Load interface {
	Slice(context.Context, run.Spec) (*run.Slice, error)
	Check(context.Context, func(read, acked int64)) (*check.Report, error)
}

// Events are what a climb tells while it goes on. Any of them may be nil.
type Events struct {
	// Begins is called before each trial, number n of its rate. A rate with n 0 is the warm-up.
	Begins func(rate float64, n int, length time.Duration)
	// Second is called about once a second while load is on, from a goroutine that is not in the way.
	Second func(run.Progress)
	// Ended is called after each trial.
	Ended func(*Trial)
	// Checking is called about once a second while the data is read back.
	Checking func(read, acked int64)
}

// checkAfterInterrupt bounds the check of a climb that was interrupted.
const checkAfterInterrupt = 30 * time.Second

// Run makes the trials and judges. When ctx ends, so do the trials; the check is still made. The error says that there is nothing
// to report.
func Run(ctx context.Context, load Load, cfg Config, ev Events) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.normal()
	search, err := knee.New(cfg.Limits)
	if err != nil {
		return nil, err
	}
	r := &Result{Format: Format, Version: version.String(), Started: time.Now(), Config: cfg}
	if err := r.climb(ctx, load, search, ev); err != nil {
		return nil, err
	}
	r.Answer = search.Answer()
	checking := ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		checking, cancel = context.WithTimeout(context.WithoutCancel(ctx), checkAfterInterrupt)
		defer cancel()
	}
	r.Check, _ = load.Check(checking, ev.Checking) // what went wrong stands in the report
	r.conclude()
	return r, nil
}

// climb makes trials until the search is over, the system is gone or ctx ends.
func (r *Result) climb(ctx context.Context, load Load, search *knee.Search, ev Events) error {
	if err := r.warmUp(ctx, load, ev); err != nil || r.Ended != "" || r.unsettled() {
		return err
	}
	for {
		rate, ok := search.Next()
		if !ok {
			return nil
		}
		if !rest(ctx, r.Config.Rest) {
			r.Ended = interrupted
			return nil
		}
		t, err := r.trial(ctx, load, rate, search.Trial(), ev)
		if err != nil || r.Ended != "" {
			return err
		}
		v, decided := search.Add(t.Outcome)
		if decided {
			t.Decided = v
		}
		r.Trials = append(r.Trials, t)
		if ev.Ended != nil {
			ev.Ended(t)
		}
	}
}

// interrupted is why a climb ended whose context did.
const interrupted = "interrupted"

func (r *Result) unsettled() bool { return r.WarmUp != nil && !r.WarmUp.Settled }

// warmUp puts the lowest rate on the system before anything counts.
func (r *Result) warmUp(ctx context.Context, load Load, ev Events) error {
	c := &r.Config
	spec := run.Spec{Arrivals: c.Arrivals, For: time.Second, WarmUp: c.WarmUp, Progress: ev.Second}
	spec.Arrivals.RatePerSecond = c.Limits.From
	switch {
	case c.WarmUpFixed > 0:
		spec.For, spec.WarmUp = c.WarmUpFixed, 0
	case c.WarmUp == 0:
		return nil
	}
	if ev.Begins != nil {
		ev.Begins(c.Limits.From, 0, max(c.WarmUp, c.WarmUpFixed))
	}
	s, err := load.Slice(ctx, spec)
	if err != nil {
		return err
	}
	r.count(s)
	r.WarmUp = s.WarmUp
	if r.Ended != "" {
		r.WarmUp = nil // it says nothing
	}
	return nil
}

// count notes what a slice did to the system, and whether it was the last.
func (r *Result) count(s *run.Slice) {
	r.Acked += s.Counts.AllAcked
	r.Failed += s.Counts.AllFailed
	switch {
	case s.Interrupted:
		r.Ended = interrupted
	case s.Ended != "":
		r.Ended = s.Ended
	}
}

// trial makes one trial. When r.Ended is set afterwards, it is none.
func (r *Result) trial(ctx context.Context, load Load, rate float64, n int, ev Events) (*Trial, error) {
	c := &r.Config
	length := min(max(c.For, c.needed(rate)), c.Longest)
	if ev.Begins != nil {
		ev.Begins(rate, n, length)
	}
	spec := run.Spec{Arrivals: c.Arrivals, For: length, Discard: c.Discard, Progress: ev.Second}
	spec.Arrivals.RatePerSecond = rate
	spec.Arrivals.Seed += uint64(len(r.Trials))
	s, err := load.Slice(ctx, spec)
	if err != nil {
		return nil, err
	}
	r.count(s)
	if s.TimeoutNS > 0 {
		r.TimeoutNS = s.TimeoutNS
	}
	return c.judge(s, rate, n, spec.Arrivals.Seed), nil
}

// judge says what a slice is worth for the objective.
func (c *Config) judge(s *run.Slice, rate float64, n int, seed uint64) *Trial {
	e := s.Evidence()
	e.Percentile, e.Tail.Percentile = c.Objective.Percentile, c.Objective.Percentile
	v := result.Judge(e)
	t := &Trial{RatePerSecond: rate, Number: n, Seed: seed, Counts: s.Counts, Generator: s.Generator, Reasons: v.Reasons, Histograms: s.Set, Outcome: knee.Missed}
	switch {
	case v.Status != result.Valid:
		t.Outcome = knee.Spoilt
	case c.Objective.Keeps(s.Set.Response, s.TimeoutNS):
		t.Outcome = knee.Kept
	}
	t.figures(c.Objective.Percentile, s.TimeoutNS)
	return t
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
