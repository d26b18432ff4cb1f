package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"ackline/broker/meta"
	"ackline/broker/seglog"
	"ackline/broker/vfs"
)

// TestMetadataCommandsAloneDoNotFillTheRing: nothing but metadata is written, and more of it than the ring takes. Each command is a
// block of the ring at least.
func TestMetadataCommandsAloneDoNotFillTheRing(t *testing.T) {
	n := openInside(t, vfs.NewMem(), atLeast(1<<20))
	_, usable := n.wal.Usage()
	for range 2 * usable / vfs.BlockSize {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := n.meta.Propose(ctx, meta.IssueProducerIDs{Count: 1})
		if cancel(); err != nil {
			t.Fatal(err)
		}
	}
	if n.checkpoints.Snapshot().Count() == 0 {
		t.Error("there was no checkpoint")
	}
}

// TestFullDiskUnderTheMetadata: a snapshot of the metadata that finds no space is written once there is some, and the node goes on; it
// used to end, as for a disk of which nothing is known.
func TestFullDiskUnderTheMetadata(t *testing.T) {
	fs := vfs.NewMem()
	n := openInside(t, fs, atLeast(1<<20))
	if err := n.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.propose(meta.IssueProducerIDs{Count: 1}, nil)
	fs.SetCapacity(1)
	if err := n.Checkpoint(t.Context()); !errors.Is(err, seglog.ErrNoSpace) {
		t.Errorf("a checkpoint without space: %v", err)
	}
	if err := n.Err(); err != nil {
		t.Fatalf("the node has ended: %v", err)
	}
	fs.SetCapacity(0)
	if err := n.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
	if ok, why := n.Ready(); !ok {
		t.Errorf("the node is not ready with space again: %s", why)
	}
}
