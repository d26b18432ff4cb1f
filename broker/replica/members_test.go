package replica_test

import (
	"errors"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

func (n *net) change(p *peer, cs ...membership.Change) error {
	n.t.Helper()
	_, _, err := p.group.Change(cs...)
	n.run()
	return err
}

func (n *net) mustChange(p *peer, cs ...membership.Change) {
	n.t.Helper()
	if err := n.change(p, cs...); err != nil {
		n.t.Fatalf("%+v: %v", cs, err)
	}
	n.tick()
}

func (n *net) wantMembers(want membership.Members, replicas ...id.ReplicaID) {
	n.t.Helper()
	for _, r := range replicas {
		got := n.peers[r].members
		if !slices.Equal(got.Voters, want.Voters) || !slices.Equal(got.Learners, want.Learners) || got.Joint() {
			n.t.Fatalf("replica %d has the configuration %+v, want %+v", r, got, want)
		}
	}
}

// TestReplaceAReplica: the new one learns first, then takes the old one's place in one step, which goes through a joint
// configuration. It gets what it lacks from the log or by snapshot.
func TestReplaceAReplica(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		c := newNet(t, 3)
		p := c.elect(1)
		want := c.fill(p, 20)
		if snapshot {
			c.tick()
			p.checkpoint(0)
		}
		c.start(4, newDisk(), 3)
		if err := c.change(p, membership.Change{Replica: 4, To: membership.Voter}); !errors.Is(err, membership.ErrConfiguration) {
			t.Fatalf("a voter that never learned: %v, want ErrConfiguration", err)
		}
		c.mustChange(p, membership.Change{Replica: 4, To: membership.Learner})
		c.tick()
		c.tick()
		c.same(want, 4)
		c.wantMembers(membership.Members{Voters: []id.ReplicaID{1, 2, 3}, Learners: []id.ReplicaID{4}}, 1, 2, 3, 4)
		index := p.group.Status().Last
		c.mustChange(p, membership.Change{Replica: 4, To: membership.Voter}, membership.Change{Replica: 3, To: membership.None})
		c.wantMembers(membership.Members{Voters: []id.ReplicaID{1, 2, 4}}, 1, 2, 4)
		if got := p.group.Status().Last; got != index+2 {
			t.Fatalf("the change took %d entries, want two: into the joint configuration and out of it", got-index)
		}
		if (c.peers[4].restored > 0) != snapshot {
			t.Fatalf("%d snapshots were restored", c.peers[4].restored)
		}
		c.cut[2] = true
		c.mustPropose(p, "by 1 and 4")
		c.run()
		c.same(append(want, "by 1 and 4"), 1)
	}
}

// TestPromisedIndexesHoldAcrossAChange: leaving a joint configuration takes an index too.
func TestPromisedIndexesHoldAcrossAChange(t *testing.T) {
	c := (&net{t: t, ring: 8 << 20}).open(3)
	p := c.elect(1)
	c.start(4, newDisk(), 3)
	c.mustChange(p, membership.Change{Replica: 4, To: membership.Learner})
	promised := map[id.Index]string{}
	propose := func(k int) {
		if i, err := p.propose(number(k)); err == nil {
			promised[i] = number(k)
		}
	}
	for k := range 10 {
		propose(k)
	}
	if _, _, err := p.group.Change(membership.Change{Replica: 4, To: membership.Voter}, membership.Change{Replica: 2, To: membership.None}); err != nil {
		t.Fatal(err)
	}
	for k := 10; len(p.members.Voters) == 0 || p.members.Joint() || k < 40; k++ {
		propose(k)
		p.wal.Drive()
		if len(c.queue) > 0 {
			m := c.queue[0]
			c.queue = c.queue[1:]
			c.deliver(m)
			c.peers[id.ReplicaID(m.To)].wal.Drive()
		}
	}
	c.run()
	c.wantMembers(membership.Members{Voters: []id.ReplicaID{1, 3, 4}}, 1)
	found := 0
	for _, e := range p.applied {
		if want, ok := promised[e.Index]; ok {
			found++
			if string(e.Data) != want {
				t.Fatalf("entry %d is %q, its proposer was promised the index for %q", e.Index, e.Data, want)
			}
		}
	}
	if found != len(promised) {
		t.Fatalf("%d of %d proposals were applied", found, len(promised))
	}
}

// TestRemovedLeaderStepsDown, and is never listened to again.
func TestRemovedLeaderStepsDown(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	if err := c.change(p, membership.Change{Replica: 1, To: membership.None}); err != nil {
		t.Fatal(err)
	}
	if p.group.Status().IsLead {
		t.Fatal("a leader that was removed leads")
	}
	for range 40 {
		c.tick()
	}
	next := c.leader()
	if next == nil || next == p {
		t.Fatal("nobody took over")
	}
	c.wantMembers(membership.Members{Voters: []id.ReplicaID{2, 3}}, 2, 3)
	for _, typ := range []pb.MessageType{pb.MsgApp, pb.MsgVote, pb.MsgPreVote, pb.MsgAppResp, pb.MsgHeartbeat, pb.MsgTimeoutNow} {
		before := next.group.Status()
		err := next.group.Step(pb.Message{Type: typ, From: 1, To: uint64(next.id), Term: uint64(before.Term) + 5, Index: 100, LogTerm: 100})
		if !errors.Is(err, replica.ErrRefused) || next.group.Status() != before {
			t.Errorf("%v of a removed replica: %v; %+v became %+v", typ, err, before, next.group.Status())
		}
	}
	if err := c.change(next, membership.Change{Replica: 1, To: membership.Learner}); !errors.Is(err, membership.ErrConfiguration) {
		t.Errorf("adding a removed replica again: %v, want ErrConfiguration", err)
	}
}

func TestImpossibleChanges(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	for name, tc := range map[string]struct {
		cs   []membership.Change
		want error
	}{
		"nothing":        {nil, membership.ErrConfiguration},
		"nobody is left": {[]membership.Change{{Replica: 1}, {Replica: 2}, {Replica: 3}}, membership.ErrConfiguration},
		"the same twice": {[]membership.Change{{Replica: 2}, {Replica: 2, To: membership.Learner}}, membership.ErrConfiguration},
		"demotion alone": {[]membership.Change{{Replica: 2, To: membership.Learner}}, membership.ErrConfiguration},
		"no id":          {[]membership.Change{{To: membership.Learner}}, membership.ErrConfiguration},
	} {
		if err := c.change(p, tc.cs...); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, _, err := c.peers[2].group.Change(membership.Change{Replica: 4, To: membership.Learner}); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("by a follower: %v, want ErrNotLeader", err)
	}
	c.mustChange(p, membership.Change{Replica: 4, To: membership.Learner}) // nobody is there to answer
	if err := c.change(p, membership.Change{Replica: 4, To: membership.Voter}); !errors.Is(err, membership.ErrNotCaughtUp) {
		t.Errorf("a learner that has nothing: %v, want ErrNotCaughtUp", err)
	}
	if _, _, err := p.group.Change(membership.Change{Replica: 5, To: membership.Learner}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.group.Change(membership.Change{Replica: 6, To: membership.Learner}); !errors.Is(err, replica.ErrChanging) {
		t.Errorf("a change during another: %v, want ErrChanging", err)
	}
}

// TestJointConfigurationIsLeftByTheNextLeader when the one that began the change is gone.
func TestJointConfigurationIsLeftByTheNextLeader(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.start(4, newDisk(), 3)
	c.mustChange(p, membership.Change{Replica: 4, To: membership.Learner})
	c.tick()
	if _, _, err := p.group.Change(membership.Change{Replica: 4, To: membership.Voter}, membership.Change{Replica: 3, To: membership.None}); err != nil {
		t.Fatal(err)
	}
	for !p.members.Joint() {
		c.tickOnce()
	}
	// Everybody has the joint configuration; what leads out of it is lost with the leader.
	c.queue = nil
	c.down(1)
	for range 60 {
		c.tick()
	}
	next := c.leader()
	if next == nil || next == p {
		t.Fatal("nobody took over")
	}
	c.wantMembers(membership.Members{Voters: []id.ReplicaID{1, 2, 4}}, 2, 4)
}

// tickOnce lets every replica write once, and delivers what is there now.
func (n *net) tickOnce() {
	n.t.Helper()
	for _, p := range n.all() {
		p.wal.Drive()
	}
	ms := n.queue
	n.queue = nil
	for _, m := range ms {
		n.deliver(m)
	}
}

// TestRemovedReplicaStaysUntilThatIsSettled: a leader dies at the first moment at which it says that a replica is out for good, and
// the replica goes. Those who are left must not count on it, or nobody can be elected among them.
func TestRemovedReplicaStaysUntilThatIsSettled(t *testing.T) {
	for _, busy := range []bool{false, true} {
		c := newNet(t, 3)
		p := c.elect(1)
		c.start(4, newDisk(), 3)
		c.mustChange(p, membership.Change{Replica: 4, To: membership.Learner})
		c.fill(p, 20)
		c.tick()
		out := func() bool {
			p.group.Lock()
			defer p.group.Unlock()
			m, err := p.group.ConfLocked().Members()
			return err == nil && !m.Joint() && !m.Has(3) && p.group.SettledLocked()
		}
		if _, _, err := p.group.Change(membership.Change{Replica: 4, To: membership.Voter}, membership.Change{Replica: 3, To: membership.None}); err != nil {
			t.Fatal(err)
		}
		for k := 0; !out(); k++ {
			if busy && k%3 == 0 {
				c.mustPropose(p, number(k))
			}
			p.wal.Drive()
			if len(c.queue) == 0 {
				if k > 10_000 {
					t.Fatal("the change is never settled")
				}
				continue
			}
			m := c.queue[0]
			c.queue = c.queue[1:]
			c.deliver(m)
			if q := c.peers[id.ReplicaID(m.To)]; q != nil {
				q.wal.Drive()
			}
		}
		c.queue = nil
		delete(c.peers, 1)
		delete(c.peers, 3)
		for k := 0; c.leader() == nil; k++ {
			if k > 200 {
				t.Fatalf("busy %t: nobody leads; 2 has %+v, 4 has %+v", busy, c.peers[2].members, c.peers[4].members)
			}
			c.tick()
		}
		c.wantMembers(membership.Members{Voters: []id.ReplicaID{1, 2, 4}}, 2, 4)
	}
}
