package node_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// open starts a node on a file system, with a ring so small that a test wraps it.
func open(t *testing.T, fs vfs.FS, mod ...func(*config.Config)) *node.Node {
	t.Helper()
	cfg := config.Default()
	cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = "/data", "127.0.0.1:0", ""
	cfg.WAL.SyncMethod, cfg.WAL.RingBytes, cfg.WAL.BatchBytes = "direct-dsync", 2<<20, 32<<10
	for _, m := range mod {
		m(&cfg)
	}
	n, err := node.Open(cfg, node.Options{FS: fs, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func closeNode(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, n *node.Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(n.ListenAddr()), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func createTopic(t *testing.T, n *node.Node, name string, partitions int32) {
	t.Helper()
	c := client(t, n)
	defer c.Close()
	resp, err := kadm.NewClient(c).CreateTopic(context.Background(), partitions, 1, nil, name)
	if err != nil || resp.Err != nil {
		t.Fatal(err, resp.Err)
	}
}

// ledger is what was acknowledged: value by partition and offset.
type ledger struct {
	mu    sync.Mutex
	acked map[int32]map[int64]string
}

func newLedger() *ledger { return &ledger{acked: map[int32]map[int64]string{}} }

func (l *ledger) ack(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.acked[r.Partition]
	if m == nil {
		m = map[int64]string{}
		l.acked[r.Partition] = m
	}
	m[r.Offset] = string(r.Value)
}

func (l *ledger) clone() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	for p, m := range l.acked {
		c.acked[p] = map[int64]string{}
		for o, v := range m {
			c.acked[p][o] = v
		}
	}
	return c
}

func (l *ledger) len() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.acked {
		n += len(m)
	}
	return n
}

// check reads everything back and compares: each acknowledged record once, at its offset, with its bytes; offsets without
// a hole; no value twice.
func (l *ledger) check(t *testing.T, n *node.Node, topic string, partitions int32) {
	t.Helper()
	c := client(t, n)
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		end, ok := ends.Lookup(topic, p)
		if !ok || end.Err != nil {
			t.Fatalf("partition %d: end offset: %v, %v", p, ok, end.Err)
		}
		got := readPartition(t, n, topic, p, end.Offset)
		seen := map[string]int64{}
		for o, v := range got {
			if at, twice := seen[v]; twice {
				t.Fatalf("partition %d: %q stands at offsets %d and %d", p, v, at, o)
			}
			seen[v] = o
		}
		for o, v := range l.acked[p] {
			if got[o] != v {
				t.Fatalf("partition %d offset %d (of %d): %q was acknowledged, %q is there", p, o, end.Offset, v, got[o])
			}
		}
	}
}

func readPartition(t *testing.T, n *node.Node, topic string, p int32, end int64) map[int64]string {
	t.Helper()
	got := map[int64]string{}
	if end == 0 {
		return got
	}
	c := client(t, n, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(0)}}),
		kgo.FetchMaxWait(100*time.Millisecond))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for next := int64(0); next < end; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("partition %d: %d of %d records read: %v", p, next, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next {
				t.Fatalf("partition %d: offset %d where %d is next", p, r.Offset, next)
			}
			got[r.Offset] = string(r.Value)
			next++
		})
	}
	return got
}

// nightly multiplies a number of rounds when the long suites are asked for.
func nightly(rounds, long int) int {
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		return long
	}
	return rounds
}

// TestPowerCutLosesNothingAcknowledged writes with several producers, cuts the power at some moment, and looks at what a new
// node finds on the disk: again and again, each time on what the last cut left.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	const topic, partitions = "t", 3
	for seed := range uint64(nightly(3, 100)) {
		fs := vfs.NewMem()
		acked := newLedger()
		for round := range uint64(4) {
			n := open(t, fs)
			if round == 0 {
				createTopic(t, n, topic, partitions)
			}
			acked.check(t, n, topic, partitions)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for p := range int32(partitions) {
				wg.Add(1)
				go func() {
					defer wg.Done()
					produceUntil(t, n, topic, p, fmt.Sprintf("%d/%d/%d", seed, round, p), acked, stop)
				}()
			}
			target := acked.len() + 200 + int(seed*37+round*61)%400
			for acked.len() < target && !t.Failed() { // a producer that failed has ended
				time.Sleep(time.Millisecond)
			}
			sure := acked.clone() // acknowledged before the cut
			cut := fs.CrashClone(seed<<8 | round)
			close(stop)
			wg.Wait()
			closeNode(t, n)
			fs, acked = cut, sure
		}
		n := open(t, fs)
		acked.check(t, n, topic, partitions)
		closeNode(t, n)
	}
}

// produceUntil produces one record after another and notes those that are acknowledged.
func produceUntil(t *testing.T, n *node.Node, topic string, p int32, name string, acked *ledger, stop chan struct{}) {
	c := client(t, n)
	defer c.Close()
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		default:
		}
		value := name + "/" + strconv.Itoa(k) + "/" + string(make([]byte, k%3000))
		r, err := c.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}).First()
		if err != nil {
			t.Errorf("produce: %v", err)
			return
		}
		acked.ack(r)
	}
}

// TestCleanStopLeavesNothingInTheWAL checks that a graceful stop moves everything into segments and that the next start finds
// it there.
func TestCleanStopLeavesNothingInTheWAL(t *testing.T) {
	fs := vfs.NewMem()
	n := open(t, fs)
	createTopic(t, n, "t", 2)
	acked := newLedger()
	c := client(t, n)
	for k := range 300 {
		r, err := c.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Partition: int32(k % 2), Value: []byte(strconv.Itoa(k))}).First()
		if err != nil {
			t.Fatal(err)
		}
		acked.ack(r)
	}
	c.Close()
	closeNode(t, n)
	n = open(t, fs)
	for _, g := range n.Recovery.Groups {
		if g.Last != g.Flushed {
			t.Fatalf("after a clean stop group %d has entries %d to %d in the WAL alone", g.Group, g.Flushed+1, g.Last)
		}
	}
	acked.check(t, n, "t", 2)
	closeNode(t, n)
}

// TestDeleteAndRecreateDoesNotMixOldBytesIn is failure mode 15: two deletions and creations of one name.
func TestDeleteAndRecreateDoesNotMixOldBytesIn(t *testing.T) {
	fs := vfs.NewMem()
	n := open(t, fs)
	for round := range 3 {
		createTopic(t, n, "again", 1)
		c := client(t, n)
		for k := range 20 {
			v := fmt.Sprintf("round %d record %d", round, k)
			if err := c.ProduceSync(context.Background(), &kgo.Record{Topic: "again", Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		got := readPartition(t, n, "again", 0, 20)
		for o, v := range got {
			if want := fmt.Sprintf("round %d record %d", round, o); v != want {
				t.Fatalf("offset %d is %q, want %q", o, v, want)
			}
		}
		if round == 2 {
			c.Close()
			break
		}
		if _, err := kadm.NewClient(c).DeleteTopics(context.Background(), "again"); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if round == 0 {
			// A restart between the two, from what a power cut leaves.
			cut := fs.CrashClone(7)
			closeNode(t, n)
			fs = cut
			n = open(t, fs)
		}
	}
	closeNode(t, n)
}
