package node_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/testaddr"
	"ackline/broker/vfs"
)

// cluster is several nodes in one process, on memory files and loopback links.
type cluster struct {
	t     *testing.T
	fs    []vfs.FS
	nodes []*node.Node // nil: stopped
	kafka []string     // stays over restarts
	raft  []string
	first int          // nodes that it began with
	tls   []config.TLS // nil: without
	log   io.Writer    // nil: nobody reads it

	change func(*config.Config) // nil: nothing
}

func testLog() *slog.Logger {
	if os.Getenv("ACKLINE_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// newCluster starts n nodes, which do not know one another yet when it returns.
func newCluster(t *testing.T, n int) *cluster {
	c := prepareCluster(t, n)
	for i := range n {
		c.start(i)
	}
	return c
}

// prepareCluster starts none of the nodes.
func prepareCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, nodes: make([]*node.Node, n), first: n}
	c.addresses(n)
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(i)
		}
	})
	return c
}

// loggedCluster is three nodes with a topic of one partition on all of them, and what they log. tls has a row for each node, or none.
func loggedCluster(t *testing.T, tls ...config.TLS) (*cluster, *lockedLog) {
	t.Helper()
	c, log := prepareCluster(t, 3), &lockedLog{}
	c.log, c.tls = log, tls
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("what the nodes said until they were stopped:\n" + strings.Join(log.lines(""), ""))
		}
	})
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	c.create("events", 1, 3)
	return c, log
}

// addresses gives so many nodes more a place.
func (c *cluster) addresses(n int) {
	c.t.Helper()
	for range n {
		c.fs = append(c.fs, vfs.NewMem())
		c.kafka, c.raft = append(c.kafka, testaddr.Next(c.t)), append(c.raft, testaddr.Next(c.t))
	}
}

// another makes room for one more node, which is not started, and returns its index.
func (c *cluster) another() int {
	c.t.Helper()
	c.addresses(1)
	c.nodes = append(c.nodes, nil)
	return len(c.nodes) - 1
}

func (c *cluster) start(i int) {
	c.t.Helper()
	cfg := config.Default()
	cfg.Node.ID, cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = int32(i+1), "/data", c.kafka[i], "127.0.0.1:0"
	cfg.WAL.SyncMethod, cfg.WAL.RingBytes, cfg.WAL.BatchBytes = "direct-dsync", 4<<20, 64<<10
	cfg.Cluster.Name, cfg.Cluster.RaftAddr = "test", c.raft[i]
	cfg.Cluster.Join = i >= c.first
	for j := range c.first {
		if j != i {
			cfg.Cluster.Peers = append(cfg.Cluster.Peers, config.Peer{ID: int32(j + 1), RaftAddr: c.raft[j]})
		}
	}
	if c.tls != nil {
		cfg.Cluster.TLS = c.tls[i]
	}
	if c.change != nil {
		c.change(&cfg)
	}
	log := testLog()
	if c.log != nil {
		log = slog.New(slog.NewTextHandler(c.log, nil))
	}
	n, err := node.Open(cfg, node.Options{FS: c.fs[i], Log: log.With("node", i+1)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = n
}

func (c *cluster) stop(i int) {
	if c.nodes[i] == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.nodes[i].Close(ctx); err != nil {
		c.t.Errorf("node %d: %v", i+1, err)
	}
	c.nodes[i] = nil
}

func (c *cluster) ready() {
	c.t.Helper()
	until(c.t, "the cluster to be ready", func() bool {
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			if ok, _ := n.Ready(); !ok {
				return false
			}
		}
		return true
	})
}

func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.kafka...), kgo.ProducerLinger(0), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression())}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *cluster) create(topic string, partitions int32, factor int16) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := kadm.NewClient(c.client()).CreateTopic(ctx, partitions, factor, nil, topic)
	if err != nil || resp.Err != nil {
		c.t.Fatal(err, resp.Err)
	}
}

func TestThreeNodesFormOneCluster(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 4, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, acked := c.client(), newLedger()
	for i := range 200 {
		r := &kgo.Record{Topic: "events", Partition: int32(i % 4), Value: fmt.Appendf(nil, "record %d", i)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		acked.ack(r)
	}
	for i, n := range c.nodes {
		if got := n.Cluster(); got.ID == "" || got != c.nodes[0].Cluster() {
			t.Errorf("node %d sees %+v, node 1 %+v", i+1, got, c.nodes[0].Cluster())
		}
	}
	acked.check(t, c.nodes[1], "events", 4)
}

func TestAnyNodeMayStopAndComeBack(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 3, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, acked := c.client(), newLedger()
	total := 0
	produce := func(n int) {
		t.Helper()
		for range n {
			total++
			r := &kgo.Record{Topic: "events", Partition: int32(total % 3), Value: fmt.Appendf(nil, "record %d", total)}
			if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			acked.ack(r)
		}
	}
	produce(30)
	for i := range c.nodes {
		c.stop(i)
		produce(30)
		c.start(i)
		c.ready()
		produce(30)
	}
	acked.check(t, c.nodes[0], "events", 3)
}

// A follower that comes back gets what it lacks in large messages, and many of them in one read: none of what they add to a
// batch of its WAL may exceed what a small ring takes.
func TestFollowerCatchesUpInASmallRing(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 1, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, acked := c.client(kgo.MaxBufferedRecords(16)), newLedger()
	if err := p.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte("first")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c.stop(2)
	for i := range 150 {
		value := append(fmt.Appendf(nil, "record %d ", i), make([]byte, 10<<10)...)
		r := &kgo.Record{Topic: "events", Value: value}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		acked.ack(r)
	}
	c.start(2)
	c.ready()
	c.stop(0) // now what the third has is needed for a majority
	if err := p.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte("last")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[2].Err(); err != nil {
		t.Fatal(err)
	}
}

// TestReadyMeansThatATopicMayHaveAllReplicas: who says that it is ready knows every node.
func TestReadyMeansThatATopicMayHaveAllReplicas(t *testing.T) {
	c := newCluster(t, 3)
	until(t, "all nodes to be ready", func() bool {
		all := true
		for i, n := range c.nodes {
			ok, _ := n.Ready()
			if known := n.Cluster().Nodes; ok && known != len(c.nodes) {
				t.Fatalf("node %d is ready and knows %d nodes", i+1, known)
			}
			all = all && ok
		}
		return all
	})
}

// TestLeadershipsGoBack: to the nodes that placements name first, once those are back for long enough.
func TestLeadershipsGoBack(t *testing.T) {
	const partitions = 12
	c := prepareCluster(t, 3)
	c.change = func(cfg *config.Config) { cfg.Cluster.BalanceAfterS = 1 }
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	c.create("events", partitions, 3)
	each := func() (led [3]int) {
		l := c.leaders(0)
		for _, p := range l.Partitions {
			if p.Leader > 0 {
				led[p.Leader-1]++
			}
		}
		return led
	}
	even := [3]int{partitions / 3, partitions / 3, partitions / 3}
	until(t, "every node to lead its share", func() bool { return each() == even })
	for i := range c.nodes {
		c.stop(i)
		until(t, "the others to lead", func() bool {
			led := c.leaders((i + 1) % 3)
			return led.Leaderless == 0
		})
		c.start(i)
	}
	c.ready()
	until(t, "every node to lead its share again", func() bool { return each() == even })
}

// metric is what a node says under a name that has no labels.
func (c *cluster) metric(i int, name string) (value float64) {
	c.t.Helper()
	resp, err := http.Get("http://" + c.nodes[i].HTTPAddr() + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if n, err := fmt.Sscanf(lines.Text(), name+" %g", &value); n == 1 && err == nil {
			return value
		}
	}
	c.t.Fatal("there is no " + name)
	return 0
}
