package node

import (
	"crypto/rand"
	"testing"
	"time"

	"ackline/broker/meta"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
)

// What a partition gathers goes to its segment ahead of any checkpoint once it is enough, and what a restart finds of it too.
func TestEnoughIsFlushedAheadOfACheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	atLeast := func(bytes int64) func(*config.Config) {
		return func(c *config.Config) { c.Storage.FlushBytes, c.Storage.CheckpointIntervalS = bytes, 3600 }
	}
	n := openInside(t, fs, atLeast(1<<20))
	topicID, err := meta.NewTopicID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	create, refused := n.meta.Catalog().PlanCreateTopic(meta.TopicRequest{Name: "t", Partitions: 1, ReplicationFactor: 1}, meta.Limits{}, topicID)
	if err := n.AwaitOpen(t.Context(), n.propose(create, refused)); err != nil {
		t.Fatal(err)
	}
	n.produce("t", 10)
	if got := n.flushedBytes.Load(); got != 0 {
		t.Fatalf("%d bytes are flushed, and there are less than 1 MiB", got)
	}
	again := openInside(t, fs.Clone(), atLeast(30_000))
	again.awaitFlushed(50_000)
	again.produce("t", 10)
	again.awaitFlushed(80_000)
}

// awaitFlushed waits until as many bytes are flushed, without a checkpoint.
func (n inside) awaitFlushed(bytes uint64) {
	n.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); n.flushedBytes.Load() < bytes; <-tick.C {
		if time.Now().After(deadline) {
			n.t.Fatalf("%d bytes are flushed, want %d", n.flushedBytes.Load(), bytes)
		}
	}
	if n.checkpoints.Snapshot().Count() != 0 {
		n.t.Fatal("there was a checkpoint")
	}
}
