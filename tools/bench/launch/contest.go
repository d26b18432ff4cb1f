package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
	"ackline/tools/bench/warm"
)

// load is an open way to put one side under a workload's load. Connections stay open from slice to slice.
type load interface {
	Slice(ctx context.Context, s session.Stretch) (session.Sample, error)
	ReplyBytes() int
	Close() error
}

type side = record.Side

// contest is two sides taking turns.
type contest struct {
	*launch
	loads  map[side]load
	alive  map[side]interface{ Err() error } // the process of each side
	settle func(context.Context) error       // makes the system write what it owes the disk
	lead   int                               // the node that leads the first partition

	followers []string // where those of the floor listen; none with one node
	floorless bool     // there is nothing to compare with
	meter     meter.Meter
	slices    []record.Slice
	sets      map[side]*hist.Set // of the cycles that count
	endToEnd  *hist.Hist         // of the same; empty without a consumer
	delivery  *hist.Hist         // of the same
	logs      map[side][]interval
	all       map[side]int64 // acknowledged in all slices, discarded parts included
}

// interval is one slice's histograms, for the .hlog.
type interval struct {
	start, end time.Time
	set        *hist.Set
}

// order is a cycle: A B B A, so that a steady drift hits both sides alike.
var order = [4]side{record.System, record.Floor, record.Floor, record.System}

// opponent is what the system is compared with: a floor that makes everything durable, or the bare echo.
type opponent struct {
	durable bool
	log     string
	open    func(ctx context.Context, c *launch, addr string) (*session.Session, error)
}

// compete warms the system up, starts its opponent beside it, warms that up too and then lets measure do the rest.
func (l *launch) compete(ctx context.Context, broker *target.Brokers, system load, against opponent, measure func(context.Context, *contest) error) (err error) {
	c, err := l.newContest(ctx, broker, system)
	if err != nil {
		return err
	}
	if err := c.warmUp(ctx, record.System); err != nil {
		return err
	}
	floor, err := l.startFloor(ctx, against.durable, system.ReplyBytes(), against.log)
	if err != nil {
		return err
	}
	if floor == nil {
		c.floorless = true
		return c.alone(ctx, broker, measure)
	}
	defer func() { err = errors.Join(err, floor.Stop(target.StopTimeout)) }()
	other, err := against.open(ctx, l, floor.Addr)
	if err != nil {
		return err
	}
	defer other.Close()
	c.loads[record.Floor], c.alive[record.Floor], c.meter.PIDs[record.Floor] = other, floor, floor.PIDs()
	c.followers = floor.FollowerAddrs()
	if err := c.warmUp(ctx, record.Floor); err != nil {
		return err
	}
	c.compareAnswers()
	return c.alone(ctx, broker, measure)
}

// alone is compete from where all that takes part is warm.
func (c *contest) alone(ctx context.Context, broker *target.Brokers, measure func(context.Context, *contest) error) error {
	if err := measure(ctx, c); err != nil {
		return err
	}
	return c.stayed(ctx, broker)
}

// has says that a side takes part: the floor does unless there is none.
func (c *contest) has(s side) bool { return s == record.System || !c.floorless }

// sides are those that take part.
func (c *contest) sides() (out []side) {
	for _, s := range []side{record.System, record.Floor} {
		if c.has(s) {
			out = append(out, s)
		}
	}
	return out
}

// newContest is a contest with one side.
func (l *launch) newContest(ctx context.Context, broker *target.Brokers, system load) (*contest, error) {
	lead, err := l.leads(ctx, broker)
	if err != nil {
		return nil, err
	}
	return &contest{launch: l, settle: l.settle(broker), loads: map[side]load{record.System: system},
		alive: map[side]interface{ Err() error }{record.System: broker},
		lead:  lead, meter: meter.Meter{Device: l.Device, PIDs: map[side][]int{record.System: broker.PIDs(l.first(lead))}},
		sets: map[side]*hist.Set{record.System: hist.NewSet(), record.Floor: hist.NewSet()}, endToEnd: hist.NewLatency(), delivery: hist.NewDelay(),
		logs: map[side][]interval{}, all: map[side]int64{}}, nil
}

// withBrokers runs something beside the topology's fresh brokers, which are stopped afterwards.
func (l *launch) withBrokers(ctx context.Context, do func(*target.Brokers) error) (err error) {
	l.step("starting the broker")
	broker, err := l.startBrokers(ctx, "broker.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Stop(target.StopTimeout)) }()
	return do(broker)
}

// warmUp runs a side until its medians stand still.
func (c *contest) warmUp(ctx context.Context, s side) error {
	c.step("warming up the %s", s)
	window, limit := c.Suite.WarmWindowOf(c.Scenario), time.Duration(c.Suite.WarmLimitMs)*time.Millisecond
	before, err := proc.ReadCPU("/proc")
	if err != nil {
		return err
	}
	n := uint64(0)
	reason, err := warm.Up(ctx, window, limit, func(ctx context.Context, w time.Duration) (float64, error) {
		n++
		smp, err := c.loads[s].Slice(ctx, session.Stretch{Length: w, Seed: c.sub(1000 + n)})
		if err != nil {
			return 0, err
		}
		return smp.P50us(), nil
	})
	after, readErr := proc.ReadCPU("/proc")
	if reason != "" && readErr == nil && after.Sub(before).StolenFraction() > record.StolenWorthTelling {
		c.InvalidByHost("the %s %s", s, reason)
	} else if reason != "" {
		c.Invalid("the %s %s", s, reason)
	}
	if err == nil && (s == record.System || c.meter.Twin) {
		err = c.settle(ctx)
	}
	return c.explain(s, err)
}

// explain adds to an error what the process of that side said if it has ended.
func (c *contest) explain(s side, err error) error {
	if p := c.alive[s]; err != nil && p != nil {
		return errors.Join(err, p.Err())
	}
	return err
}

// run lets the sides take turns.
func (c *contest) run(ctx context.Context) error {
	s := session.Stretch{Length: time.Duration(c.Scenario.SliceMs) * time.Millisecond, Discard: time.Duration(c.Suite.DiscardMs) * time.Millisecond}
	if c.Scenario.Workload.Throughput() {
		s.Discard = 0 // the drain pays for all that was written, so all of it counts
	}
	return sum.Cycles(c.Scenario.Cycles, func(cycle int, again bool) (host bool, err error) {
		first, counts := len(c.slices), false
		var samples []session.Sample
		var took []side
		for i, who := range order {
			if !c.has(who) {
				continue
			}
			n := cycle*len(order) + i
			c.step("slice %d of %d%s: %s", n+1, max(c.Scenario.Cycles, cycle+1)*len(order), sum.Repeated(again), who)
			s.Seed = c.sub(uint64(n / 2)) // neighbours share their arrivals: A B, then B A
			smp, err := c.turn(ctx, n, who, s)
			if err != nil {
				return false, c.explain(who, err)
			}
			samples, took = append(samples, smp), append(took, who)
		}
		if counts, host = sum.Spoil(c.slices[first:]); !counts {
			return host, nil
		}
		for i, smp := range samples {
			c.sets[took[i]].Merge(smp.Hist)
			if smp.EndToEnd != nil {
				c.endToEnd.Merge(smp.EndToEnd)
				c.delivery.Merge(smp.Delivery)
			}
		}
		return false, nil
	})
}

// turn runs one slice between two readings of all counters. The slice ends when its side owes the disk nothing: the system
// is asked to write its segments and a checkpoint, the floor has made everything durable before it answered.
func (c *contest) turn(ctx context.Context, n int, s side, what session.Stretch) (session.Sample, error) {
	before, err := c.meter.Take(s)
	if err != nil {
		return session.Sample{}, err
	}
	smp, err := c.loads[s].Slice(ctx, what)
	if err != nil {
		return smp, err
	}
	end := time.Now()
	if s == record.System || c.meter.Twin {
		if err := c.settle(ctx); err != nil {
			return smp, err
		}
	}
	// From the end of the arrivals on, on either side: the answers that were still due, the client's own sums (a few ms in
	// which a broker goes on flushing) and the settling.
	smp.Drain = time.Duration(pace.Now() - smp.EndedNS)
	smp.Rated = smp.Counted
	if n := c.Scenario.Workload.Partitions; n > 1 {
		smp.Files = int64(n * c.topology().Nodes)
	}
	if c.Scenario.Workload.Throughput() {
		smp.Rated += smp.Drain
	}
	after, err := c.meter.Take(s)
	if err != nil {
		return smp, err
	}
	c.slices = append(c.slices, session.Judge(n, s, c.began, smp, before, after, c.meter.Device != ""))
	c.all[s] += smp.All
	c.logs[s] = append(c.logs[s], interval{start: end.Add(-smp.Counted), end: end, set: smp.Hist})
	return smp, nil
}

// conclude fills the record from the slices.
func (c *contest) conclude() error {
	c.Rec.Slices = c.slices
	c.Rec.Pairs = sum.Pairs(c.slices, c.sets, c.endToEnd, c.Scenario.Workload.GatedPairs)
	c.Rec.Figures = append(c.Rec.Figures, sum.Figures(c.slices)...)
	if c.floorless {
		c.Rec.Figures = append(c.Rec.Figures, sum.Alone(c.slices, c.sets[record.System], c.endToEnd)...)
	}
	good := 0
	for _, sl := range c.slices {
		if sl.Verdict == record.OK {
			good++
			if sl.Side == record.System {
				c.Rec.Requests += sl.Requests
			}
		}
	}
	if good == 0 && len(c.slices) > 0 {
		bad, host := sum.FirstBad(c.slices)
		tell := c.Invalid
		if host {
			tell = c.InvalidByHost
		}
		tell("no cycle of slices is valid; slice %d: %s", bad.Number, bad.Reasons[0])
	}
	c.consumed()
	for _, s := range c.sides() {
		set := c.sets[s]
		if good == 0 { // for diagnosis
			for _, i := range c.logs[s] {
				set.Merge(i.set)
			}
		}
		for _, h := range []struct {
			name string
			h    *hist.Hist
		}{{"response", set.Response}, {"service", set.Service}, {"lag", set.Lag}, {"backlog", set.Backlog}} {
			c.Rec.Histograms = append(c.Rec.Histograms, record.Histogram{Side: s, Name: h.name, Hist: h.h})
		}
		if n := set.Response.Failed(); n > 0 {
			c.Invalid("%d operations of the %s failed", n, s)
		}
		if n := set.OutOfRange(); n > 0 {
			c.Invalid("%d latencies of the %s are outside of what a histogram holds", n, s)
		}
		if err := c.writeLog(s); err != nil {
			return err
		}
	}
	return nil
}

// consumed records what the consumer saw, beside the pairs: from the producer's answer until the record was in hand.
func (c *contest) consumed() {
	if c.endToEnd.Total() == 0 {
		return
	}
	if n := c.endToEnd.OutOfRange() + c.delivery.OutOfRange(); n > 0 {
		c.Invalid("%d end-to-end latencies are outside of what a histogram holds", n)
	}
	for _, p := range []float64{50, 99} {
		if c.delivery.Supports(p) {
			c.Figure(record.System, fmt.Sprintf("delivery_us_p%g", p), "us", float64(c.delivery.Percentile(p, hist.HighestNS).NS)/1e3)
		}
	}
	c.Rec.Histograms = append(c.Rec.Histograms, record.Histogram{Side: record.System, Name: "end-to-end", Hist: c.endToEnd})
}

// writeLog writes a side's histograms as an HdrHistogram log with one interval per slice.
func (c *contest) writeLog(s side) error {
	f, err := os.Create(c.path(string(s) + ".hlog"))
	if err != nil {
		return err
	}
	defer f.Close()
	log, err := hist.NewLog(f, c.began, fmt.Sprintf("%s, launch %d, %s, seed %d", c.Scenario.Name, c.Number, s, c.Seed))
	if err != nil {
		return err
	}
	for _, i := range c.logs[s] {
		if err := log.Interval(i.start, i.end, i.set); err != nil {
			return err
		}
	}
	return nil
}
