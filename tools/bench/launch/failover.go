package launch

import (
	"context"
	"errors"
	"time"

	"ackline/loadgen/cluster"
	"ackline/tools/bench/disk"
	"ackline/tools/bench/failover"
	"ackline/tools/bench/harm"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/netlab/relay"
)

// ballast is the topic whose partitions the node that goes away leads beside the one that is written to.
const ballast = "ballast"

// apart is a little more than franz-go with its defaults lets pass between two requests for metadata.
const apart = 5500 * time.Millisecond

// failover measures for how long nobody can write when the node that leads goes away.
func (l *launch) failover(ctx context.Context) error {
	w := l.Scenario.Workload
	var links *relay.Network
	if w.Cuts() {
		var err error
		if links, err = harm.Between(l.topology().Nodes); err != nil {
			return err
		}
		defer links.Close()
		l.links = links
	}
	counts := l.incidents()
	return l.withBrokers(ctx, func(b *target.Brokers) (err error) {
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
		found, err := failover.Run(ctx, failover.Config{Nodes: &harm.Cluster{Nodes: l.nodes(b), Links: links, Disk: l.slow()},
			Tuned: probes[0], Library: probes[1], Counts: counts, PauseFor: w.Pause(), Limit: w.ProbeLimit(), Quiet: w.Quiet(), Apart: apart, Rest: w.Rest(),
			Seed: l.sub(6), Step: l.step})
		if err != nil {
			return err
		}
		l.Rec.Incidents, l.Rec.Timeline, l.Rec.Requests = found.Incidents, found.Timeline, out.Acked()
		l.Rec.Figures = append(l.Rec.Figures, record.GapFigures(found.Incidents)...)
		l.Figure(record.System, "usual_gap_ms_worst", "ms", float64(found.Usual)/1e6)
		l.Figure(record.System, "records_unacknowledged", "1", float64(found.Failed))
		return l.check(ctx, out)
	})
}

// slow is how the disk gets slow for one node.
func (l *launch) slow() disk.Slow {
	return disk.Slow{Root: "/", Device: l.Device, WritesPerSecond: l.Scenario.Workload.SlowWritesPerSecond}
}

// incidents is how many there are of each sort. Where a disk cannot be made slow, there are none of that sort, and the record says so.
func (l *launch) incidents() map[record.IncidentSort]int {
	w := l.Scenario.Workload
	counts := map[record.IncidentSort]int{record.Kill: w.KillIncidents, record.Pause: w.PauseIncidents, record.Stop: w.StopIncidents, record.Cut: w.PartitionIncidents,
		record.Mute: w.OneWayIncidents, record.Deaf: w.OneWayIncidents, record.Slow: w.SlowDiskIncidents}
	if w.SlowDiskIncidents > 0 {
		if err := l.slow().Permitted(); err != nil {
			counts[record.Slow] = 0
			l.Rec.Notes = append(l.Rec.Notes, "there is no slow-disk incident: "+err.Error())
		}
	}
	return counts
}
