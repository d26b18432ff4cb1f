package launch

import (
	"context"
	"errors"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// nodes are brokers with the topic that is measured.
func (l *launch) nodes(b *target.Brokers) target.Nodes {
	return target.Nodes{Brokers: b, Topic: topic, Timeout: l.Scenario.Workload.Timeout()}
}

// stayed notes when somebody else leads in the end: then a launch had an election in it, and what counts as the leader's was
// partly another's.
func (c *contest) stayed(ctx context.Context, b *target.Brokers) error {
	lead, err := c.leads(ctx, b)
	if err == nil && lead != c.lead {
		c.Invalid("the partition was led by node %d in the beginning and by node %d in the end: an election came between", c.lead+1, lead+1)
	}
	return err
}

// linkSlice is how long the links' round trip is measured for.
const linkSlice = 200 * time.Millisecond

// roundTrip measures what the links between the nodes take by themselves, with the frames that the client sends: all are loopback.
func (c *contest) roundTrip(ctx context.Context) (err error) {
	c.step("the links' round trip")
	bare, err := c.startEcho(ctx, 0, c.loads[record.System].ReplyBytes(), "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Stop(target.StopTimeout)) }()
	w := c.Scenario.Workload
	w.Connections, w.InFlight, w.Arrivals, w.RatePerSecond = 1, 1, "closed", 0
	tcp, err := session.OpenFloor(ctx, w, bare.Addr, c.topic, c.sub(3))
	if err != nil {
		return err
	}
	defer tcp.Close()
	smp, err := tcp.Slice(ctx, session.Stretch{Length: linkSlice, Seed: c.sub(5)})
	if err != nil {
		return err
	}
	c.Figure(record.Host, "link_round_trip_us_p50", "us", smp.P50us())
	return nil
}
