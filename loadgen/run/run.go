package run

import (
	"context"
	"errors"
	"time"

	"ackline/loadgen/result"
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
	r := &result.Result{Format: result.Format, Version: version.String(), Started: time.Now(), Target: s.Target(),
		Asked: struct {
			Config Config `json:"config"`
			Spec   Spec   `json:"spec"`
		}{s.Config(), spec}}
	slice, err := s.Slice(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r.Effective = s.Effective()
	r.Counts, r.Series, r.WarmUp, r.Generator = slice.Counts, slice.Series, slice.WarmUp, slice.Generator
	r.Latency, r.Outages, r.ByPartition, r.GapMs = slice.Latency(), slice.Outages, slice.ByPartition, float64(spec.gap())/1e6
	if slice.Interrupted && slice.Counts.AllAcked == 0 {
		return nil, errors.Join(errors.New("interrupted before anything was acknowledged"), s.Close())
	}
	e := slice.Evidence()
	checking := ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		checking, cancel = context.WithTimeout(context.WithoutCancel(ctx), checkAfterInterrupt)
		defer cancel()
	}
	e.Check, _ = s.Check(checking, ev.Checking) // what went wrong stands in the report
	r.Check = e.Check
	r.Conclude(e)
	return r, s.Close()
}

// checkAfterInterrupt bounds the check of a run that was interrupted.
const checkAfterInterrupt = 30 * time.Second
