package launch

import (
	"context"
	"errors"
	"time"

	"ackline/loadgen/cluster"
	"ackline/tools/bench/failover"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// ballast is the topic whose partitions the node that goes away leads beside the one that is written to.
const ballast = "ballast"

// apart is a little more than franz-go with its defaults lets pass between two requests for metadata.
const apart = 5500 * time.Millisecond

// failover measures for how long nobody can write when the node that leads goes away.
func (l *launch) failover(ctx context.Context) error {
	return l.withBrokers(ctx, func(b *target.Brokers) (err error) {
		w := l.Scenario.Workload
		c, err := cluster.New(b.Addrs(), w.Timeout())
		if err != nil {
			return err
		}
		l.step("making %d partitions", w.Partitions)
		if err := c.CreateTopic(ctx, ballast, int32(w.Partitions), int16(len(b.Nodes)), nil); err != nil {
			return err
		}
		if err := c.CreateTopic(ctx, topic, 1, int16(len(b.Nodes)), nil); err != nil {
			return err
		}
		out := l.outage()
		var probes [2]*probe.Probe
		for i, client := range []probe.Client{probe.Tuned, probe.Library} {
			if probes[i], err = out.Open(ctx, client, b.Addrs()); err != nil {
				return errors.Join(err, b.Err())
			}
			defer func() { err = errors.Join(err, probes[i].Close()) }()
		}
		found, err := failover.Run(ctx, failover.Config{Nodes: l.nodes(b), Tuned: probes[0], Library: probes[1], Kills: w.KillIncidents,
			Pauses: w.PauseIncidents, Stops: w.StopIncidents, PauseFor: w.Pause(), Limit: w.ProbeLimit(), Quiet: w.Quiet(), Apart: apart, Rest: w.Rest(),
			Seed: l.sub(6), Step: l.step})
		if err != nil {
			return err
		}
		l.rec.Incidents, l.rec.Requests = found.Incidents, out.Acked()
		l.rec.Figures = append(l.rec.Figures, record.GapFigures(found.Incidents)...)
		l.figure(record.System, "usual_gap_ms_worst", "ms", float64(found.Usual)/1e6)
		l.figure(record.System, "records_unacknowledged", "1", float64(found.Failed))
		return l.check(ctx, out)
	})
}
