//go:build !race

package engine

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport"
)

// What the engine does for a burst of messages of several groups, beside raft, allocates nothing.
func TestRoutingAllocatesNothing(t *testing.T) {
	n := soloNode(t, New(Config{Node: 1}))
	n.add(1)
	n.add(2)
	var ms []transport.GroupMessage
	for i := range 16 { // from where they cannot come from, so that raft does not see them
		g := 1 + i%2
		ms = append(ms, transport.GroupMessage{Group: id.GroupID(g), Message: pb.Message{
			Type: pb.MsgHeartbeat, From: uint64(10*g + 2), To: uint64(10*g + 1)}})
	}
	n.e.Messages(3, ms)
	if got := testing.AllocsPerRun(1000, func() { n.e.Messages(3, ms) }); got > 0.1 {
		t.Errorf("%.2f allocations for a burst", got)
	}
}
