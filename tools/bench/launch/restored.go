package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/pace"
	"ackline/profiles"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// outage is what the probes of a recovery see: before the kill what is normal, after it when that is so again. Without a rate
// for them in the workload there are none, and everything here does nothing.
type outage struct {
	*launch
	probes []*probe.Probe
	normal time.Duration // p99 before the kill
	seen   chan restored // one, from after
}

// restored is what the probe saw after the first acknowledgement.
type restored struct {
	at  time.Time // when p99 was what it had been; zero: not within the limit
	err error
}

func (o *outage) open(ctx context.Context, addr string) (*probe.Probe, error) {
	return o.openAs(ctx, probe.Plain, []string{addr})
}

func (o *outage) openAs(ctx context.Context, as probe.Client, brokers []string) (*probe.Probe, error) {
	w := o.Scenario.Workload
	p, err := probe.Open(ctx, probe.Config{Brokers: brokers, Client: as, Topic: topic, RecordBytes: w.RecordBytes, RatePerSecond: w.ProbeRatePerSecond, Timeout: w.Timeout(),
		RunID: o.sub(uint64(30 + len(o.probes)))})
	if err == nil {
		o.probes = append(o.probes, p)
	}
	return p, err
}

// before watches a broker that nothing else uses.
func (l *launch) before(ctx context.Context, addr string) (*outage, error) {
	o := &outage{launch: l, seen: make(chan restored, 1)}
	if l.Scenario.Workload.ProbeRatePerSecond == 0 {
		return o, nil
	}
	l.step("probing before the kill")
	p, err := o.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	start, samples, err := p.Run(ctx, profiles.ProbeBefore, nil)
	if err = errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	if o.normal = probe.Before(samples, start+profiles.ProbeIgnored.Nanoseconds()); o.normal == 0 {
		return nil, fmt.Errorf("the probe has no second of answers from before the kill: %d of %v are there", len(samples), profiles.ProbeBefore)
	}
	return o, nil
}

// acked is how many records the probes wrote.
func (o *outage) acked() (n int64) {
	for _, p := range o.probes {
		n += p.Acked()
	}
	return n
}

// after begins to watch the broker that is back; wait says what came of it.
func (o *outage) after(ctx context.Context, addr string) {
	if o.normal == 0 {
		return
	}
	o.step("probing until latencies are what they were")
	go func() { o.seen <- o.watch(ctx, addr) }()
}

func (o *outage) watch(ctx context.Context, addr string) (r restored) {
	p, err := o.open(ctx, addr)
	if err != nil {
		return restored{err: err}
	}
	limit := time.Duration(probe.Tolerance * float64(o.normal))
	from := 0
	look := func(start int64, s []probe.Sample) (found bool) {
		var at int64
		if at, from, found = probe.Restored(s, start, limit, from); found {
			r.at = time.Now().Add(time.Duration(at - pace.Now()))
		}
		return found
	}
	start, samples, err := p.Run(ctx, time.Duration(o.Scenario.Workload.ProbeLimitMs)*time.Millisecond, look)
	if r.at.IsZero() { // what was answered after the last look
		look(start, samples)
	}
	r.err = errors.Join(err, p.Close())
	return r
}

// wait waits for the watch's end, records what it saw, and returns how long after the start of the process latencies were
// restored, 0 when they were not.
func (o *outage) wait(broker *target.Broker) (since time.Duration, err error) {
	if o.normal == 0 {
		return 0, nil
	}
	r := <-o.seen
	if r.err != nil {
		return 0, errors.Join(r.err, broker.Err())
	}
	o.figure(record.System, "probe_us_p99_before_the_kill", "us", float64(o.normal.Nanoseconds())/1e3)
	if r.at.IsZero() {
		o.figure(record.System, "p99_restored", "1", 0)
		o.rec.Notes = append(o.rec.Notes, fmt.Sprintf("p99-restored is not of all launches: in launch %d no second within %d ms of the first acknowledgement had a p99 "+
			"within %.1f times of what it was before the kill", o.Number, o.Scenario.Workload.ProbeLimitMs, probe.Tolerance))
		return 0, nil
	}
	o.figure(record.System, "p99_restored", "1", 1)
	return r.at.Sub(broker.Began()), nil
}

// Verify reads back what the probes wrote, before the kill and after it.
func (o *outage) Verify(ctx context.Context) (*record.DataCheck, error) {
	sum := &record.DataCheck{OK: true}
	for _, p := range o.probes {
		r, err := p.Verify(ctx)
		if err != nil {
			return nil, err
		}
		sum = sum.Plus(record.Checked(r))
	}
	return sum, nil
}
