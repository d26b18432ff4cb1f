// Package readers runs one launch in which a record is awaited by a consumer in every region.
//
// A consumer in another region than the leader has two ways to a record: from the leader, across the distance, or from the replica in its own
// region, which has the record already but must hear that it is committed (KIP-392). Consumers here say in which rack they are, as franz-go's do when they
// are told, and go where the leader sends them. The producer is in the leader's region; how long it waits for its own answer stands beside. One process
// holds all of them, so one clock sees both ends, from when a record was due until it was in a consumer's hand.
package readers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/cluster"
	"ackline/loadgen/hist"
	"ackline/tools/bench/across"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
)

// topic is written to.
const topic = "bench"

// trip is a launch that is being measured.
type trip struct {
	*across.Trip
	lead      int // number of the host
	consumers []*consumer
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench itself cannot go on.
func Run(ctx context.Context, p launch.Plan) (record.Launch, error) {
	l := &trip{Trip: across.New(p)}
	l.Racks = true
	return l.Run(ctx, l.measure)
}

func (l *trip) measure(ctx context.Context) (err error) {
	w := l.Scenario.Workload
	l.lead = l.Net.T.Index(l.Advice.Placements[0].Leader)
	c, err := cluster.New(l.Brokers.Addrs(), w.Timeout())
	if err != nil {
		return err
	}
	l.Step("making the topic")
	if err := c.Through(l.Net.Near()).CreateTopic(ctx, topic, 1, int16(len(l.Brokers.Nodes)), nil); err != nil {
		return err
	}
	nodes := l.Nodes(topic)
	if err := nodes.Transfer(ctx, l.lead); err != nil {
		return err
	}
	l.Step("the network's round trips, before")
	if err := l.Calibrate(ctx, across.Before, nil); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	defer l.close()
	users, err := probe.Open(ctx, probe.Config{Brokers: l.Brokers.Addrs(), Topic: topic, RecordBytes: w.RecordBytes, RatePerSecond: w.ProbeRatePerSecond,
		Timeout: w.Timeout(), RunID: l.Sub(30), Client: probe.Tuned, Connections: probe.Needed(w.ProbeRatePerSecond, 2*l.Longest), Way: l.way(l.lead)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.Close()) }()
	l.Step("a consumer in each region")
	start, samples, err := users.Run(ctx, w.Quiet()+w.Watch(), nil)
	if err != nil {
		return err
	}
	if err := l.await(ctx, samples); err != nil {
		return err
	}
	l.Step("the network's round trips, after")
	if err := l.Calibrate(ctx, across.After, nil); err != nil {
		return err
	}
	if end, err := nodes.Leader(ctx); err != nil || end != l.lead {
		l.Invalid("%s led in the beginning and not in the end (%v)", l.Net.Called(l.lead), err)
	}
	l.conclude(samples, start+w.Quiet().Nanoseconds())
	l.Step("reading the data back")
	found, err := users.Verify(ctx)
	if err != nil {
		return fmt.Errorf("data check: %w", err)
	}
	l.Rec.Check, l.Rec.Requests = record.Checked(found), users.Acked()
	if !l.Rec.Check.OK {
		l.Fail("data check: %s", l.Rec.Check.Detail)
	}
	return nil
}

func (l *trip) way(host int) sock.Way { return l.Net.From(l.Net.T.Hosts[host].Name) }

// open starts a consumer on the first host of each region.
func (l *trip) open() error {
	seen := map[string]bool{}
	for i, h := range l.Net.T.Hosts {
		if seen[h.Region] {
			continue
		}
		seen[h.Region] = true
		c, err := consume(l.Brokers.Addrs(), h.Region, l.way(i))
		if err != nil {
			return err
		}
		l.consumers = append(l.consumers, c)
	}
	return nil
}

func (l *trip) close() {
	for _, c := range l.consumers {
		c.close()
	}
}

// awaitPoll is how often it is looked whether a consumer has everything.
const awaitPoll = 5 * time.Millisecond

// await waits until every consumer has every record that was acknowledged.
func (l *trip) await(ctx context.Context, samples []probe.Sample) error {
	ctx, cancel := context.WithTimeout(ctx, l.Scenario.Workload.Timeout())
	defer cancel()
	for _, c := range l.consumers {
		for _, s := range samples {
			for s.Acknowledged() && c.inHand(s.Offset) == 0 {
				select {
				case <-ctx.Done():
					return fmt.Errorf("the consumer in %s never saw offset %d: %w", c.region, s.Offset, errors.Join(context.Cause(ctx), c.problem()))
				case <-time.After(awaitPoll):
				}
			}
		}
	}
	return nil
}

// conclude fills the record from the records that were due later than from.
func (l *trip) conclude(samples []probe.Sample, from int64) {
	produce, failed := hist.NewLatency(), 0
	for _, c := range l.consumers {
		served, share := c.served()
		name := "nobody"
		if served > 0 {
			name = l.Net.Called(served - 1)
		}
		l.Rec.Readers = append(l.Rec.Readers, record.Reader{Leader: l.Net.Called(l.lead), Client: c.region, Served: name, ServedShare: share, EndToEnd: hist.NewLatency(), Produce: produce})
	}
	for _, s := range samples {
		switch {
		case s.Intended < from:
		case !s.Acknowledged():
			failed++
		default:
			produce.Record(s.Acked - s.Intended)
			for i, c := range l.consumers {
				l.Rec.Readers[i].EndToEnd.Record(c.inHand(s.Offset) - s.Intended)
			}
		}
	}
	l.Figure(record.System, "records_unacknowledged", "1", float64(failed))
	if failed > 0 {
		l.Invalid("%d records were never acknowledged", failed)
	}
}
