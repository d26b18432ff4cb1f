// Package loss runs one launch in which a cluster across regions loses one of them, again and again (Run), or once for long (RunReturn).
//
// Between regions nobody says that a node is gone: packets end somewhere, and only the silence tells. How long it has to last before another
// leader is elected follows from the distances (nearly five round trips), so a cluster that is far apart is slower to help itself, and a
// time-out that is longer than it must be is an outage that is. What users see is the gap in acknowledged writes: a client that is set up for
// failovers writes at an even rate from a region that survives, finds the new leader across the distance, and must not lose what it was promised.
// Beside it writes, if the workload says so, franz-go as people use it.
//
// Who leads, who follows and where the client is follows from the distances (seats). What happens is package failover's; the faults are the lab's.
// A region is lost whole: what its brokers say to others and what clients elsewhere say to them. It comes back, and leads again
// before the next incident: always the same one is lost. A leader whose disk is slow is no loss: nothing is cut, and it need not move.
package loss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/cluster"
	"ackline/profiles/region"
	"ackline/tools/bench/across"
	"ackline/tools/bench/disk"
	"ackline/tools/bench/failover"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/outage"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/bench/verdict"
)

// topic is written to.
const topic = "bench"

// trip is a launch that is being measured.
type trip struct {
	*across.Trip
	seats seats
	nodes *nodes
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench itself cannot go on.
func Run(ctx context.Context, p launch.Plan) (record.Launch, error) {
	l := &trip{Trip: across.New(p)}
	return l.Run(ctx, l.measure)
}

// seats are the hosts, by their numbers, that have a part in it.
type seats struct{ lead, follow, client int }

// seatsOf has the leader where producers everywhere wait the least. The region that follows and is lost is the nearest to it, whose
// answers it waits for; the client is the farthest away of all others.
func seatsOf(t *region.Topology, best string) (seats, error) {
	s := seats{lead: t.Index(best)}
	var others []int
	for i, h := range t.Hosts {
		if h.Region != t.Hosts[s.lead].Region {
			others = append(others, i)
		}
	}
	trip := func(i int) time.Duration { return t.Path(s.lead, i).Delay + t.Path(i, s.lead).Delay }
	slices.SortStableFunc(others, func(a, b int) int { return cmp.Compare(trip(a), trip(b)) })
	if len(others) == 0 || t.Hosts[others[0]].Region == t.Hosts[others[len(others)-1]].Region {
		return s, fmt.Errorf("region %s: to lose one of them and write from another takes hosts in at least three regions", t.Name)
	}
	s.follow, s.client = others[0], others[len(others)-1]
	return s, nil
}

// open gives everybody a seat, makes the topic, measures the network and has the leader where it belongs.
func (l *trip) open(ctx context.Context) (err error) {
	if l.seats, err = seatsOf(l.Net.T, l.Advice.Placements[0].Leader); err != nil {
		return err
	}
	l.Rec.Notes = append(l.Rec.Notes, fmt.Sprintf("the leader is on %s, the region that follows and is lost is that of %s, the client is on %s",
		l.Net.Called(l.seats.lead), l.Net.Called(l.seats.follow), l.Net.Called(l.seats.client)))
	l.nodes = &nodes{Nodes: l.Nodes(topic), net: l.Net, seats: l.seats, settle: l.Scenario.Workload.Rest() / 2, disk: l.SlowDisk()}
	c, err := cluster.New(l.Brokers.Addrs(), l.Scenario.Workload.Timeout())
	if err != nil {
		return err
	}
	l.Step("making the topic")
	if err := c.Through(l.Net.Near()).CreateTopic(ctx, topic, 1, int16(len(l.Brokers.Nodes)), nil); err != nil {
		return err
	}
	l.Step("the network's round trips, before")
	if err := l.Calibrate(ctx, across.Before, nil); err != nil {
		return err
	}
	_, err = l.nodes.Leader(ctx)
	return err
}

// outage is for probes of a client in the region that survives, with as many connections as keep the rate.
func (l *trip) outage() *outage.Outage {
	const farAway = 2 // of the longest trips: to a leader, and from there to a majority, whoever leads
	w := l.Scenario.Workload
	return outage.New(outage.Config{Topic: topic, Workload: w, Launch: l.Number, Sub: l.Sub, Step: l.Step, Way: l.Net.From(l.Net.T.Hosts[l.seats.client].Name),
		Connections: probe.Needed(w.ProbeRatePerSecond, farAway*l.Longest)})
}

func (l *trip) measure(ctx context.Context) (err error) {
	if err := l.open(ctx); err != nil {
		return err
	}
	w := l.Scenario.Workload
	c := failover.Config{Nodes: l.nodes, Whom: l.nodes.whom, Counts: l.counts(), PauseFor: w.Pause(), Limit: w.ProbeLimit(), Quiet: w.Quiet(), Rest: w.Rest(),
		Seed: l.Sub(6), Step: l.Step}
	out := l.outage()
	if c.Tuned, err = out.Open(ctx, probe.Tuned, l.Brokers.Addrs()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Tuned.Close()) }()
	if w.LibraryClient {
		c.Apart = failover.LibraryApart
		if c.Library, err = out.Open(ctx, probe.Library, l.Brokers.Addrs()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Library.Close()) }()
	}
	found, err := failover.Run(ctx, c)
	if err != nil {
		return err
	}
	l.Step("the network's round trips, after")
	if err := l.Calibrate(ctx, across.After, nil); err != nil {
		return err
	}
	l.conclude(found, out)
	return l.check(ctx, out)
}

// counts is how many incidents there are of each sort.
func (l *trip) counts() map[record.IncidentSort]int {
	w := l.Scenario.Workload
	return map[record.IncidentSort]int{record.LeaderRegion: w.LeaderRegionIncidents, record.OtherRegion: w.OtherRegionIncidents,
		record.RegionMute: w.OneWayRegionIncidents, record.RegionDeaf: w.OneWayRegionIncidents, record.Slow: l.SlowDisks(l.Rec)}
}

// conclude fills the record with what was seen.
func (l *trip) conclude(found *failover.Result, out *outage.Outage) {
	for i := range found.Incidents { // asked before each of them
		found.Incidents[i].ElectionMs = float64(l.nodes.elections[i+1]) / 1e6
	}
	l.Rec.Incidents, l.Rec.Timeline, l.Rec.Requests = found.Incidents, found.Timeline, out.Acked()
	l.Rec.Figures = append(l.Rec.Figures, record.GapFigures(found.Incidents)...)
	longest := 0.0
	for _, x := range l.Rec.Network.Links {
		longest = max(longest, x.Before.P50Us)
	}
	l.Figure(record.Host, record.LongestTripMs, "ms", longest/1e3)
	l.Figure(record.System, "election_timeout_ms_worst", "ms", float64(slices.Max(l.nodes.elections))/1e6)
	l.Figure(record.System, "usual_gap_ms_worst", "ms", float64(found.Usual)/1e6)
	l.Figure(record.System, "records_unacknowledged", "1", float64(found.Failed))
}

// check reads everything back that c was promised.
func (l *trip) check(ctx context.Context, c verdict.Checker) error {
	l.Step("reading the data back")
	return l.Check(ctx, c)
}

// nodes are the brokers as package failover has them: what happens to one happens to its region.
type nodes struct {
	target.Nodes
	net       *across.Network
	seats     seats
	settle    time.Duration // after the lead has moved: what happens next is to happen to clients that know it
	disk      disk.Slow
	elections []time.Duration // the time-outs that were in force whenever the leader was asked for
}

// Leader makes the partition be led where it belongs, and says where that is.
func (n *nodes) Leader(ctx context.Context) (int, error) {
	if lead, err := n.Leads(ctx); err != nil || lead != n.seats.lead {
		if err := n.Transfer(ctx, n.seats.lead); err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(n.settle):
		}
	}
	election, err := n.Election(ctx)
	n.elections = append(n.elections, election)
	return n.seats.lead, err
}

// whom is whose region it happens to.
func (n *nodes) whom(s record.IncidentSort, lead int) int {
	if s == record.OtherRegion {
		return n.seats.follow
	}
	return lead
}

// Harm cuts the region of node i off, or makes its disk slow. What it returns undoes that.
func (n *nodes) Harm(s record.IncidentSort, i int) (undo func() error, err error) {
	name := n.net.T.Hosts[i].Region
	switch s {
	case record.LeaderRegion, record.OtherRegion:
		return n.net.Lab.HealAll, n.net.Lab.Isolate(name)
	case record.RegionMute, record.RegionDeaf:
		for _, in := range n.net.T.HostsOf(name) {
			for _, out := range n.net.T.HostNames() {
				from, to := in, out
				if s == record.RegionDeaf {
					from, to = out, in
				}
				if !slices.Contains(n.net.T.HostsOf(name), out) {
					err = errors.Join(err, n.net.Lab.Cut(from, to))
				}
			}
		}
		return n.net.Lab.HealAll, err
	case record.Slow:
		return n.disk.Down(n.Nodes.Nodes[i].PID())
	}
	return nil, fmt.Errorf("a region is not harmed by %q", s)
}
