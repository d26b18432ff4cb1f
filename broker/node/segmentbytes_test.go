package node

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/topicconfig"
	"ackline/broker/node/config"
	"ackline/broker/partition"
	"ackline/broker/vfs"
)

// inside is a node whose inside the test looks at.
type inside struct {
	*Node
	t *testing.T
}

func openInside(t *testing.T, fs vfs.FS, change ...func(*config.Config)) inside {
	t.Helper()
	cfg := config.Default()
	cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = "/data", "127.0.0.1:0", ""
	cfg.WAL.SyncMethod, cfg.WAL.RingBytes = "direct-dsync", 8<<20
	for _, f := range change {
		f(&cfg)
	}
	n, err := Open(cfg, Options{FS: fs, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return inside{n, t}
}

func (n inside) propose(c meta.Command, refused *meta.Refusal) *meta.Topic {
	n.t.Helper()
	if refused != nil {
		n.t.Fatal(refused)
	}
	result, err := n.meta.Propose(context.Background(), c)
	if err != nil || result.Refused != nil {
		n.t.Fatal(err, result.Refused)
	}
	return result.Topic
}

// create makes a topic with one partition which is open then.
func (n inside) create(topic string) *meta.Topic {
	n.t.Helper()
	topicID, err := meta.NewTopicID(rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	create, refused := n.meta.Catalog().PlanCreateTopic(meta.TopicRequest{Name: topic, Partitions: 1, ReplicationFactor: 1}, meta.Limits{}, topicID)
	made := n.propose(create, refused)
	if err := n.AwaitOpen(n.t.Context(), made); err != nil {
		n.t.Fatal(err)
	}
	return made
}

// produce writes records of 5,000 bytes, one a batch.
func (n inside) produce(topic string, records int) {
	n.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.ListenAddr()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	for range records {
		r := &kgo.Record{Topic: topic, Value: make([]byte, 5000)}
		if err := c.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// cuts takes a checkpoint and says at which offsets the one partition's segments begin.
func (n inside) cuts() (bases []id.Offset) {
	n.t.Helper()
	if err := n.Checkpoint(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	for _, s := range n.hosts.All()[0].Part.Segments() {
		bases = append(bases, s.Base)
	}
	return bases
}

// TestSegmentBytesTakesEffectOnAnOpenPartition changes segment.bytes of a topic that is written to. The next batches go into
// segments of the new size, and a node that replays them from the WAL makes the same ones.
func TestSegmentBytesTakesEffectOnAnOpenPartition(t *testing.T) {
	fs := vfs.NewMem()
	n := openInside(t, fs)
	topicID := n.create("t").ID
	n.produce("t", 10)
	if got := n.cuts(); len(got) != 1 {
		t.Fatalf("segments begin at %v with 50 KB and the default size", got)
	}
	change, refused := n.meta.Catalog().PlanSetConfigs(topicID, []meta.Config{{Key: "segment.bytes", Value: "16384"}}, nil, false, meta.Limits{})
	n.propose(change, refused)
	n.produce("t", 7)
	cut := fs.CrashClone(1) // what was produced last is in the WAL alone
	want := []id.Offset{0, 10, 13, 16}
	if got := n.cuts(); !slices.Equal(got, want) {
		t.Errorf("segments begin at %v, want %v", got, want)
	}
	if got := openInside(t, cut).cuts(); !slices.Equal(got, want) {
		t.Errorf("after a power cut segments begin at %v, want %v", got, want)
	}
}

// TestDefaultSegmentBytesCostNoCommand: the size that a log begins with is what a topic has that sets none.
func TestDefaultSegmentBytesCostNoCommand(t *testing.T) {
	if got := topicconfig.SettingsOf(nil).SegmentBytes; got != partition.DefaultSegmentBytes {
		t.Errorf("segment.bytes is %d by default, a partition begins with %d", got, partition.DefaultSegmentBytes)
	}
}
