package node_test

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/node/config"
)

// value is what a node says of a topic's configuration key, and whether the topic sets it.
func (c *cluster) value(ctx context.Context, node int32, topic, key string) (value string, set bool) {
	c.t.Helper()
	q := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{key}
	q.Resources = append(q.Resources, r)
	resp, err := q.RequestWith(ctx, c.client().Broker(int(node)))
	if err != nil || len(resp.Resources) != 1 || resp.Resources[0].ErrorCode != 0 || len(resp.Resources[0].Configs) != 1 {
		c.t.Fatalf("node %d, %s of %s: %v, %+v", node, key, topic, err, resp)
	}
	got := resp.Resources[0].Configs[0]
	return *got.Value, got.Source == kmsg.ConfigSourceDynamicTopicConfig
}

// A topic's leaders go where its configuration says, when it says something else, whatever leader_placement is. All nodes know it, and
// one that was away meanwhile too.
func TestLeaderRegionIsChanged(t *testing.T) {
	for _, placement := range []string{config.Spread, config.Latency} {
		t.Run(placement, func(t *testing.T) {
			c := prepareCluster(t, 3)
			c.change = func(cfg *config.Config) {
				cfg.Node.Region = string(rune('a' + cfg.Node.ID - 1))
				cfg.Cluster.BalanceAfterS, cfg.Cluster.LeaderPlacement, cfg.Cluster.LeaderHoldS = 1, placement, 1
			}
			c.started()
			c.create("events", 4, 3)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			leads := func(i int, n id.NodeID) func() bool {
				return func() bool {
					l := c.leaders(i).Partitions
					led := 0
					for _, p := range l {
						if p.Leader == n {
							led++
						}
					}
					return len(l) == 4 && led == 4
				}
			}
			alter := func(op kadm.IncrementalOp, region string) {
				t.Helper()
				resp, err := kadm.NewClient(c.client()).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: "leader.region", Value: &region}}, "events")
				if err != nil || len(resp) != 1 || resp[0].Err != nil {
					t.Fatal(err, resp)
				}
			}
			everywhere := func(want string, wantSet bool) {
				t.Helper()
				for n := range int32(3) {
					if got, set := c.value(ctx, n+1, "events", "leader.region"); got != want || set != wantSet {
						t.Errorf("node %d says leader.region is %q, set: %v; want %q, %v", n+1, got, set, want, wantSet)
					}
				}
			}
			for _, to := range []struct {
				region string
				node   id.NodeID
			}{{"c", 3}, {"b", 2}} {
				alter(kadm.SetConfig, to.region)
				everywhere(to.region, true)
				until(t, "the region to lead all", leads(0, to.node))
			}
			c.stop(0)
			alter(kadm.SetConfig, "c")
			until(t, "another region to lead all", leads(1, 3))
			c.start(0)
			c.ready()
			everywhere("c", true)
			alter(kadm.DeleteConfig, "")
			everywhere("", false)
		})
	}
}

// Whatever else a topic may set is changed in the same way, by either request; what cannot be is refused and named.
func TestAlterConfigs(t *testing.T) {
	c := newCluster(t, 3)
	c.ready() // all are registered, or there are too few for three replicas
	c.create("events", 1, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	adm := kadm.NewClient(c.client())
	text := func(s string) *string { return &s }
	expect := func(when string, want map[string]string) {
		t.Helper()
		got, err := adm.DescribeTopicConfigs(ctx, "events")
		if err != nil || len(got) != 1 {
			t.Fatal(err, got)
		}
		for _, x := range got[0].Configs {
			if v, ok := want[x.Key]; ok != (x.Source == kmsg.ConfigSourceDynamicTopicConfig) || ok && x.MaybeValue() != v {
				t.Errorf("%s: %s is %s from %v, want %q", when, x.Key, x.MaybeValue(), x.Source, v)
			}
		}
	}
	check := func(want *kerr.Error, resp kadm.AlterConfigsResponses, err error) {
		t.Helper()
		if err != nil || len(resp) != 1 || want == nil && resp[0].Err != nil || want != nil && !errors.Is(resp[0].Err, want) {
			t.Fatalf("%v, %+v; want %v", err, resp, want)
		}
	}
	both := []kadm.AlterConfig{{Name: "retention.ms", Value: text("5000")}, {Name: "max.message.bytes", Value: text("1000")}}
	resp, err := adm.AlterTopicConfigs(ctx, both, "events")
	check(nil, resp, err)
	expect("changed", map[string]string{"retention.ms": "5000", "max.message.bytes": "1000"})
	resp, err = adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "cleanup.policy", Value: text("compact")}}, "events")
	check(kerr.InvalidConfig, resp, err)
	resp, err = adm.ValidateAlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: text("1")}}, "events")
	check(nil, resp, err)
	expect("refused, or validated only", map[string]string{"retention.ms": "5000", "max.message.bytes": "1000"})
	resp, err = adm.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "segment.bytes", Value: text("8192")}}, "events")
	check(nil, resp, err)
	expect("replaced", map[string]string{"segment.bytes": "8192"})
	resp, err = adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("1")}}, 1)
	check(kerr.InvalidConfig, resp, err)
	resp, err = adm.AlterTopicConfigs(ctx, both, "nothing")
	check(kerr.UnknownTopicOrPartition, resp, err)
}
