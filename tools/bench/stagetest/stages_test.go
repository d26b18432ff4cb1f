// Package stagetest lets the generator ask the broker where the time went. The two share no code, so that a mistake common to
// one's encoder and the other's decoder cannot cancel out; that they mean the same is seen here, where both may be imported.
package stagetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"ackline/broker/kwire"
	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
	"ackline/loadgen/client"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
	"ackline/loadgen/stages"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// TestTheSameField: one number, one order, one unit.
func TestTheSameField(t *testing.T) {
	if kwire.StagesTag != frame.StagesTag {
		t.Fatalf("the broker's field has number %#x, the generator's %#x", kwire.StagesTag, frame.StagesTag)
	}
	p, err := frame.NewProduce("t", 1, 1000, frame.NewPayloads(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	p.AskStages()
	request := make([]byte, p.Len())
	p.Init(request)
	p.Patch(request, 7, 3, 0, 0, 0)
	h, err := kwire.ParseHeader(request[4:])
	if err != nil {
		t.Fatal(err)
	}
	var asked kwire.ProduceRequest
	if err := asked.Parse(h); err != nil || !asked.AsksStages {
		t.Fatalf("asks: %v, %v", asked.AsksStages, err)
	}
	var e kwire.ProduceResponse
	e.Begin(nil, h, 1)
	e.Topic([]byte("t"), 1)
	e.Partition(kwire.ProducePartition{Partition: 3})
	reply := e.End(0, nil, &kwire.StageTimes{Decode: 1, Propose: 2, Queue: 3, Sync: -1, Quorum: 5, Encode: 6})
	got, err := frame.ParseProduced(reply[4:])
	if want := (frame.Stages{Decode: 1, Propose: 2, Queue: 3, Sync: -1, Quorum: 5, Encode: 6}); err != nil || !got.Told || got.Stages != want {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
}

// sluggish is how long a durable write takes on a slow disk of these tests.
const sluggish = 3 * time.Millisecond

// cluster is brokers in this process, each with a disk in memory.
type cluster struct {
	kafka, raft []string
	slow        []atomic.Bool // which disks are slow
}

func (c *cluster) disk(i int) vfs.FS {
	return vfs.Inject(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Durable && c.slow[i].Load() {
			<-time.After(sluggish)
		}
		return nil
	})
}

func brokers(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{slow: make([]atomic.Bool, n)}
	var listeners []net.Listener
	for range n { // all are held until the last is known
		for _, list := range []*[]string{&c.kafka, &c.raft} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, l)
			*list = append(*list, l.Addr().String())
		}
	}
	for _, l := range listeners {
		l.Close()
	}
	var nodes []*node.Node
	for i := range n {
		nodes = append(nodes, c.start(t, i))
	}
	for _, n := range nodes {
		for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
			ok, why := n.Ready()
			if ok {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("a node is not ready: %s", why)
			}
		}
	}
	return c
}

func (c *cluster) start(t *testing.T, i int) *node.Node {
	t.Helper()
	cfg := config.Default()
	cfg.Node.ID, cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = int32(i+1), "/data", c.kafka[i], ""
	cfg.WAL.SyncMethod, cfg.WAL.RingBytes, cfg.WAL.BatchBytes = "direct-dsync", 16<<20, 64<<10
	if len(c.raft) > 1 {
		cfg.Cluster.Name, cfg.Cluster.RaftAddr = "test", c.raft[i]
		for j, at := range c.raft {
			if j != i {
				cfg.Cluster.Peers = append(cfg.Cluster.Peers, config.Peer{ID: int32(j + 1), RaftAddr: at})
			}
		}
	}
	n, err := node.Open(cfg, node.Options{FS: c.disk(i), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
	})
	return n
}

// load opens a session that asks, in a topic of its own on all nodes.
func (c *cluster) load(t *testing.T, cc client.Config) *run.Session {
	t.Helper()
	cfg := run.Default()
	cc.Timeout, cc.Stages = patience, true
	cfg.Brokers, cfg.Topic, cfg.Replication, cfg.Client = c.kafka, "t", int16(len(c.kafka)), cc
	s, err := run.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// told puts load on s. Nearly all requests must be joined, and their stages make up their response times.
func told(t *testing.T, s *run.Session, arrivals pace.Spec) *result.Stages {
	t.Helper()
	out, err := s.Slice(context.Background(), run.Spec{Arrivals: arrivals, For: time.Second, Discard: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	x := out.Stages
	if x.Acked == 0 || x.Acked != out.Counts.Acked || x.JoinedShare < 0.95 || !x.Usable {
		t.Fatalf("%d of %d joined, usable: %v %s", x.Joined, x.Acked, x.Usable, x.Why)
	}
	if float64(x.NotAddingUp) > 0.01*float64(x.Joined) {
		t.Errorf("%d of %d requests do not add up", x.NotAddingUp, x.Joined)
	}
	for name, m := range map[string]*result.StageMeans{"median": x.Median, "slowest": x.Slowest, "all": x.All} {
		sum := 0.0
		for _, st := range m.Stages {
			sum += st.US
		}
		if math.Abs(sum-m.ResponseUS) > 0.05*m.ResponseUS || m.ResponseUS <= 0 {
			t.Errorf("%s: the stages add up to %g µs of %g", name, sum, m.ResponseUS)
		}
	}
	if mean := out.Latency().Response.MeanUS; math.Abs(x.All.ResponseUS-mean) > 0.02*mean {
		t.Errorf("a response takes %g µs by the stages and %g by the histogram", x.All.ResponseUS, mean)
	}
	if len(x.Worst) != stages.Worst {
		t.Errorf("%d worst", len(x.Worst))
	}
	t.Log(describe(x.Median))
	return x
}

func describe(m *result.StageMeans) string {
	text := fmt.Sprintf("%.0f µs:", m.ResponseUS)
	for _, s := range m.Stages {
		text += fmt.Sprintf(" %s %.0f", s.Stage, s.US)
	}
	return text
}

const sluggishUS = float64(sluggish / time.Microsecond)

// TestSlowSync: the disk's time is in sync, and with more in flight than a write takes in, in the wait for the next write.
func TestSlowSync(t *testing.T) {
	c := brokers(t, 1)
	one, many := c.load(t, client.Config{}), (*run.Session)(nil)
	c.slow[0].Store(true)
	m := told(t, one, pace.Spec{Kind: pace.Constant, RatePerSecond: 100}).Median
	if got := m.Stages[stages.Sync].US; got < sluggishUS {
		t.Errorf("sync takes %g µs on a disk that takes %g", got, sluggishUS)
	}
	for _, other := range []stages.Stage{stages.Decode, stages.Propose, stages.BatchWait, stages.Quorum, stages.Reply} {
		if got := m.Stages[other].US; got > sluggishUS/2 {
			t.Errorf("%v takes %g µs with one request in flight, when it is the disk that is slow", other, got)
		}
	}
	c.slow[0].Store(false)
	one.Close()
	many = c.load(t, client.Config{Connections: 4, InFlight: 4})
	c.slow[0].Store(true)
	m = told(t, many, pace.Spec{Kind: pace.Poisson, RatePerSecond: 1000, Seed: 1}).Median
	if got := m.Stages[stages.BatchWait].US; got < sluggishUS/10 {
		t.Errorf("with many in flight, the wait for a batch takes %g µs", got)
	}
}

// TestSlowFollowers: what a leader waits for, with a quick disk of its own, is the quorum. It does not wait for its own disk when
// others make the quorum.
func TestSlowFollowers(t *testing.T) {
	c := brokers(t, 3)
	s := c.load(t, client.Config{})
	leader := int(s.Effective().Connections[0].Node) - 1
	slow := func(leaders bool) {
		for i := range c.slow {
			c.slow[i].Store((i == leader) == leaders)
		}
	}
	slow(false)
	m := told(t, s, pace.Spec{Kind: pace.Constant, RatePerSecond: 100}).Median
	if quorum, sync := m.Stages[stages.Quorum].US, m.Stages[stages.Sync].US; quorum < sluggishUS/2 || sync > quorum/2 {
		t.Errorf("slow followers: quorum %g µs and sync %g of %g", quorum, sync, m.ResponseUS)
	}
	slow(true)
	m = told(t, s, pace.Spec{Kind: pace.Constant, RatePerSecond: 100}).Median
	if sync := m.Stages[stages.Sync].US; sync > sluggishUS/2 {
		t.Errorf("slow leader: sync takes %g µs of a disk that takes %g, although the quorum is made without it", sync, sluggishUS)
	}
	for i := range c.slow {
		c.slow[i].Store(false)
	}
}
