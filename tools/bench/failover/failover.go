// Package failover makes the node that leads go away, again and again, and sees for how long nobody can write.
//
// What users feel of a node's death is neither the time-out of an election nor the answer to any single request: it is the
// stretch in which no write is acknowledged, for their client, with its back-off and its way of finding the new leader. So probes
// write to one partition at an even rate all the time, and an incident's gap is the longest stretch without an acknowledgement
// between it and the next one. What comes later counts too: a node that returns and disturbs, a leadership that moves back.
//
// Whoever leads is hit, so every node has its turn. Moments are drawn from a seed, and between two incidents all nodes are back:
// what is measured is one failure at a time. What a run acknowledged is read back by its caller.
package failover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ackline/loadgen/pace"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/timeline"
)

// Nodes are what incidents happen to, numbered from 0.
type Nodes interface {
	Leader(ctx context.Context) (int, error)     // of the partition that the probes write to
	Led(ctx context.Context, i int) (int, error) // how many partitions a node leads
	Kill(i int)                                  // returns when it is dead
	Stop(i int) error                            // asks it to end; returns when it has
	// Harm does to a node what leaves its process running, and returns what undoes it.
	Harm(s record.IncidentSort, i int) (undo func() error, err error)
	Start(ctx context.Context, i int) error // after Kill and Stop
	Await(ctx context.Context, i int) error // until it does what clients ask
}

// Config says what to do how often.
type Config struct {
	Nodes   Nodes
	Tuned   *probe.Probe
	Library *probe.Probe // nil: no client beside the tuned one
	Counts  map[record.IncidentSort]int
	// Whom says which node an incident happens to while lead leads. nil: to that one.
	Whom func(s record.IncidentSort, lead int) int
	// PauseFor is how long a node is paused, cut off or slow.
	PauseFor time.Duration
	// Limit is how long writes may stay away before the run is given up.
	Limit time.Duration
	// Quiet is how long the probes run before the first incident.
	Quiet time.Duration
	// Apart is how long all clients write again, at least, before the next incident. A library that has just looked for a leader
	// does not look again so soon: with less the gap of an incident is the last one's.
	Apart time.Duration
	// Rest is how long all is left alone after an incident, on average: from half of it to half more, drawn evenly.
	Rest time.Duration
	Seed uint64
	Step func(format string, args ...any)
}

// Result is what was seen.
type Result struct {
	Incidents []record.Incident
	Usual     time.Duration // the longest stretch without an acknowledgement before the first incident
	Failed    int           // records of the tuned client that were never acknowledged
	Timeline  *record.Timeline
}

// LibraryApart is Config.Apart with a Library: a little more than franz-go with its defaults lets pass between two requests for metadata.
const LibraryApart = 5500 * time.Millisecond

// poll is how often it is looked whether writes are acknowledged again.
const poll = 2 * time.Millisecond

// perIncident bounds what an incident takes on average, for the memory of samples.
const perIncident = 15 * time.Second

// watcher is a probe that runs.
type watcher struct {
	probe   *probe.Probe
	samples []probe.Sample
	done    chan error
}

type run struct {
	Config
	rng      *rand.Rand
	watchers []*watcher
	times    []int64 // when each incident began, and the end
	backs    []int64 // when each incident's node served again
	out      []record.Incident
	stop     chan struct{}
}

// Run runs all incidents. An error means that there is no result.
func Run(ctx context.Context, c Config) (*Result, error) {
	r := &run{Config: c, rng: rand.New(rand.NewPCG(c.Seed, 0)), stop: make(chan struct{})}
	sorts := r.order()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := c.Quiet + time.Duration(len(sorts)+1)*perIncident
	for _, p := range []*probe.Probe{c.Tuned, c.Library} {
		if p != nil {
			r.watchers = append(r.watchers, r.watch(ctx, cancel, p, limit))
		}
	}
	began := pace.Now()
	err := r.all(ctx, sorts)
	r.times = append(r.times, pace.Now())
	if err != nil {
		cancel(err)
	}
	close(r.stop)
	for _, w := range r.watchers {
		if e := <-w.done; !errors.Is(err, e) && !errors.Is(e, err) { // else one of them is why the other ended
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return nil, err
	}
	return r.result(began), nil
}

// order is all incidents, shuffled.
func (r *run) order() []record.IncidentSort {
	var out []record.IncidentSort
	for _, s := range record.IncidentSorts {
		for range r.Counts[s] {
			out = append(out, s)
		}
	}
	r.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// watch runs a probe until the run stops. A probe that cannot go on ends the run.
func (r *run) watch(ctx context.Context, cancel context.CancelCauseFunc, p *probe.Probe, limit time.Duration) *watcher {
	w := &watcher{probe: p, done: make(chan error, 1)}
	go func() {
		var err error
		_, w.samples, err = p.Run(ctx, limit, func(int64, []probe.Sample) bool {
			select {
			case <-r.stop:
				return true
			default:
				return false
			}
		})
		if err != nil {
			cancel(err)
		}
		w.done <- err
	}()
	return w
}

// all runs the incidents.
func (r *run) all(ctx context.Context, sorts []record.IncidentSort) error {
	if err := r.acknowledged(ctx, pace.Now(), r.watchers); err != nil {
		return err
	}
	if err := sleep(ctx, r.Quiet); err != nil {
		return err
	}
	for i, s := range sorts {
		if err := r.incident(ctx, i, len(sorts), s); err != nil {
			return fmt.Errorf("incident %d of %d, %s: %w", i+1, len(sorts), s, err)
		}
	}
	return nil
}

// incident makes the node that leads go away, and returns a while after all is as it was.
func (r *run) incident(ctx context.Context, i, total int, s record.IncidentSort) error {
	node, err := r.Nodes.Leader(ctx)
	if err != nil {
		return err
	}
	if r.Whom != nil {
		node = r.Whom(s, node)
	}
	led, err := r.Nodes.Led(ctx, node)
	if err != nil {
		return err
	}
	r.Step("incident %d of %d: %s of node %d, which leads %d partitions", i+1, total, s, node+1, led)
	began := pace.Now()
	r.times = append(r.times, began)
	if err := r.away(ctx, node, s); err != nil {
		return err
	}
	back := pace.Now()
	if s == record.Kill || s == record.Stop {
		if err := r.Nodes.Start(ctx, node); err != nil {
			return err
		}
	}
	if err := r.Nodes.Await(ctx, node); err != nil {
		return err
	}
	r.backs = append(r.backs, pace.Now())
	r.out = append(r.out, record.Incident{Sort: s, Node: node + 1, Led: led, BackMs: float64(r.backs[i]-began) / 1e6})
	if err := sleep(ctx, r.Apart-time.Duration(pace.Now()-back)); err != nil {
		return err
	}
	return sleep(ctx, r.Rest/2+time.Duration(r.rng.Int64N(int64(r.Rest)+1)))
}

// away makes a node go away and returns when others have taken over, and when what leaves its process running is undone.
func (r *run) away(ctx context.Context, node int, s record.IncidentSort) error {
	switch s {
	case record.Kill:
		r.Nodes.Kill(node)
	case record.Stop:
		if err := r.Nodes.Stop(node); err != nil {
			return err
		}
	default:
		undo, err := r.Nodes.Harm(s, node)
		if err != nil {
			return err
		}
		// The client as people use it waits for such a node's answer longer than this takes: that is its gap.
		err = errors.Join(r.acknowledged(ctx, pace.Now(), r.watchers[:1]), sleep(ctx, r.PauseFor))
		if err = errors.Join(err, undo()); err != nil { // whatever happens: a paused process cannot be asked to end
			return err
		}
	}
	return r.acknowledged(ctx, pace.Now(), r.watchers)
}

// acknowledged waits until these probes have had a record acknowledged that was sent after a moment: by somebody who was there then.
func (r *run) acknowledged(ctx context.Context, after int64, watchers []*watcher) error {
	deadline := time.Now().Add(r.Limit)
	for _, w := range watchers {
		for w.probe.LastSent() <= after {
			if time.Now().After(deadline) {
				return fmt.Errorf("nothing was acknowledged for %v", r.Limit)
			}
			if err := sleep(ctx, poll); err != nil {
				return err
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// result finds the gaps.
func (r *run) result(began int64) *Result {
	tuned := probe.Acknowledged(r.watchers[0].samples)
	first := began
	if len(tuned) > 0 {
		first = tuned[0]
	}
	out := &Result{Usual: probe.Gap(tuned, first, r.times[0]), Failed: probe.Failed(r.watchers[0].samples)}
	var events []timeline.Event
	for i := range r.out {
		events = append(events, timeline.Event{What: fmt.Sprintf("%s of node %d", r.out[i].Sort, r.out[i].Node), From: r.times[i], To: r.backs[i]})
		from, to := r.times[i], r.times[i+1]
		r.out[i].GapMs = float64(probe.Gap(tuned, from, to)) / 1e6
		if r.Library != nil {
			r.out[i].LibraryGapMs = float64(probe.Gap(probe.Acknowledged(r.watchers[1].samples), from, to)) / 1e6
		}
	}
	out.Incidents = r.out
	out.Timeline = timeline.Of(began, r.times[len(r.times)-1], r.watchers[0].samples, events...)
	return out
}
