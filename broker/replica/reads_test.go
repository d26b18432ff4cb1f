package replica_test

import (
	"errors"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
)

func (n *net) mustRead(p *peer, ctx uint64) {
	n.t.Helper()
	if err := p.group.ReadIndex(ctx); err != nil {
		n.t.Fatal(err)
	}
}

// TestReadIndex: a read sees what was committed when it began, and all that wait share a question.
func TestReadIndex(t *testing.T) {
	for _, voters := range []int{1, 3} {
		c := newNet(t, voters)
		p := c.elect(1)
		c.fill(p, 5)
		committed := p.committed
		before := c.sent().Sent
		for ctx := range uint64(10) {
			c.mustRead(p, ctx)
		}
		c.run()
		if len(p.reads) != 10 {
			t.Fatalf("%d voters: %d of 10 reads were answered", voters, len(p.reads))
		}
		for k, r := range p.reads {
			if r.ctx != uint64(k) || r.index != committed || r.err != nil {
				t.Fatalf("%d voters: read %d was answered with %+v, want index %d", voters, k, r, committed)
			}
		}
		if got := c.sent().Sent - before; voters == 3 && got != 8 {
			t.Fatalf("%d messages for ten reads, want two questions of two heartbeats and two answers each", got)
		}
		if voters > 1 {
			if err := c.peers[2].group.ReadIndex(1); !errors.Is(err, replica.ErrNotLeader) {
				t.Fatalf("by a follower: %v, want ErrNotLeader", err)
			}
		}
	}
}

// TestReadIndexWaitsForTheTermsFirstEntry: what is committed is not known before.
func TestReadIndexWaitsForTheTermsFirstEntry(t *testing.T) {
	for _, voters := range []int{1, 3} {
		c := newNet(t, voters)
		p := c.elect(1)
		last := c.mustPropose(p, "committed, and this replica may have forgotten so")
		c.run()
		if voters == 1 {
			c = newNetOn(t, p.disk.crash(1))
		} else {
			c.cut[1] = true
		}
		q := c.peers[id.ReplicaID(min(voters, 2))]
		for _, r := range c.all() {
			r.group.ForgetLeader()
		}
		q.group.Campaign()
		for !q.group.Status().IsLead {
			c.tickOnce()
		}
		c.mustRead(q, 1)
		if voters > 1 && len(q.reads) != 0 { // an only voter goes on until all is written
			t.Fatalf("%d voters: answered %+v, committed is %d of %d", voters, q.reads, q.group.Status().Commit, last)
		}
		c.run()
		if len(q.reads) != 1 || q.reads[0].index <= last {
			t.Fatalf("%d voters: answered %+v, want an index behind %d", voters, q.reads, last)
		}
	}
}

// TestDeposedLeaderAnswersNoReads: it may not know what others have committed since.
func TestDeposedLeaderAnswersNoReads(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	c.cut[1] = true
	c.mustRead(p, 1)
	c.run()
	next := c.elect(2)
	c.fill(next, 3)
	c.mustRead(p, 2)
	c.run()
	if len(p.reads) != 0 {
		t.Fatalf("a leader that was deposed answered %+v", p.reads)
	}
	c.cut[1] = false
	c.tick()
	c.tick()
	if len(p.reads) != 2 || !errors.Is(p.reads[0].err, replica.ErrNotLeader) || !errors.Is(p.reads[1].err, replica.ErrNotLeader) {
		t.Fatalf("when it heard that it is deposed it said %+v, want two errors", p.reads)
	}
}

// TestLostQuestionIsAskedAgain with the next heartbeat.
func TestLostQuestionIsAskedAgain(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	c.drop = func(m pb.Message) bool { return m.Type == pb.MsgHeartbeat }
	c.mustRead(p, 1)
	c.run()
	c.drop = nil
	if len(p.reads) != 0 {
		t.Fatalf("answered %+v without a quorum", p.reads)
	}
	c.tick()
	if len(p.reads) != 1 || p.reads[0].index != p.committed {
		t.Fatalf("answered %+v, want %d", p.reads, p.committed)
	}
}
