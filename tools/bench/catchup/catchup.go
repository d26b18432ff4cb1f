// Package catchup sees how soon a node that was away has again what the others wrote meanwhile, and what that costs users.
//
// Until then the cluster is one failure away from standing still, so the return should be fast; but the leader that sends the old
// records serves users from the same disk and the same CPUs, so it should not be felt either. A node that follows is killed, much is
// written without it, and while a probe writes at an even rate, as users would, the node is started. It has caught up when the
// leader lacks its word for no more than the probe has just written: a replica that follows under load is always a little behind.
//
// The clock starts with the process: finding the others and reading its own WAL are part of a node's way back.
package catchup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/pace"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/timeline"
)

// Nodes are what is away and comes back, numbered from 0.
type Nodes interface {
	Leader(ctx context.Context) (int, error) // of the partition that is written to
	Kill(i int)                              // returns when it is dead
	Start(ctx context.Context, i int) error  // returns when it listens
	Settle(ctx context.Context, but int) error
	Behind(ctx context.Context, i int) (entries int64, err error) // by what a node that leads knows
}

// Config says what to do.
type Config struct {
	Nodes Nodes
	Count int // of nodes; not with Away
	// Away says which node goes away while lead leads. nil: the one after it.
	Away  func(lead int) int
	Probe *probe.Probe
	// Write writes what the node will lack and returns the bytes of its records.
	Write func(ctx context.Context) (int64, error)
	Quiet time.Duration // how long the probe runs before the node is killed
	Limit time.Duration // how long the node may take
	// Near is how many entries a node may lack that has caught up.
	Near int64
	Step func(format string, args ...any)
}

// Result is what was seen.
type Result struct {
	Bytes  int64         // of records that the node lacked
	Listen time.Duration // from the start of its process until it listened
	Took   time.Duration // and until it had caught up
	Behind int64         // entries that it lacked when it listened
	Before time.Duration // p99 of the probe, with all nodes there
	During time.Duration // and while the node caught up
	Failed int           // records of the probe that were never acknowledged
	Moved  bool          // somebody else led in the end
	// Timeline has nothing between the two runs of the probe, while what the node will lack is written.
	Timeline *record.Timeline
}

// poll is how often the leader is asked how far the node is.
const poll = 10 * time.Millisecond

// Run does it once. An error means that there is no result.
func Run(ctx context.Context, c Config) (*Result, error) {
	lead, err := c.Nodes.Leader(ctx)
	if err != nil {
		return nil, err
	}
	c.Step("probing with all nodes there")
	start, usual, err := c.Probe.Run(ctx, c.Quiet, nil)
	if err != nil {
		return nil, err
	}
	r := &Result{Before: probe.P99(usual, start, start+c.Quiet.Nanoseconds()), Failed: probe.Failed(usual)}
	var away int
	if c.Away != nil {
		away = c.Away(lead)
	} else {
		away = (lead + 1) % c.Count
	}
	killed := pace.Now()
	c.Nodes.Kill(away)
	if r.Bytes, err = c.Write(ctx); err != nil {
		return nil, err
	}
	if err := c.Nodes.Settle(ctx, away); err != nil { // what the others still owe the disk is not part of it
		return nil, err
	}
	back, err := c.comeBack(ctx, r, lead, away)
	if err != nil {
		return nil, err
	}
	r.Timeline = timeline.Of(start, pace.Now(), slices.Concat(usual, back.samples),
		timeline.Event{What: fmt.Sprintf("node %d is away", away+1), From: killed, To: back.from},
		timeline.Event{What: fmt.Sprintf("node %d catches up", away+1), From: back.from, To: back.to})
	end, err := c.Nodes.Leader(ctx)
	r.Moved = end != lead
	return r, err
}

// comingBack is what the probe saw of a node's return: when its process was started, and when it had caught up.
type comingBack struct {
	samples  []probe.Sample
	from, to int64
}

// comeBack starts the node under load.
func (c *Config) comeBack(ctx context.Context, r *Result, lead, away int) (b comingBack, err error) {
	c.Step("node %d returns to %d MiB that it lacks", away+1, r.Bytes>>20)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		_, b.samples, err = c.Probe.Run(ctx, c.Limit+runUp, func(int64, []probe.Sample) bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		})
		if err != nil {
			cancel(err)
		}
		ended <- err
	}()
	b.from, b.to, err = c.follow(ctx, r, lead, away)
	if err != nil {
		cancel(err)
	}
	close(stop)
	if e := <-ended; !errors.Is(err, e) && !errors.Is(e, err) { // else one of them is why the other ended
		err = errors.Join(err, e)
	}
	if err != nil {
		return b, err
	}
	r.During, r.Failed = probe.P99(b.samples, b.from, b.to), r.Failed+probe.Failed(b.samples)
	return b, nil
}

// runUp is how long the probe runs before the node is started.
const runUp = 500 * time.Millisecond

// follow starts the node and returns when that was and when it had caught up.
func (c *Config) follow(ctx context.Context, r *Result, lead, away int) (from, to int64, err error) {
	if err := sleep(ctx, runUp); err != nil {
		return 0, 0, err
	}
	from = pace.Now()
	if err := c.Nodes.Start(ctx, away); err != nil {
		return 0, 0, err
	}
	r.Listen = time.Duration(pace.Now() - from)
	for {
		n, err := c.Nodes.Behind(ctx, lead)
		to = pace.Now()
		r.Took = time.Duration(to - from)
		r.Behind = max(r.Behind, n)
		switch {
		case err != nil:
			return 0, 0, err
		case n <= c.Near:
			return from, to, nil
		case r.Took > c.Limit:
			return 0, 0, fmt.Errorf("after %v node %d still lacks %d entries of %d", c.Limit, away+1, n, r.Behind)
		}
		if err := sleep(ctx, poll); err != nil {
			return 0, 0, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Rate is what came to the node per second, in bytes, until it had caught up.
func (r *Result) Rate() float64 { return float64(r.Bytes) / r.Took.Seconds() }

// Figures are what a record of the launch keeps.
func (r *Result) Figures() []record.Figure {
	return []record.Figure{
		{Name: "catch_up_bytes_per_second", Unit: "bytes/s", Value: r.Rate()},
		{Name: "catch_up_ms", Unit: "ms", Value: float64(r.Took) / 1e6},
		{Name: "node_listens_ms", Unit: "ms", Value: float64(r.Listen) / 1e6},
		{Name: "entries_behind", Unit: "1", Value: float64(r.Behind)},
		{Name: "users_us_p99_before", Unit: "us", Value: float64(r.Before) / 1e3},
		{Name: "users_us_p99_during", Unit: "us", Value: float64(r.During) / 1e3},
		{Name: record.UsersP99, Unit: "1", Value: float64(r.During) / float64(r.Before)},
		{Name: "records_unacknowledged", Unit: "1", Value: float64(r.Failed)},
	}
}
