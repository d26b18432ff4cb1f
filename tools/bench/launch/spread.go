package launch

import (
	"context"
	"errors"
	"fmt"

	"ackline/loadgen/cluster"
	"ackline/tools/bench/idle"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// single is the topic of one partition that a spread workload is compared with.
const single = "single"

// spread measures what many partitions cost: the same load on a topic of many and on one of one, in turns on the same brokers.
func (l *launch) spread(ctx context.Context) error {
	return l.withBrokers(ctx, func(b *target.Brokers) error {
		w := l.Scenario.Workload
		l.step("making %d partitions", w.Partitions)
		many, err := l.openProduce(ctx, w, b, l.sub(1))
		if err != nil {
			return errors.Join(err, b.Err())
		}
		defer l.shut(many)
		w.Partitions = 1
		one, err := session.OpenProduce(ctx, w, l.beside(b), l.sub(2))
		if err != nil {
			return errors.Join(err, b.Err())
		}
		defer l.shut(one)
		c, err := l.newContest(ctx, b, many)
		if err != nil {
			return err
		}
		c.meter.Twin = true
		c.loads[record.Floor], c.alive[record.Floor] = one, b
		if err := c.besideOne(ctx, b); err != nil {
			return err
		}
		return errors.Join(l.check(ctx, many), l.check(ctx, one))
	})
}

// besideOne runs the slices of a spread workload and counts the syncs of each side.
func (c *contest) besideOne(ctx context.Context, b *target.Brokers) error {
	for _, s := range []side{record.System, record.Floor} {
		if err := c.warmUp(ctx, s); err != nil {
			return err
		}
	}
	syncs, messages, seconds := map[side]float64{}, map[side]float64{}, map[side]float64{}
	for _, load := range []side{record.System, record.Floor} {
		c.loads[load] = &counted{load: c.loads[load], count: func(ctx context.Context, run func() (session.Sample, error)) (session.Sample, error) {
			before, err := c.counters(ctx, b)
			if err != nil {
				return session.Sample{}, err
			}
			smp, err := run()
			if err != nil {
				return smp, err
			}
			after, err := c.counters(ctx, b)
			if err != nil {
				return smp, err
			}
			v := target.Summed(target.Between(before, after))
			syncs[load] += v[target.WALBatches]
			messages[load] += v[target.RaftMessages]
			seconds[load] += smp.Counted.Seconds() + float64(c.Suite.DiscardMs)/1e3
			return smp, nil
		}}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	for _, s := range []side{record.System, record.Floor} {
		if !c.countable() {
			break
		}
		c.Figure(s, "syncs_per_second", "1/s", syncs[s]/seconds[s])
		c.Figure(s, "syncs_per_request", "1/request", syncs[s]/float64(c.all[s]))
		c.Figure(s, "raft_messages_per_request", "1/request", messages[s]/float64(c.all[s]))
	}
	if err := c.conclude(); err != nil {
		return err
	}
	return c.stayed(ctx, b)
}

// counted is a load around each of whose slices something is counted.
type counted struct {
	load
	count func(ctx context.Context, run func() (session.Sample, error)) (session.Sample, error)
}

func (c *counted) Slice(ctx context.Context, s session.Stretch) (session.Sample, error) {
	return c.count(ctx, func() (session.Sample, error) { return c.load.Slice(ctx, s) })
}

// idle measures what partitions cost that nobody uses.
func (l *launch) idle(ctx context.Context) error {
	return l.withBrokers(ctx, func(b *target.Brokers) error {
		w := l.Scenario.Workload
		c, err := cluster.New(b.Addrs(), w.Timeout())
		if err != nil {
			return err
		}
		l.step("making %d partitions", w.Partitions)
		for made := 0; made < w.Partitions; made += topicPartitions {
			n := min(topicPartitions, w.Partitions-made)
			if err := c.CreateTopic(ctx, fmt.Sprintf("idle-%d", made), int32(n), int16(len(b.Nodes)), nil); err != nil {
				return errors.Join(err, b.Err())
			}
		}
		l.step("leaving them alone")
		found, err := idle.Watch(ctx, b, w.Quiet(), w.Watch())
		if err != nil {
			return errors.Join(err, b.Err())
		}
		l.Rec.Requests = int64(w.Partitions)
		l.Rec.Figures = append(l.Rec.Figures, found...)
		return nil
	})
}

// topicPartitions is how many partitions a topic of an idle workload has at most: making all at once would be one request of
// seconds.
const topicPartitions = 1000
