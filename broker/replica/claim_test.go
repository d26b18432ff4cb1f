package replica_test

import (
	"errors"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// TestClaim: a voter that claims the lead gets it, unless it lacks much, is about to stop, speaks of an earlier term, or no longer
// is a voter. The leader goes on then, without a moment in which it takes no proposals.
func TestClaim(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	claim := func(what string, leads bool) {
		t.Helper()
		q := c.peers[3]
		term := p.group.Status().Term
		q.group.Claim()
		c.run()
		if s := q.group.Status(); s.IsLead != leads {
			t.Fatalf("%s: it leads: %t, want %t; %+v", what, s.IsLead, leads, s)
		}
		if s := p.group.Status(); !leads && (!s.IsLead || s.Term != term) {
			t.Fatalf("%s: the leader is disturbed: %+v", what, s)
		}
		if !leads {
			c.mustPropose(p, "goes on")
			c.run()
		}
	}
	c.cut[3] = true
	c.fill(p, 150)
	c.drop = func(m pb.Message) bool { return m.To == 3 && m.Type == pb.MsgApp } // it will hear who leads, and nothing else
	c.cut[3] = false
	claim("it lacks 150 entries", false)
	c.drop = nil
	for range 5 {
		c.tick()
	}
	c.peers[3].group.Yield(true)
	claim("it is about to stop", false)
	c.peers[3].group.Yield(false)
	old := pb.Message{Type: pb.MsgTransferLeader, To: 1, From: 3, Term: uint64(p.group.Status().Term) - 1}
	if err := p.group.Step(old); !errors.Is(err, replica.ErrRefused) {
		t.Fatalf("a claim of an earlier term: %v", err)
	}
	claim("it has everything", true)
	want := p.data()
	c.mustPropose(c.peers[3], "after")
	c.run()
	c.tick()
	c.tick()
	c.same(append(want, "after"), 1, 2, 3)

	p = c.peers[3]
	if _, _, err := p.group.Change(membership.Change{Replica: 4, To: membership.Learner}); err != nil {
		t.Fatal(err)
	}
	c.run()
	c.start(4, newDisk(), 3)
	for range 5 {
		c.tick()
	}
	c.same(append(want, "after"), 4)
	c.peers[4].group.Claim()
	c.run()
	err := p.group.Step(pb.Message{Type: pb.MsgTransferLeader, To: 3, From: 4, Term: uint64(p.group.Status().Term)})
	if !errors.Is(err, replica.ErrRefused) || !p.group.Status().IsLead {
		t.Fatalf("a learner's claim: %v", err)
	}
}
