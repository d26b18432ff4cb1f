package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/cluster"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// leader is the number of the node that leads the topic's first partition.
func (l *launch) leader(ctx context.Context, b *target.Brokers) (int, error) {
	if len(b.Nodes) == 1 {
		return 0, nil
	}
	c, err := cluster.New(b.Addrs(), l.Scenario.Workload.Timeout())
	if err != nil {
		return 0, err
	}
	t, err := c.Topic(ctx, topic)
	if err != nil {
		return 0, err
	}
	lead := int(t.Partitions[0].Leader) - 1
	if lead < 0 || lead >= len(b.Nodes) {
		return 0, fmt.Errorf("partition 0 is led by node %d, there are %d", lead+1, len(b.Nodes))
	}
	return lead, nil
}

// stayed notes when somebody else leads in the end: then a launch had an election in it, and what counts as the leader's was
// partly another's.
func (c *contest) stayed(ctx context.Context, b *target.Brokers) error {
	lead, err := c.leader(ctx, b)
	if err == nil && lead != c.lead {
		c.invalid("the partition was led by node %d in the beginning and by node %d in the end: an election came between", c.lead+1, lead+1)
	}
	return err
}

// linkSlice is how long the links' round trip is measured for.
const linkSlice = 200 * time.Millisecond

// roundTrip measures what the links between the nodes take by themselves, with the frames that the client sends: all are loopback.
func (c *contest) roundTrip(ctx context.Context) (err error) {
	c.step("the links' round trip")
	bare, err := c.startEcho(ctx, 0, c.loads[record.System].replyBytes(), "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Stop(target.StopTimeout)) }()
	w := c.Scenario.Workload
	w.Connections, w.InFlight, w.Arrivals, w.RatePerSecond = 1, 1, "closed", 0
	tcp, err := openFloor(ctx, w, bare.Addr, c.sub(3))
	if err != nil {
		return err
	}
	defer tcp.close()
	smp, err := tcp.slice(ctx, stretch{length: linkSlice, seed: c.sub(5)})
	if err != nil {
		return err
	}
	c.figure(record.Host, "link_round_trip_us_p50", "us", smp.p50us())
	return nil
}

// between is what each node counted meanwhile.
func between(before, after []target.Metrics) []target.Metrics {
	out := make([]target.Metrics, len(after))
	for i := range after {
		out[i] = after[i].Sub(before[i])
	}
	return out
}

// summed are the values of all nodes together.
func summed(nodes []target.Metrics) map[string]float64 {
	out := map[string]float64{}
	for _, m := range nodes {
		for name, v := range m.Values {
			out[name] += v
		}
	}
	return out
}
