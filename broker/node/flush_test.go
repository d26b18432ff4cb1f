package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
)

// atLeast is how much a partition gathers before it is flushed; there are no checkpoints.
func atLeast(bytes int64) func(*config.Config) {
	return func(c *config.Config) { c.Storage.FlushBytes, c.Storage.CheckpointIntervalS = bytes, 3600 }
}

// What a partition gathers goes to its segment ahead of any checkpoint once it is enough, and what a restart finds of it too.
func TestEnoughIsFlushedAheadOfACheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	n := openInside(t, fs, atLeast(1<<20))
	n.create("t")
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

// What could not be flushed for want of space is tried again without more being written, and so is what is not open yet.
func TestFlushIsTriedAgain(t *testing.T) {
	fs := vfs.NewMem()
	n := openInside(t, fs, atLeast(30_000))
	n.create("t")
	fs.SetCapacity(1)
	n.produce("t", 10)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !n.full.Load() {
		<-tick.C
	}
	fs.SetCapacity(0)
	n.awaitFlushed(50_000)

	const notOpen = id.GroupID(1 << 40)
	n.backlog.Add(notOpen)
	n.flushLarge([]id.GroupID{notOpen})
	for !slices.Contains(n.backlog.TakeLarge(nil), notOpen) { // flushLoop has it just now
		<-tick.C
	}
	n.backlog.Remove(notOpen)
}

// What comes while a checkpoint writes is enough for a flush of its own, and is flushed as soon as there is time: the partition, which
// has had enough all along, does not say so again, and by the next checkpoint memory would have let go of it.
func TestWhatComesDuringACheckpointIsFlushed(t *testing.T) {
	var mu sync.Mutex
	gates := map[id.GroupID]*gate{}
	fs := vfs.Inject(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind != vfs.OpWrite || !strings.HasSuffix(op.Name, ".seg") {
			return nil
		}
		var at *gate
		mu.Lock()
		for g := range gates {
			if strings.Contains(op.Name, fmt.Sprintf("/groups/%d/", g)) {
				at = gates[g]
			}
		}
		mu.Unlock()
		if at != nil {
			at.pass()
		}
		return nil
	})
	n := openInside(t, fs, atLeast(30_000))
	hold := func(topic string) (id.GroupID, *gate) {
		g, at := n.create(topic).Partitions[0].Group, &gate{came: make(chan struct{}), open: make(chan struct{})}
		mu.Lock()
		defer mu.Unlock()
		gates[g] = at
		return g, at
	}
	_, other := hold("other")
	g, at := hold("t")
	n.produce("other", 10)
	<-other.came // flushLoop is busy
	n.produce("t", 10)
	checkpoint := make(chan error, 1)
	go func() {
		_, err := n.checkpointGroup(g)
		checkpoint <- err
	}()
	<-at.came
	n.produce("t", 10)
	close(at.open)
	if err := <-checkpoint; err != nil {
		t.Fatal(err)
	}
	close(other.open)
	n.awaitFlushed(110_000) // 50,000 of t would be missing; ends of less than 30,000 may be
}

// gate holds up the first who passes it.
type gate struct {
	once       sync.Once
	came, open chan struct{}
}

func (g *gate) pass() {
	g.once.Do(func() { close(g.came) })
	<-g.open
}

// A replica of which nothing is stored, in a catalog that may be old, is not opened: it may have been deleted since, and would
// come back empty and vote a second time. Once the catalog is known to be current it is a new one.
func TestReplicaOfAnOldCatalogIsNotOpened(t *testing.T) {
	n := openInside(t, vfs.NewMem())
	g := n.create("t").Partitions[0].Group
	if err := n.deleteGroup(g, n.hosts.Get(g).Self); err != nil {
		t.Fatal(err)
	}
	n.settled.Store(false)
	n.align(g)
	if n.hosts.Get(g) != nil {
		t.Error("a replica whose tombstone is stored was opened by a catalog that may be old")
	}
	n.settled.Store(true)
	n.align(g)
	if n.hosts.Get(g) == nil {
		t.Error("a replica that the catalog names was not opened")
	}
}
