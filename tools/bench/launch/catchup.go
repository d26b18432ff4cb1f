package launch

import (
	"context"
	"errors"

	"ackline/tools/bench/catchup"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// nearPerSecond: a node that has caught up may lack what the probe writes in this part of a second.
const nearPerSecond = 20

// catchUp measures how soon a node has again what was written while it was away, beside the rate at which the disk alone makes
// bytes durable.
func (l *launch) catchUp(ctx context.Context) error {
	return l.withBrokers(ctx, func(b *target.Brokers) (err error) {
		w := l.Scenario.Workload
		writer, err := l.openProduce(ctx, w.Fill(), b, l.sub(1))
		if err != nil {
			return errors.Join(err, b.Err())
		}
		defer writer.Close()
		out := l.outage()
		users, err := out.Open(ctx, probe.Plain, b.Addrs())
		if err != nil {
			return errors.Join(err, b.Err())
		}
		defer func() { err = errors.Join(err, users.Close()) }()
		var found *catchup.Result
		rate, err := l.diskBeside(ctx, func(ctx context.Context) (err error) {
			found, err = catchup.Run(ctx, catchup.Config{Nodes: l.nodes(b), Count: len(b.Nodes), Probe: users, Quiet: w.Quiet(), Limit: w.ProbeLimit(),
				Write: func(ctx context.Context) (int64, error) { err := l.preload(ctx, writer); return writer.Bytes(), err },
				Near:  int64(w.ProbeRatePerSecond / nearPerSecond), Step: l.step})
			return errors.Join(err, b.Err())
		})
		if err != nil {
			return err
		}
		l.Rec.Requests, l.Rec.Timeline = writer.Acked()+out.Acked(), found.Timeline
		l.caughtUp(found, rate)
		return errors.Join(l.check(ctx, writer), l.check(ctx, out))
	})
}

// caughtUp records what was found, and the disk's own rate if there is one.
func (l *launch) caughtUp(r *catchup.Result, disk float64) {
	if r.Moved {
		l.Invalid("somebody else led in the end: an election came between")
	}
	rate := r.Rate()
	if disk > 0 {
		l.Rec.Pairs = append(l.Rec.Pairs, record.Pair{Name: "catch-up", Unit: "bytes/s", System: rate, Floor: disk, Ratio: disk / rate, Excess: disk - rate, Slices: 1, Gated: true})
	}
	for _, f := range r.Figures() {
		l.Figure(record.System, f.Name, f.Unit, f.Value)
	}
}
