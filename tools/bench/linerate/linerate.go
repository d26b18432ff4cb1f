// Package linerate runs one launch in which one partition is written to over a distance, as fast as it goes, beside one plain TCP stream.
//
// What a line carries is not what its owner sells: a window that is too small for the round trip, a queue that is too short and what congestion control makes of
// both decide. So the limit that the brokers are held against is measured between the same two hosts, in turns: bytes per second of records that are
// acknowledged, A B B A with the bytes per second of one TCP stream that does nothing else. The producer is one round trip from the
// leader, and every follower one from the leader as well: each record crosses the distance twice before it is acknowledged.
package linerate

import (
	"context"

	"ackline/loadgen/cluster"
	"ackline/loadgen/run"
	"ackline/tools/bench/across"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
	"ackline/tools/netlab/calibrate"
	"ackline/tools/stats"
)

// topic is written to.
const topic = "bench"

// The sides take turns in this order.
var order = [4]record.Side{record.System, record.Floor, record.Floor, record.System}

// trip is a launch that is being measured. Producers and the TCP stream's sender are on the host called from.
type trip struct {
	*across.Trip
	from, lead string
	writer     *session.Writer
	rates      map[record.Side][]float64 // bytes per second, of each slice
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench itself cannot go on.
func Run(ctx context.Context, p launch.Plan) (record.Launch, error) {
	l := &trip{Trip: across.New(p), rates: map[record.Side][]float64{}}
	return l.Run(ctx, l.measure)
}

func (l *trip) measure(ctx context.Context) error {
	hosts := l.Net.T.HostNames()
	l.from, l.lead = hosts[0], hosts[1]
	w := l.Scenario.Workload
	c, err := cluster.New(l.Brokers.Addrs(), w.Timeout())
	if err != nil {
		return err
	}
	l.Step("making the topic")
	if err := c.Through(l.Net.Near()).CreateTopic(ctx, topic, 1, int16(len(hosts)), nil); err != nil {
		return err
	}
	nodes := l.Nodes(topic)
	if err := nodes.Transfer(ctx, l.Net.T.Index(l.lead)); err != nil {
		return err
	}
	l.Step("the network's round trips, before")
	if err := l.Calibrate(ctx, across.Before, nil); err != nil {
		return err
	}
	l.writer, err = session.OpenAgain(ctx, w, session.Place{Brokers: l.Brokers.Addrs(), Topic: topic, Way: l.Net.From(l.from)}, l.Sub(1), run.DriverWire, false)
	if err != nil {
		return err
	}
	defer l.writer.Close()
	if err := l.turns(ctx); err != nil {
		return err
	}
	l.Step("the network's round trips, after")
	if err := l.Calibrate(ctx, across.After, nil); err != nil {
		return err
	}
	end, err := nodes.Leader(ctx)
	if err != nil {
		return err
	}
	if at := l.Net.T.HostNames()[end]; at != l.lead {
		l.Invalid("somebody else led in the end: an election came between, and the records went from %s to %s", l.from, at)
	}
	l.conclude()
	return l.check(ctx)
}

// turns lets the sides take turns, after a slice of the brokers that nobody counts.
func (l *trip) turns(ctx context.Context) error {
	length, discard := l.Suite.GeoSlice(l.Scenario, l.Longest)
	l.Step("warming up")
	if _, err := l.writer.Slice(ctx, session.Stretch{Length: length, Discard: discard, Seed: l.Sub(2)}); err != nil {
		return err
	}
	var against []string
	byHost := true
	err := sum.Cycles(l.Scenario.Cycles, func(number int, again bool) (bool, error) {
		c := cycle{host: true, rates: map[record.Side][]float64{}}
		for i, s := range order {
			n := number*len(order) + i
			l.Step("slice %d of %d%s: %s", n+1, max(l.Scenario.Cycles, number+1)*len(order), sum.Repeated(again), s)
			if err := l.turn(ctx, s, session.Stretch{Length: length, Discard: discard, Seed: l.Sub(uint64(10 + n))}, &c); err != nil {
				return false, err
			}
		}
		if len(c.against) > 0 {
			against, byHost = append(against, c.against...), byHost && c.host
			return c.host, nil
		}
		for s, rates := range c.rates {
			l.rates[s] = append(l.rates[s], rates...)
		}
		return false, nil
	})
	if err != nil || len(l.rates[record.System]) > 0 {
		return err
	}
	tell := l.Invalid
	if byHost {
		tell = l.InvalidByHost
	}
	for _, why := range against {
		tell("%s", why)
	}
	return nil
}

// cycle is what one A B B A measured.
type cycle struct {
	rates   map[record.Side][]float64
	against []string // why it does not count
	host    bool     // nothing but a host that takes CPU time away brought that about
}

// turn runs one slice of a side.
func (l *trip) turn(ctx context.Context, s record.Side, what session.Stretch, c *cycle) error {
	if err := l.Brokers.Checkpoint(ctx); err != nil { // what is owed to the disk is not the other side's
		return err
	}
	if s == record.System {
		return l.slice(ctx, what, c)
	}
	rate, err := calibrate.Stream(ctx, l.Net.Lab, l.from, l.lead, what.Length, what.Discard)
	c.rates[s] = append(c.rates[s], rate)
	return err
}

// slice puts the brokers under load once.
func (l *trip) slice(ctx context.Context, what session.Stretch, c *cycle) error {
	before, err := proc.ReadCPU("/proc")
	if err != nil {
		return err
	}
	smp, err := l.writer.Slice(ctx, what)
	if err != nil {
		return err
	}
	after, err := proc.ReadCPU("/proc")
	if err != nil {
		return err
	}
	for _, cause := range smp.Invalid {
		c.against = append(c.against, cause.Text)
		c.host = c.host && cause.ByHost(after.Sub(before).StolenFraction(), smp.Stolen)
	}
	w := &l.Scenario.Workload
	c.rates[record.System] = append(c.rates[record.System], float64(smp.Requests)*float64(w.RecordBytes*w.RecordsPerRequest)/smp.Counted.Seconds())
	l.Rec.Requests += smp.Requests
	return nil
}

// conclude compares the sides, if a cycle counts.
func (l *trip) conclude() {
	if len(l.rates[record.System]) == 0 {
		return
	}
	system, stream := stats.LogMean(l.rates[record.System]), stats.LogMean(l.rates[record.Floor])
	l.Rec.Pairs = append(l.Rec.Pairs, record.Pair{Name: "rate", Unit: "bytes/s", System: system, Floor: stream, Ratio: stream / system, Excess: stream - system,
		Slices: len(l.rates[record.System]), Gated: true})
	l.Figure(record.System, "bytes_per_second", "bytes/s", system)
	l.Figure(record.Floor, "bytes_per_second", "bytes/s", stream)
	l.Figure(record.System, "share_of_one_stream", "1", system/stream)
}

// check reads everything back that was acknowledged.
func (l *trip) check(ctx context.Context) error {
	l.Step("reading the data back")
	return l.Check(ctx, l.writer)
}
