package node

import (
	"context"
	"crypto/rand"
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/vfs"
)

// TestDeletedDuringFlush: a topic may be deleted between the moment at which a flush or a checkpoint finds its partition and
// the moment at which it writes. The segments are closed then, which is no reason to end the node.
func TestDeletedDuringFlush(t *testing.T) {
	n := openInside(t, vfs.NewMem())
	topicID, err := meta.NewTopicID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	create, refused := n.meta.Catalog().PlanCreateTopic(meta.TopicRequest{Name: "t", Partitions: 1, ReplicationFactor: 1}, meta.Limits{}, topicID)
	if err := n.AwaitOpen(context.Background(), n.propose(create, refused)); err != nil {
		t.Fatal(err)
	}
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
