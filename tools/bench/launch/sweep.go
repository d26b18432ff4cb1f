package launch

import (
	"context"
	"time"

	"ackline/tools/bench/ladder"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// sweep measures how much load there may be before users notice: broker and durable echo at a ladder of rates.
func (l *launch) sweep(ctx context.Context) error { return l.writes(ctx, (*contest).climb) }

// climb runs both sides up the ladder.
func (c *contest) climb(ctx context.Context, broker *target.Brokers) error {
	before, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	w := &c.Scenario.Workload
	err = ladder.Climb(&c.Book, w, c.sides(), func(s side, rate float64, seed uint64) (smp session.Sample, sl record.Slice, err error) {
		c.step("%.0f requests a second: %s", rate, s)
		smp, err = c.turn(ctx, len(c.slices), s, session.Stretch{Length: c.Suite.RungLength(c.Scenario, rate),
			Discard: time.Duration(c.Suite.DiscardMs) * time.Millisecond, Rate: rate, Seed: c.sub(seed)})
		if err != nil {
			return smp, sl, c.explain(s, err)
		}
		return smp, c.slices[len(c.slices)-1], nil
	})
	if err != nil {
		return err
	}
	after, err := c.counters(ctx, broker)
	if err != nil {
		return err
	}
	c.Rec.Slices = c.slices
	ladder.Conclude(&c.Book, w, c.sides())
	for _, s := range c.sides() {
		if err := c.writeLog(s); err != nil {
			return err
		}
	}
	c.inside(target.Between(before, after))
	c.Rec.Stages = nil // over all rates together they say nothing
	return nil
}
