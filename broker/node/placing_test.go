package node_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/id"
	"ackline/broker/node/admin"
	"ackline/broker/node/config"
	"ackline/broker/testline"
)

// farApart gives every pair of nodes a line of its own, half of trip long each way; regions are a, b, c, …
func (c *cluster) farApart(trip func(i, j int) time.Duration) {
	lines := map[[2]int]*testline.Line{}
	for i := range c.first {
		for j := range c.first {
			if i != j {
				lines[[2]int{i, j}] = testline.New(c.t, c.raft[j], trip(min(i, j), max(i, j))/2)
			}
		}
	}
	before := c.change
	c.change = func(cfg *config.Config) {
		i := int(cfg.Node.ID) - 1
		cfg.Node.Region = string(rune('a' + i))
		for k, p := range cfg.Cluster.Peers {
			cfg.Cluster.Peers[k].RaftAddr = lines[[2]int{i, int(p.ID) - 1}].Addr
		}
		if before != nil {
			before(cfg)
		}
	}
}

// started starts all nodes and waits until they are one cluster.
func (c *cluster) started() *cluster {
	c.t.Helper()
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	return c
}

// produceFor writes to a partition, one record after the other, until something is so.
func (c *cluster) produceUntil(cl *kgo.Client, topic string, what string, ok func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok() {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
			c.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// With leader_placement = "latency" the leader follows its producers, who say in their client ids where they are.
func TestLeaderGoesToItsProducers(t *testing.T) {
	c := prepareCluster(t, 3)
	c.change = func(cfg *config.Config) {
		cfg.Cluster.LeaderPlacement, cfg.Cluster.LeaderHoldS, cfg.Cluster.LeaderEveryS = config.Latency, 1, 1
		cfg.Cluster.ForwardProduce = true
	}
	// c is near to b, and a is far from both.
	c.farApart(func(i, j int) time.Duration {
		if i == 0 {
			return 40 * time.Millisecond
		}
		return 4 * time.Millisecond
	})
	c.started()
	c.create("events", 1, 3)
	leads := func(n id.NodeID) func() bool { return func() bool { return c.leader("events") == n } }
	until(t, "a leader", func() bool { return c.leader("events") > 0 })
	for _, where := range []struct {
		place string
		to    id.NodeID
	}{{"c", 3}, {"b", 2}} {
		cl := c.client(kgo.ClientID("test@" + where.place))
		c.produceUntil(cl, "events", "its leader to be in "+where.place, leads(where.to))
	}
}

// Nodes 200 ms from each other, with the default times: under load, at rest and under load again nobody takes a leader for dead.
func TestNoElectionAcrossTheWorld(t *testing.T) {
	const trip = 200 * time.Millisecond
	c := prepareCluster(t, 3)
	c.farApart(func(int, int) time.Duration { return trip })
	c.started()
	c.create("events", 6, 3)
	until(t, "leaders, and every way to be measured", func() bool {
		s := c.status(0)
		return s.Counts.Leaderless == 0 && len(s.RoundTrips) == 6 && s.Metadata.Leader > 0
	})
	before, meta := c.leaders(0).Partitions, c.status(0).Metadata
	cl, began := c.client(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for time.Since(began) < 5*time.Second {
		if quiet := time.Since(began); quiet > 2*time.Second && quiet < 4*time.Second {
			<-time.After(4*time.Second - quiet)
		}
		var rs []*kgo.Record
		for i := range 60 {
			rs = append(rs, &kgo.Record{Topic: "events", Partition: int32(i % 6), Value: make([]byte, 1000)})
		}
		if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range c.leaders(0).Partitions {
		if p.Leader != before[i].Leader || p.Epoch != before[i].Epoch {
			t.Errorf("partition %d is led by node %d in epoch %d, it was node %d in %d", i, p.Leader, p.Epoch, before[i].Leader, before[i].Epoch)
		}
	}
	s := c.status(0)
	if s.Metadata.Epoch != meta.Epoch || s.Metadata.Leader != meta.Leader {
		t.Errorf("the metadata are led by %+v, it was %+v", s.Metadata, meta)
	}
	for _, r := range s.RoundTrips {
		if r.LeastUs < trip.Microseconds() {
			t.Errorf("%+v: shorter than the way is", r)
		}
	}
}

// A topic's leaders are in its region from the start, elsewhere while the replica there is away, and back there afterwards; whatever
// leader_placement says.
func TestLeaderRegion(t *testing.T) {
	for _, placement := range []string{config.Spread, config.Latency} {
		t.Run(placement, func(t *testing.T) {
			c := prepareCluster(t, 3)
			c.change = func(cfg *config.Config) {
				cfg.Node.Region = string(rune('a' + cfg.Node.ID - 1))
				cfg.Cluster.BalanceAfterS, cfg.Cluster.LeaderPlacement, cfg.Cluster.LeaderHoldS = 1, placement, 1
			}
			c.started()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			home := "c"
			resp, err := kadm.NewClient(c.client()).CreateTopic(ctx, 4, 3, map[string]*string{"leader.region": &home}, "events")
			if err != nil || resp.Err != nil {
				t.Fatal(err, resp.Err)
			}
			allBy := func(i int, ok func(id.NodeID) bool) func() bool {
				return func() bool {
					l := c.leaders(i)
					return len(l.Partitions) == 4 && !slices.ContainsFunc(l.Partitions, func(p admin.Partition) bool { return !ok(p.Leader) })
				}
			}
			isHome := func(n id.NodeID) bool { return n == 3 }
			until(t, "the region to lead all", allBy(0, isHome))
			c.stop(2)
			until(t, "others to lead", allBy(0, func(n id.NodeID) bool { return n == 1 || n == 2 }))
			c.start(2)
			c.ready()
			until(t, "the region to lead all again", allBy(0, isHome))
		})
	}
}
