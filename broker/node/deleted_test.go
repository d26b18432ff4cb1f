package node

import (
	"context"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// TestDeletedDuringFlush: a topic may be deleted between the moment at which a flush or a checkpoint finds its partition and
// the moment at which it writes. The segments are closed then, which is no reason to end the node.
func TestDeletedDuringFlush(t *testing.T) {
	n := openInside(t, vfs.NewMem())
	n.create("t")
	n.produce("t", 10)
	r := n.hosts.All()[0]
	if _, bytes := r.Part.Pending(); bytes == 0 {
		t.Fatal("nothing is pending after 10 batches")
	}
	r.Group.Stop()
	if err := r.Part.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.hosts.Remove(r.ID) }) // Close would find it closed
	n.flushLarge([]id.GroupID{r.ID})
	if err := n.Checkpoint(context.Background()); err != nil {
		t.Error(err)
	}
	if err := n.Err(); err != nil {
		t.Error("the node ended: ", err)
	}
}
