package node_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"ackline/broker/id"
	"ackline/broker/node/config"
)

// zoned is three nodes in the zones z1, z2 and z3.
func zoned(t *testing.T) *cluster {
	c := prepareCluster(t, 3)
	c.change = func(cfg *config.Config) { cfg.Node.Zone = fmt.Sprint("z", cfg.Node.ID) }
	return c.started()
}

// fetchOf asks a node for a partition's records from an offset, as a consumer in a rack that waits for nothing.
func fetchOf(t *testing.T, cl *kgo.Client, node id.NodeID, rack string, at int64, epoch int32) kmsg.FetchResponseTopicPartition {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	q := kmsg.NewPtrFetchRequest()
	q.MaxBytes, q.Rack = 1<<20, rack
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = at, 1<<20, epoch
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "events", []kmsg.FetchRequestTopicPartition{part}
	q.Topics = []kmsg.FetchRequestTopic{topic}
	resp, err := cl.Broker(int(node)).Request(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
}

// Who is asked what, and what it says (KIP-392).
func TestFetchFromTheNearest(t *testing.T) {
	c := zoned(t)
	c.create("events", 1, 3)
	names := kversion.Stable()
	names.SetMaxKeyVersion(int16(kmsg.Fetch), 12) // later ones name topics by id
	cl := c.client(kgo.MaxVersions(names))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range 10 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	leader := c.leader("events")
	follower := leader%3 + 1
	near, far := fmt.Sprint("z", follower), fmt.Sprint("z", leader)
	until(t, "the follower to know all", func() bool { return fetchOf(t, cl, follower, near, 0, -1).HighWatermark == 10 })
	epoch := int32(c.leaders(0).Partitions[0].Epoch)
	// Records go to a follower before its first heartbeat may have come, and nobody is sent to a node that was not heard of.
	until(t, "the leader to know that the follower lives", func() bool {
		return fetchOf(t, cl, leader, near, 0, epoch).PreferredReadReplica == int32(follower)
	})
	for _, w := range []struct {
		what  string
		node  id.NodeID
		rack  string
		at    int64
		epoch int32
		code  *kerr.Error
		to    int32 // preferred
		some  bool
	}{
		{"the leader, no rack", leader, "", 0, -1, nil, -1, true},
		{"the leader, its own rack", leader, far, 0, epoch, nil, -1, true},
		{"the leader, a rack without replicas", leader, "z9", 0, epoch, nil, -1, true},
		{"the leader, the follower's rack", leader, near, 0, epoch, nil, int32(follower), false},
		{"the leader, the follower's rack and the end", leader, near, 10, epoch, nil, int32(follower), false},
		{"the leader, the follower's rack and beyond the end", leader, near, 11, epoch, kerr.OffsetOutOfRange, -1, false},
		{"the follower, no rack", follower, "", 0, -1, kerr.NotLeaderForPartition, -1, false},
		{"the follower", follower, near, 0, epoch, nil, -1, true},
		{"the follower, at the end", follower, near, 10, epoch, nil, -1, false},
		{"the follower, beyond what it knows", follower, near, 11, epoch, kerr.OffsetNotAvailable, -1, false},
		{"the follower, before the start", follower, near, -1, epoch, kerr.OffsetOutOfRange, -1, false},
		{"the follower, an older epoch", follower, near, 0, epoch - 1, kerr.FencedLeaderEpoch, -1, false},
		{"the follower, a newer epoch", follower, near, 0, epoch + 1, kerr.UnknownLeaderEpoch, -1, false},
	} {
		p := fetchOf(t, cl, w.node, w.rack, w.at, w.epoch)
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil && w.code != err || err == nil && w.code != nil || p.PreferredReadReplica != w.to ||
			(len(p.RecordBatches) > 0) != w.some {
			t.Errorf("%s: %v, sent to %d, %d bytes", w.what, err, p.PreferredReadReplica, len(p.RecordBatches))
		}
	}
	lists := kmsg.NewPtrListOffsetsRequest()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp = -1
	lists.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "events", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	resp, err := cl.Broker(int(follower)).Request(ctx, lists)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode; kerr.ErrorForCode(code) != kerr.NotLeaderForPartition {
		t.Errorf("the follower tells offsets: %v", kerr.ErrorForCode(code))
	}
}

// A consumer with kgo.Rack reads from the replica there while leaders change, stop and come back: every record once, in order, none that
// was not acknowledged in the end, and from the nearest replica most of it.
func TestConsumerStaysInItsRack(t *testing.T) {
	c := zoned(t)
	c.create("events", 1, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var mu sync.Mutex // guards got
	var got []string
	consumer := c.client(kgo.Rack("z3"), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"events": {0: kgo.NewOffset().At(0)}}),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.RecheckPreferredReplicaInterval(50*time.Millisecond))
	done := make(chan error, 1)
	ended, end := context.WithCancel(ctx)
	go func() {
		for ended.Err() == nil {
			fs := consumer.PollFetches(ended)
			if err := fs.Err(); err != nil && ended.Err() == nil {
				done <- err
				return
			}
			mu.Lock()
			fs.EachRecord(func(r *kgo.Record) {
				for int64(len(got)) < r.Offset { // a record that nobody can read
					got = append(got, "")
				}
				got = append(got, string(r.Value))
			})
			mu.Unlock()
		}
		done <- nil
	}()
	producer, acked := c.client(), []string{}
	produce := func(n int) {
		t.Helper()
		for range n {
			v := fmt.Sprint("record ", len(acked))
			if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			acked = append(acked, v)
		}
	}
	served := func() float64 { return c.fetchBytes(2) }
	all := func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= len(acked) }
	produce(50)
	until(t, "the consumer to have all", all)
	for _, to := range []id.NodeID{1, 2, 3, 1} {
		if err := c.transfer("events", to); err != nil {
			t.Fatal(err)
		}
		produce(30)
	}
	until(t, "the consumer to have all over changes of the leader", all)
	before := served()
	until(t, "the replica in the consumer's rack to serve it while node 1 leads", func() bool { produce(5); return served() > before })
	for _, i := range []int{0, 2, 1} {
		c.stop(i)
		produce(30)
		c.start(i)
		c.ready()
		produce(10)
	}
	until(t, "the consumer to have all over restarts", all)
	end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, acked) {
		t.Errorf("%d records were acknowledged, %d read, or others", len(acked), len(got))
	}
}

// fetchBytes is what a node has served to consumers.
func (c *cluster) fetchBytes(i int) float64 { return c.metric(i, "ackline_fetch_bytes_total") }
