package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/consume"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/tools/version"
)

// Backlog is what lies in a topic before it is drained.
type Backlog struct {
	// Records is how many are written first, or a few more: what is in flight when they are there is written, too. Must be above 0.
	Records int64 `json:"records"`
	// Consumers is how many threads drain them; each takes its share of the partitions, one after the other. 0 means one per partition.
	Consumers int `json:"consumers"`
}

// Validate says what is wrong with b.
func (b Backlog) Validate() error {
	if b.Records < 1 {
		return fmt.Errorf("a backlog of %d records: want 1 or more", b.Records)
	}
	if b.Consumers < 0 || b.Consumers > 1024 {
		return fmt.Errorf("consumers %d: want 0 (one per partition) to 1024", b.Consumers)
	}
	return nil
}

// fillLimit bounds the writing of a backlog.
const fillLimit = 24 * time.Hour

// Drain writes a backlog as fast as it goes, consumes it as fast as it goes, and then checks it record by record. Only the consuming is a result. The
// error says that there is nothing to judge.
func Drain(ctx context.Context, cfg Config, backlog Backlog, ev Events) (*result.Result, error) {
	err := errors.Join(cfg.Validate(), backlog.Validate())
	if c := cfg.normal(); c.Floor != "" || c.Workload != Produce || c.EndToEnd || c.Consumers > 0 || !c.answered() {
		err = errors.Join(err, errors.New("a drain writes to brokers, with acks 1 or all and without a consumer beside it: no floor, fetch or end to end"))
	}
	if err != nil {
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
			Config  Config  `json:"config"`
			Backlog Backlog `json:"backlog"`
		}{s.Config(), backlog}}
	r.Target.Workload = "drain"
	per := int64(max(s.effective.RecordsPerRequest, 1))
	spec := Spec{Arrivals: pace.Spec{Kind: pace.Closed}, For: fillLimit, Count: (backlog.Records + per - 1) / per}
	fill, err := s.Slice(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if fill.Interrupted {
		return nil, errors.Join(errors.New("interrupted before the backlog was written"), s.Close())
	}
	r.Effective, r.Counts, r.Generator = s.Effective(), fill.Counts, fill.Generator
	if r.Drain, err = consume.Drain(ctx, s.cl, s.topic, s.start, backlog.Consumers); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	e := result.Evidence{Set: fill.Set, Ended: fill.Ended, Unanswered: true} // the latencies of the filling are not judged
	if e.Ended == "" && !r.Drain.Complete() {
		e.Ended = fmt.Sprintf("%d of %d records were consumed: %s", r.Drain.Records, r.Drain.Backlog, r.Drain.Error)
	}
	e.Check, _ = s.Check(ctx, ev.Checking) // what went wrong stands in the report
	r.Check, r.Verdict = e.Check, result.Judge(e)
	if r.Verdict.Status == result.Failed {
		r.Drain = nil // nor has a drain of data that is not intact a rate
	}
	return r, s.Close()
}
