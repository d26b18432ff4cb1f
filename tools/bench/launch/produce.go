package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ackline/loadgen/hist"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// load is an open way to put one side under a workload's load. Connections stay open from slice to slice.
type load interface {
	// slice runs the load for a length of time, of which the beginning is not counted. Two slices with one seed have the same
	// arrivals.
	slice(ctx context.Context, length, discard time.Duration, seed uint64) (sample, error)
	replyBytes() int
	close() error
}

// contest is two sides taking turns.
type contest struct {
	*launch
	loads  map[side]load
	alive  map[side]interface{ Err() error } // the process of each side
	settle func(context.Context) error       // makes the system write what it owes the disk
	meter  meter
	slices []record.Slice
	sets   map[side]*hist.Set // of the cycles that count
	logs   map[side][]interval
	all    map[side]int64 // acknowledged in all slices, discarded parts included
}

// interval is one slice's histograms, for the .hlog.
type interval struct {
	start, end time.Time
	set        *hist.Set
}

// order is a cycle: A B B A, so that a steady drift hits both sides alike.
var order = [4]side{record.System, record.Floor, record.Floor, record.System}

// warmUp runs a side until its medians stand still.
func (c *contest) warmUp(ctx context.Context, s side) error {
	c.step("warming up the %s", s)
	window, limit := time.Duration(c.Suite.WarmWindowMs)*time.Millisecond, time.Duration(c.Suite.WarmLimitMs)*time.Millisecond
	n := uint64(0)
	reason, err := warm(ctx, window, limit, func(ctx context.Context, w time.Duration) (float64, error) {
		n++
		smp, err := c.loads[s].slice(ctx, w, 0, c.sub(1000+n))
		if err != nil {
			return 0, err
		}
		return smp.p50us(), nil
	})
	if reason != "" {
		c.invalid("the %s %s", s, reason)
	}
	if err == nil && s == record.System {
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
	length, discard := time.Duration(c.Scenario.SliceMs)*time.Millisecond, time.Duration(c.Suite.DiscardMs)*time.Millisecond
	c.sets, c.logs, c.all = map[side]*hist.Set{record.System: hist.NewSet(), record.Floor: hist.NewSet()}, map[side][]interval{}, map[side]int64{}
	for cycle := range c.Scenario.Cycles {
		first := len(c.slices)
		var samples []sample
		for i, s := range order {
			n := cycle*len(order) + i
			c.step("slice %d of %d: %s", n+1, c.Scenario.Cycles*len(order), s)
			// Neighbours share their arrivals: A B, then B A.
			smp, err := c.turn(ctx, n, s, length, discard, c.sub(uint64(n/2)))
			if err != nil {
				return c.explain(s, err)
			}
			samples = append(samples, smp)
		}
		if !spoilCycle(c.slices[first:]) {
			continue
		}
		for i, smp := range samples {
			c.sets[order[i]].Merge(smp.hist)
		}
	}
	return nil
}

// turn runs one slice between two readings of all counters.
func (c *contest) turn(ctx context.Context, n int, s side, length, discard time.Duration, seed uint64) (sample, error) {
	before, err := c.meter.take(s)
	if err != nil {
		return sample{}, err
	}
	smp, err := c.loads[s].slice(ctx, length, discard, seed)
	if err != nil {
		return smp, err
	}
	end := time.Now()
	if s == record.System {
		if err := c.settle(ctx); err != nil {
			return smp, err
		}
	}
	after, err := c.meter.take(s)
	if err != nil {
		return smp, err
	}
	c.slices = append(c.slices, judge(n, s, c.began, smp, before, after, c.meter.device != ""))
	c.all[s] += smp.all
	c.logs[s] = append(c.logs[s], interval{start: end.Add(-smp.counted), end: end, set: smp.hist})
	return smp, nil
}

// spoilCycle says whether a cycle counts. One bad slice spoils its cycle: without it the rest is no longer balanced
// against drift.
func spoilCycle(cycle []record.Slice) bool {
	bad := -1
	for _, sl := range cycle {
		if sl.Verdict != record.OK {
			bad = sl.Number
		}
	}
	if bad < 0 {
		return true
	}
	for i := range cycle {
		if cycle[i].Verdict == record.OK {
			cycle[i].Verdict = record.Invalid
			cycle[i].Reasons = append(cycle[i].Reasons, fmt.Sprintf("slice %d of its cycle is invalid", bad))
		}
	}
	return false
}

// conclude fills the record from the slices.
func (c *contest) conclude() error {
	c.rec.Slices = c.slices
	c.rec.Pairs = pairs(c.slices, c.sets, c.Scenario.Workload.GatedPairs)
	c.rec.Figures = append(c.rec.Figures, figures(c.slices)...)
	good := 0
	for _, sl := range c.slices {
		if sl.Verdict == record.OK {
			good++
			if sl.Side == record.System {
				c.rec.Requests += sl.Requests
			}
		}
	}
	if good == 0 && len(c.slices) > 0 {
		c.invalid("no cycle of slices is valid; slice %d: %s", firstBad(c.slices).Number, firstBad(c.slices).Reasons[0])
	}
	for _, s := range []side{record.System, record.Floor} {
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
			c.rec.Histograms = append(c.rec.Histograms, record.Histogram{Side: s, Name: h.name, Hist: h.h})
		}
		if n := set.Response.Failed(); n > 0 {
			c.invalid("%d operations of the %s failed", n, s)
		}
		if n := set.OutOfRange(); n > 0 {
			c.invalid("%d latencies of the %s are outside of what a histogram holds", n, s)
		}
		if err := c.writeLog(s); err != nil {
			return err
		}
	}
	return nil
}

// firstBad is the first slice that is invalid for a reason of its own.
func firstBad(slices []record.Slice) record.Slice {
	for _, sl := range slices {
		if sl.Verdict != record.OK {
			return sl
		}
	}
	panic(fmt.Sprintf("launch: %d slices, none of them invalid", len(slices)))
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

// produce measures writes: the broker beside the durable echo.
func (l *launch) produce(ctx context.Context) (err error) {
	w := l.Scenario.Workload
	l.step("starting the broker")
	broker, err := l.startBroker(ctx, "broker.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Stop(target.StopTimeout)) }()
	system, err := openProduce(ctx, w, broker.Addr, l.sub(1))
	if err != nil {
		return err
	}
	defer system.close()
	rest, err := proc.Read("/proc", broker.PID())
	if err != nil {
		return err
	}
	l.figure(record.System, "resident_bytes_at_rest", "bytes", float64(rest.ResidentBytes))
	c := &contest{launch: l, settle: broker.Checkpoint, loads: map[side]load{record.System: system},
		alive: map[side]interface{ Err() error }{record.System: broker},
		meter: meter{device: l.Device, pid: map[side]int{record.System: broker.PID()}}}
	if err := c.warmUp(ctx, record.System); err != nil {
		return err
	}
	floor, err := l.startFloor(ctx, true, system.replyBytes(), "floor.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.Stop(target.StopTimeout)) }()
	if c.loads[record.Floor], err = openFloor(ctx, w, floor.Addr, l.sub(2)); err != nil {
		return err
	}
	defer c.loads[record.Floor].close()
	c.alive[record.Floor], c.meter.pid[record.Floor] = floor, floor.PID()
	if err := c.warmUp(ctx, record.Floor); err != nil {
		return err
	}
	if err := c.measureProduce(ctx, broker); err != nil {
		return err
	}
	return l.check(ctx, system)
}

// measureProduce runs the slices and everything that is told from them.
func (c *contest) measureProduce(ctx context.Context, broker *target.Broker) error {
	before, err := broker.Metrics(ctx)
	if err != nil {
		return err
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	after, err := broker.Metrics(ctx)
	if err != nil {
		return err
	}
	if err := c.conclude(); err != nil {
		return err
	}
	c.inside(after.Sub(before))
	if c.Scenario.Workload.OneAtATime() {
		return c.selfCheck(ctx)
	}
	return nil
}

// A run must pay for what it puts off: at least so many checkpoints and laps of the ring.
const (
	leastCheckpoints = 3
	leastLaps        = 2
)

// stageNames are the stages of the write path in their order.
var stageNames = []string{"read", "decode", "propose", "queue", "sync", "quorum", "reply"}

// inside records what the broker's own metrics say about the slices.
func (c *contest) inside(m target.Metrics) {
	for _, name := range stageNames {
		if h := m.Stages[name]; h.Count() > 0 {
			c.rec.Stages = append(c.rec.Stages, record.Stage{Name: name, P50Us: h.Quantile(0.5) * 1e6, P99Us: h.Quantile(0.99) * 1e6})
		}
	}
	v := m.Values
	laps := v[target.WALBytes] / float64(c.Scenario.Workload.RingBytes)
	c.figure(record.System, "checkpoints", "1", v[target.Checkpoints])
	c.figure(record.System, "ring_laps", "1", laps)
	c.figure(record.System, "garbage_collections", "1", v[target.Collections])
	if all := float64(c.all[record.System]); all > 0 {
		c.figure(record.System, "allocations_per_request", "1/request", v[target.Allocations]/all)
		c.figure(record.System, "allocated_bytes_per_request", "bytes/request", v[target.AllocatedBytes]/all)
		c.figure(record.System, "syncs_per_request", "1/request", v[target.WALBatches]/all)
	}
	if v[target.Checkpoints] < leastCheckpoints || laps < leastLaps {
		c.invalid("the slices saw %.0f checkpoints and %.1f laps of the ring, want at least %d and %d: longer slices (slice_ms) or a smaller ring (ring_bytes)",
			v[target.Checkpoints], laps, leastCheckpoints, leastLaps)
	}
}
