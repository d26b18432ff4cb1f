package node

import (
	"context"
	"testing"
	"time"

	"ackline/broker/meta"
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
