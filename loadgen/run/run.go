package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/result"
	"ackline/loadgen/secure"
	"ackline/tools/version"
)

// Events are what a run tells while it goes on. Any of them may be nil.
type Events struct {
	// Opened is called when the system was reached.
	Opened func(*Session)
	// Checking is called about once a second while the data is read back.
	Checking func(read, acked int64)
}

// Run opens a session, puts one slice of load on it, checks the data, closes the session and judges. The error says that there is
// nothing to judge. When ctx ends, the load ends; the check is still made, with checkAfterInterrupt to do it in.
func Run(ctx context.Context, cfg Config, spec Spec, ev Events) (*result.Result, error) {
	if err := errors.Join(cfg.Validate(), spec.Validate()); err != nil {
		return nil, err
	}
	s, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if ev.Opened != nil {
		ev.Opened(s)
	}
	began := time.Now()
	slice, err := s.Slice(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r := s.result(slice, spec, began)
	if slice.Counts.AllAcked == 0 && secure.Refused(slice.cause) {
		return nil, errors.Join(fmt.Errorf("topic %q: %w", s.topic.Name, slice.cause), s.Close())
	}
	if slice.Interrupted && slice.Counts.AllAcked == 0 {
		return nil, errors.Join(errors.New("interrupted before anything was acknowledged"), s.Close())
	}
	e := slice.Evidence()
	e.Check = s.checkAtEnd(ctx, ev)
	r.Check = e.Check
	r.Conclude(e)
	return r, s.Close()
}

// result is what a slice leaves behind, without a verdict.
func (s *Session) result(slice *Slice, spec Spec, began time.Time) *result.Result {
	return &result.Result{Format: result.Format, Version: version.String(), Started: began, Target: s.Target(), Effective: s.Effective(),
		Asked: struct {
			Config Config `json:"config"`
			Spec   Spec   `json:"spec"`
		}{s.Config(), spec},
		Counts: slice.Counts, Series: slice.Series, WarmUp: slice.WarmUp, Generator: slice.Generator,
		Latency: slice.Latency(), Outages: slice.Outages, ByPartition: slice.ByPartition, GapMs: float64(spec.gap()) / 1e6,
		Consumers: slice.Consumers, Stages: slice.Stages}
}

// checkAtEnd reads everything back, also after an interruption. What went wrong with that stands in the report.
func (s *Session) checkAtEnd(ctx context.Context, ev Events) *check.Report {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), checkAfterInterrupt)
		defer cancel()
	}
	report, _ := s.Check(ctx, ev.Checking)
	return report
}

// checkAfterInterrupt bounds the check of a run that was interrupted.
const checkAfterInterrupt = 30 * time.Second
