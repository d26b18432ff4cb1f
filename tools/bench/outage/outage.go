// Package outage watches a broker for as long as it is away: before the kill what is normal, after it when that is so again.
//
// A recovery, a failover and a catch-up all have probes that write meanwhile, and what these wrote has to be read back like everything
// else. So they belong to one owner, which opens them, waits for them and checks them.
package outage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/pace"
	"ackline/profiles"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/timeline"
)

// Config says where probes write, and who is told what.
type Config struct {
	Topic    string
	Workload profiles.Workload
	Launch   int      // its number
	Way      sock.Way // of the probes; nil: as addresses say
	// Connections of a tuned probe, as probe.Config has them.
	Connections int
	Sub         func(uint64) uint64 // derives a seed
	Step        func(format string, args ...any)
}

// Outage is the probes of one broker, or of one cluster. Without a rate for them in the workload there are none, and Before, After and
// Wait do nothing.
type Outage struct {
	Config
	probes []*probe.Probe
	normal time.Duration // p99 before the kill
	seen   chan restored // one, from After
	start  int64         // of the timeline; this and those that follow are CLOCK_MONOTONIC, ns
	killed int64         // or about to be
	began  int64         // the new process
	back   int64         // it had acknowledged a record
	before []probe.Sample
}

// restored is what the probe saw after the first acknowledgement.
type restored struct {
	at      time.Time // when p99 was what it had been; zero: not within the limit
	samples []probe.Sample
	err     error
}

// New is an outage that nobody has watched yet.
func New(c Config) *Outage { return &Outage{Config: c, seen: make(chan restored, 1)} }

// Open opens one more probe.
func (o *Outage) Open(ctx context.Context, as probe.Client, brokers []string) (*probe.Probe, error) {
	w := o.Workload
	p, err := probe.Open(ctx, probe.Config{Brokers: brokers, Client: as, Topic: o.Topic, RecordBytes: w.RecordBytes, RatePerSecond: w.ProbeRatePerSecond, Timeout: w.Timeout(),
		RunID: o.Sub(uint64(30 + len(o.probes))), Way: o.Way, Connections: o.Connections})
	if err == nil {
		o.probes = append(o.probes, p)
	}
	return p, err
}

// Before watches a broker that nothing else uses.
func (o *Outage) Before(ctx context.Context, addr string) error {
	if o.Workload.ProbeRatePerSecond == 0 {
		return nil
	}
	o.Step("probing before the kill")
	p, err := o.Open(ctx, probe.Plain, []string{addr})
	if err != nil {
		return err
	}
	start, samples, err := p.Run(ctx, profiles.ProbeBefore, nil)
	if err = errors.Join(err, p.Close()); err != nil {
		return err
	}
	o.start, o.killed, o.before = start, pace.Now(), samples
	if o.normal = probe.Before(samples, start+profiles.ProbeIgnored.Nanoseconds()); o.normal == 0 {
		return fmt.Errorf("the probe has no second of answers from before the kill: %d of %v are there", len(samples), profiles.ProbeBefore)
	}
	return nil
}

// Acked is how many records the probes wrote.
func (o *Outage) Acked() (n int64) {
	for _, p := range o.probes {
		n += p.Acked()
	}
	return n
}

// After begins to watch the broker that is back and has acknowledged a record; Wait says what came of it. began is when its process was started.
func (o *Outage) After(ctx context.Context, addr string, began time.Time) {
	if o.normal == 0 {
		return
	}
	o.began, o.back = monotonic(began), pace.Now()
	o.Step("probing until latencies are what they were")
	go func() { o.seen <- o.watch(ctx, addr) }()
}

func (o *Outage) watch(ctx context.Context, addr string) (r restored) {
	p, err := o.Open(ctx, probe.Plain, []string{addr})
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
	start, samples, err := p.Run(ctx, o.Workload.ProbeLimit(), look)
	r.samples = samples
	if r.at.IsZero() { // what was answered after the last look
		look(start, samples)
	}
	r.err = errors.Join(err, p.Close())
	return r
}

// Seen is what the watch found.
type Seen struct {
	Watched  bool          // there was a probe
	Normal   time.Duration // p99 before the kill
	Restored time.Time     // when it was like that again; zero: not within the limit
	Timeline *record.Timeline
}

// Wait waits for the watch's end.
func (o *Outage) Wait() (Seen, error) {
	if o.normal == 0 {
		return Seen{}, nil
	}
	r := <-o.seen
	return Seen{Watched: true, Normal: o.normal, Restored: r.at, Timeline: o.timeline(r)}, r.err
}

// monotonic is the moment by the clock of samples.
func monotonic(t time.Time) int64 { return pace.Now() - time.Since(t).Nanoseconds() }

// timeline puts both probes on one clock. Between them the broker is dead for as long as its launch likes, and then starts.
func (o *Outage) timeline(r restored) *record.Timeline {
	end := o.back // a look at the data may have gone on for longer than the probe
	if n := len(r.samples); n > 0 {
		end = r.samples[n-1].Intended + 1
	}
	events := []timeline.Event{{What: "killed, the cache is emptied", From: o.killed, To: o.began}, {What: "starts", From: o.began, To: o.back}}
	if !r.at.IsZero() {
		events = append(events, timeline.Event{What: "until the p99 is restored", From: o.back, To: max(o.back, monotonic(r.at))})
	}
	return timeline.Of(o.start, end, slices.Concat(o.before, r.samples), events...)
}

// Figures are what a record of the launch keeps of it.
func (s Seen) Figures() []record.Figure {
	if !s.Watched {
		return nil
	}
	back := 0.0
	if !s.Restored.IsZero() {
		back = 1
	}
	return []record.Figure{{Name: "probe_us_p99_before_the_kill", Unit: "us", Side: record.System, Value: float64(s.Normal.Nanoseconds()) / 1e3},
		{Name: "p99_restored", Unit: "1", Side: record.System, Value: back}}
}

// Missed says that latencies were not restored, "" when they were.
func (o *Outage) Missed(s Seen) string {
	if !s.Watched || !s.Restored.IsZero() {
		return ""
	}
	return fmt.Sprintf("p99-restored is not of all launches: in launch %d no second within %d ms of the first acknowledgement had a p99 "+
		"within %.1f times of what it was before the kill", o.Launch, o.Workload.ProbeLimitMs, probe.Tolerance)
}

// Verify reads back what the probes wrote, before the kill and after it.
func (o *Outage) Verify(ctx context.Context) (*record.DataCheck, error) {
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
