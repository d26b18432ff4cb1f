package replica_test

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/peers"
)

// sent adds up what all replicas sent.
func (n *net) sent() (total peers.Counters) {
	for _, p := range n.all() {
		c := p.group.Counters()
		total.Sent += c.Sent
		total.HeldBack += c.HeldBack
		total.Alone += c.Alone
	}
	return total
}

// TestFourMessagesPerCommittedProposal: two appends and two answers among three voters. That the commit index moved is told
// by the next append.
func TestFourMessagesPerCommittedProposal(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.mustPropose(p, "first")
	c.run()
	before := c.sent()
	const proposals = 100
	for k := range proposals {
		i := c.mustPropose(p, number(k))
		c.run()
		if p.committed != i {
			t.Fatalf("committed %d, want %d", p.committed, i)
		}
	}
	after := c.sent()
	if got := after.Sent - before.Sent; got != 4*proposals {
		t.Fatalf("%d messages for %d proposals, want %d", got, proposals, 4*proposals)
	}
	if got := after.HeldBack - before.HeldBack; got < 2*proposals {
		t.Fatalf("%d appends without entries were held back, want two for each of %d proposals", got, proposals)
	}
	for i := id.ReplicaID(2); i <= 3; i++ {
		if got, want := c.peers[i].committed, p.committed-1; got != want {
			t.Fatalf("replica %d knows %d as committed, want %d: the index that rode on the last append", i, got, want)
		}
	}
}

// TestCommitGoesAloneAfterItsBound: heartbeats are rare here, so that the commit index has nothing to ride on.
func TestCommitGoesAloneAfterItsBound(t *testing.T) {
	c := (&net{t: t, tune: func(cfg *replica.Config) { cfg.ElectionTicks, cfg.HeartbeatTicks, cfg.CommitTicks = 100, 50, 3 }}).open(3)
	p := c.elect(1)
	i := c.mustPropose(p, "x")
	c.run()
	for range 2 {
		c.tick()
		if got := c.peers[2].committed; got >= i {
			t.Fatalf("replica 2 knows of the commit before the bound")
		}
	}
	c.tick()
	for _, r := range []id.ReplicaID{2, 3} {
		if got := c.peers[r].committed; got != i {
			t.Fatalf("replica %d knows %d as committed after three ticks, want %d", r, got, i)
		}
	}
	if got := c.sent().Alone; got != 2 {
		t.Fatalf("%d commit indexes were sent alone, want 2", got)
	}
	for range 10 {
		c.tick()
	}
	if got := c.sent().Alone; got != 2 {
		t.Fatalf("%d commit indexes were sent alone after ten more ticks, want 2", got)
	}
}

// TestHeartbeatResponseIsAnsweredWithAnEmptyAppend: an append is lost. Nothing else is proposed, so only the heartbeat's
// response lets the leader find out, with an append that has no entries.
func TestHeartbeatResponseIsAnsweredWithAnEmptyAppend(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	lost := 0
	c.drop = func(m pb.Message) bool {
		if m.To == 2 && m.Type == pb.MsgApp && len(m.Entries) > 0 && lost == 0 {
			lost++
			return true
		}
		return false
	}
	i := c.mustPropose(p, "x")
	c.run()
	if lost != 1 || c.peers[2].group.Status().Last >= i {
		t.Fatalf("%d appends were lost, replica 2 has %+v", lost, c.peers[2].group.Status())
	}
	c.tick()
	if got := c.peers[2].group.Status(); got.Last != i {
		t.Fatalf("one heartbeat after the loss replica 2 has %+v, want entry %d", got, i)
	}
}

// TestFollowerAcknowledgesWhenItsWriteReturns: not earlier, and not later: nothing else has to happen.
func TestFollowerAcknowledgesWhenItsWriteReturns(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.mustPropose(p, "x")
	q := c.peers[2]
	for _, m := range c.queue {
		if m.To == 2 {
			if err := q.group.Step(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.queue = nil
	q.group.Tick()
	if len(c.queue) != 0 {
		t.Fatalf("before the write %v is sent", c.queue)
	}
	q.wal.Drive()
	if len(c.queue) != 1 || c.queue[0].Type != pb.MsgAppResp || c.queue[0].Index != uint64(q.group.Status().Last) {
		t.Fatalf("when the write has returned %v is sent, want the acknowledgement of %d", c.queue, q.group.Status().Last)
	}
}
