package launch

import (
	"context"
	"fmt"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/run"
	"ackline/profiles"
	"ackline/tools/bench/inside"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
	"ackline/tools/stats"
)

// durableEcho is the opponent of everything that writes.
var durableEcho = opponent{durable: true, log: "floor.log", open: func(ctx context.Context, l *launch, addr string) (*session.Session, error) {
	return session.OpenFloor(ctx, l.Scenario.Workload, addr, l.topic, l.sub(2))
}}

// produce measures writes: the broker beside the durable echo.
func (l *launch) produce(ctx context.Context) error {
	return l.writes(ctx, (*contest).measureProduce)
}

// writes opens a session that writes to a fresh broker, lets it compete with the durable echo, and reads everything back.
func (l *launch) writes(ctx context.Context, measure func(*contest, context.Context, *target.Brokers) error) error {
	return l.withBrokers(ctx, func(broker *target.Brokers) error {
		system, err := l.openProduce(ctx, l.Scenario.Workload, broker, l.sub(1))
		if err != nil {
			return err
		}
		defer l.shut(system)
		if l.There == nil {
			rest, err := proc.Read("/proc", broker.PIDs(0)[0])
			if err != nil {
				return err
			}
			l.Figure(record.System, "resident_bytes_at_rest", "bytes", float64(rest.ResidentBytes))
		}
		err = l.compete(ctx, broker, system, durableEcho, func(ctx context.Context, c *contest) error { return measure(c, ctx, broker) })
		if err != nil {
			return err
		}
		return l.check(ctx, system)
	})
}

// measureProduce runs the slices and everything that is told from them.
func (c *contest) measureProduce(ctx context.Context, broker *target.Brokers) error {
	before, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	if err := c.besideTheDisk(ctx, c.run); err != nil {
		return err
	}
	after, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	if err := c.conclude(); err != nil {
		return err
	}
	c.inside(target.Between(before, after))
	if err := c.split(ctx, broker); err != nil {
		return err
	}
	if c.There != nil {
		return c.beyond(ctx, broker)
	}
	if c.topology().Nodes > 1 {
		if err := c.roundTrip(ctx); err != nil || !c.Scenario.Workload.OneAtATime() {
			return err
		}
		return c.quorumCheck(ctx)
	}
	if !c.Scenario.Workload.OneAtATime() {
		return nil
	}
	if err := c.selfCheck(ctx); err != nil {
		return err
	}
	return c.library(ctx, broker)
}

// besideTheDisk runs the slices of a throughput scenario between two measurements of what the disk alone makes durable, and
// says what both sides reached in bytes. Any other scenario is just run.
func (c *contest) besideTheDisk(ctx context.Context, run func(context.Context) error) error {
	w := &c.Scenario.Workload
	if !w.Throughput() || c.Disk == nil && c.There == nil {
		return run(ctx)
	}
	if _, err := c.diskBeside(ctx, run); err != nil {
		return err
	}
	for _, s := range c.sides() {
		if rate, n := sum.LogMean(c.slices, s, "requests_per_second"); n > 0 {
			c.Figure(s, "record_bytes_per_second", "bytes/s", rate*float64(w.RecordBytes*w.RecordsPerRequest))
		}
	}
	return nil
}

// diskBeside runs something between two measurements of the disk alone and returns the better of them, 0 without a disk.
func (l *launch) diskBeside(ctx context.Context, run func(context.Context) error) (best float64, err error) {
	measure := func() error {
		if l.Disk == nil {
			return nil
		}
		l.step("measuring the disk alone")
		rate, err := l.Disk.DurableRate(ctx, profiles.DiskRate)
		if err != nil {
			return fmt.Errorf("the disk's durable rate: %w", err)
		}
		best = max(best, rate)
		return nil
	}
	for _, do := range []func() error{measure, func() error { return run(ctx) }, measure} {
		if err := do(); err != nil {
			return 0, err
		}
	}
	if best > 0 {
		l.Figure(record.Host, record.DurableRate, "bytes/s", best)
	}
	return best, nil
}

// library measures what a client library costs: franz-go takes turns with the pre-encoded frames, one request outstanding
// each, against the same broker. It explains the distance between what users see and what is measured here, and is no bar.
func (c *contest) library(ctx context.Context, broker *target.Brokers) error {
	length := time.Duration(c.Scenario.LibrarySliceMs) * time.Millisecond
	if length == 0 {
		return nil
	}
	c.step("franz-go beside the frames")
	kgo, err := session.OpenAgain(ctx, c.Scenario.Workload, c.place(broker), c.sub(4), run.DriverKgo, false)
	if err != nil {
		return fmt.Errorf("franz-go: %w", err)
	}
	defer kgo.Close()
	frames := c.loads[record.System]
	p50s := map[load][]float64{}
	turns := [profiles.LibrarySlices]load{kgo, kgo, frames, frames, kgo} // the first one warms the library up
	for i, who := range turns {
		smp, err := who.Slice(ctx, session.Stretch{Length: length, Seed: c.sub(uint64(3000 + i))})
		if err != nil {
			return fmt.Errorf("franz-go beside the frames: %w", err)
		}
		if i > 0 && smp.Hist.Response.Supports(50) {
			p50s[who] = append(p50s[who], smp.P50us())
		}
	}
	if len(p50s[kgo]) < 2 || len(p50s[frames]) < 2 {
		c.Rec.Notes = append(c.Rec.Notes, fmt.Sprintf("franz-go beside the frames: slices of %v have fewer than %d requests, too few for a median", length, hist.Needed(50)))
	} else {
		library, own := stats.LogMean(p50s[kgo]), stats.LogMean(p50s[frames])
		c.Figure(record.Host, "franz_go_us_p50", "us", library)
		c.Figure(record.Host, "frames_us_p50_beside_franz_go", "us", own)
		c.Figure(record.Host, "franz_go_costs_us_p50", "us", library-own)
	}
	return c.check(ctx, kgo)
}

// inside records what the broker's own metrics say about the slices.
func (c *contest) inside(nodes []target.Metrics) {
	if len(nodes) == 0 {
		return // nobody could be asked
	}
	if c.There != nil {
		c.insideThere(nodes)
		return
	}
	in := inside.Of(nodes, c.lead, float64(c.all[record.System]), float64(c.Scenario.Workload.RingBytes))
	c.Rec.Stages = append(c.Rec.Stages, in.Stages...)
	for _, f := range in.Figures {
		c.Figure(f.Side, f.Name, f.Unit, f.Value)
	}
	if in.Invalid != "" {
		c.Invalid("%s", in.Invalid)
	}
}
