package launch

import (
	"context"
	"errors"

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
		found, err := failover.Run(ctx, failover.Config{Nodes: &harm.Cluster{Nodes: l.nodes(b), Links: links, Disk: l.SlowDisk()},
			Tuned: probes[0], Library: probes[1], Counts: counts, PauseFor: w.Pause(), Limit: w.ProbeLimit(), Quiet: w.Quiet(), Apart: failover.LibraryApart, Rest: w.Rest(),
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

// SlowDisk is how the disk gets slow for one node.
func (p *Plan) SlowDisk() disk.Slow {
	return disk.Slow{Root: "/", Device: p.Device, WritesPerSecond: p.Scenario.Workload.SlowWritesPerSecond}
}

// SlowDisks is how many incidents of a slow disk there are. Where a disk cannot be made slow, there are none, and the record says so.
func (p *Plan) SlowDisks(r *record.Launch) int {
	n := p.Scenario.Workload.SlowDiskIncidents
	if n == 0 {
		return 0
	}
	if err := p.SlowDisk().Permitted(); err != nil {
		r.Notes = append(r.Notes, "there is no slow-disk incident: "+err.Error())
		return 0
	}
	return n
}

// incidents is how many there are of each sort.
func (l *launch) incidents() map[record.IncidentSort]int {
	w := l.Scenario.Workload
	return map[record.IncidentSort]int{record.Kill: w.KillIncidents, record.Pause: w.PauseIncidents, record.Stop: w.StopIncidents, record.Cut: w.PartitionIncidents,
		record.Mute: w.OneWayIncidents, record.Deaf: w.OneWayIncidents, record.Slow: l.SlowDisks(l.Rec)}
}
