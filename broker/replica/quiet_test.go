package replica_test

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// quietNet is three voters that become quiet three ticks after the last change.
func quietNet(t *testing.T) (*net, *peer) {
	c := (&net{t: t, tune: func(cfg *replica.Config) { cfg.QuietTicks = 3 }}).open(3)
	return c, c.elect(1)
}

func (n *net) settle() {
	n.t.Helper()
	for range 10 {
		n.tick()
	}
}

func (n *net) wantAsleep(asleep bool, replicas ...id.ReplicaID) {
	n.t.Helper()
	for _, r := range replicas {
		if p := n.peers[r]; p.asleep != asleep || asleep && !p.group.Quiet() {
			n.t.Fatalf("replica %d is asleep: %v, quiet: %v; want %v", r, p.asleep, p.group.Quiet(), asleep)
		}
	}
}

// TestIdleGroupBecomesQuiet: everybody then has everything and knows that it is committed, and nothing is sent any more.
func TestIdleGroupBecomesQuiet(t *testing.T) {
	c, p := quietNet(t)
	want := c.fill(p, 10)
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	c.same(want, 1, 2, 3)
	before := c.sent()
	for range 100 {
		c.tick()
	}
	if got := c.sent(); got.Sent != before.Sent {
		t.Fatalf("a quiet group sent %d messages", got.Sent-before.Sent)
	}
	want = append(want, "wakes")
	c.mustPropose(p, "wakes")
	c.wantAsleep(false, 1)
	c.run()
	c.wantAsleep(false, 1, 2, 3)
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	c.same(want, 1, 2, 3)
	if s := p.group.Status(); s.Term != 1 {
		t.Fatalf("there was an election: %+v", s)
	}
}

// TestGroupIsNotQuietWhileAReplicaLacksSomething, a learner included.
func TestGroupIsNotQuietWhileAReplicaLacksSomething(t *testing.T) {
	c, p := quietNet(t)
	c.fill(p, 3)
	c.settle()
	c.cut[3] = true
	c.mustPropose(p, "x")
	c.run()
	c.settle()
	c.wantAsleep(false, 1)
	c.cut[3] = false
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	if _, _, err := p.group.Change(membership.Change{Replica: 4, To: membership.Learner}); err != nil {
		t.Fatal(err)
	}
	c.run()
	c.settle()
	c.wantAsleep(false, 1)
	c.start(4, newDisk(), 3)
	c.settle()
	c.wantAsleep(true, 1, 2, 3, 4)
}

// TestContradictedLeaderWaitsUntilAllHaveSaid that they know the commit index: it does not say again what a follower did not agree
// to. That concerns one index; with the next entry it says it soon again.
func TestContradictedLeaderWaitsUntilAllHaveSaid(t *testing.T) {
	c, p := quietNet(t)
	want := c.fill(p, 3)
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	quiet := 0
	c.drop = func(m pb.Message) bool {
		if m.To == 3 && len(m.Context) > 0 && m.Context[0] == 'Q' {
			quiet++
		}
		return m.To == 3 && m.Type == pb.MsgHeartbeat
	}
	c.deliver(pb.Message{Type: pb.MsgHeartbeatResp, From: 3, To: 1, Term: 1})
	c.settle()
	c.wantAsleep(false, 1)
	if quiet > 0 {
		t.Fatalf("the leader said %d times that it is quiet, to one that does not agree", quiet)
	}
	c.drop = nil
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	c.deliver(pb.Message{Type: pb.MsgHeartbeatResp, From: 3, To: 1, Term: 1})
	c.wantAsleep(false, 1)
	c.mustPropose(p, "next")
	c.run()
	c.tick()
	c.tick()
	c.wantAsleep(true, 1, 2, 3)
	c.same(append(want, "next"), 1, 2, 3)
}

// TestRecordNowAndThenCosts what the package says: two appends, two answers, two words of quiet, and two ticks of each replica. The
// settings are the broker's, in ticks of 10 ms, the entries two a second.
func TestRecordNowAndThenCosts(t *testing.T) {
	const entries, between = 64, 50
	c := (&net{t: t, tune: func(cfg *replica.Config) {
		cfg.ElectionTicks, cfg.HeartbeatTicks, cfg.QuietTicks = 100, 25, 100
	}}).open(3)
	p := c.elect(1)
	for range 3 * between {
		c.tick()
	}
	c.wantAsleep(true, 1, 2, 3)
	before, ticks, types := c.sent().Sent, 0, map[string]int{}
	c.drop = func(m pb.Message) bool {
		name := m.Type.String()
		if m.Type == pb.MsgApp && len(m.Entries) == 0 {
			name = "MsgApp without entries"
		}
		types[name]++
		return false
	}
	for i := range entries {
		c.mustPropose(p, number(i))
		c.run()
		for range between {
			for _, q := range c.all() {
				if !q.asleep {
					ticks++
				}
			}
			c.tick()
		}
	}
	c.same(c.peers[1].data(), 2, 3)
	messages := float64(c.sent().Sent-before) / entries
	perEntry := float64(ticks) / entries
	t.Logf("an entry costs %.2f messages, of %v in all, and %.2f ticks", messages, types, perEntry)
	if messages > 6.5 { // heartbeats are due after 25 ticks, however they come
		t.Errorf("an entry costs %.2f messages, want 6, and a heartbeat now and then", messages)
	}
	if perEntry > 6.5 {
		t.Errorf("an entry costs %.2f ticks, want two of each replica", perEntry)
	}
}

// TestLostWordOfQuiet: the follower that did not hear it goes on ticking, and in the end wakes the leader, whom it gets no
// votes against.
func TestLostWordOfQuiet(t *testing.T) {
	c, p := quietNet(t)
	want := c.fill(p, 3)
	c.drop = func(m pb.Message) bool { return m.To == 3 && len(m.Context) > 0 && m.Context[0] == 'Q' }
	for range 12 {
		c.tick()
		if p.asleep {
			break
		}
	}
	c.wantAsleep(true, 1, 2)
	c.wantAsleep(false, 3)
	c.drop = nil
	for range 40 {
		c.tick()
	}
	c.wantAsleep(true, 1, 2, 3)
	c.same(want, 1, 2, 3)
	if s := p.group.Status(); s.Term != 1 || !s.IsLead {
		t.Fatalf("the lost word cost an election: %+v", s)
	}
}

// TestFollowerThatDoesNotAgreeWakesItsLeader: it was told to be quiet at an index that it does not have.
func TestFollowerThatDoesNotAgreeWakesItsLeader(t *testing.T) {
	c, p := quietNet(t)
	c.fill(p, 3)
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	crashed := c.peers[3].disk.crash(1)
	c.start(3, crashed, 3)
	c.wantAsleep(false, 3)
	p.group.Wake() // as the manager does when the node is back
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	if s := p.group.Status(); s.Term != 1 {
		t.Fatalf("there was an election: %+v", s)
	}
}

// TestQuietGroupSurvivesItsLeader: quiet followers are woken when the leader's node dies.
func TestQuietGroupSurvivesItsLeader(t *testing.T) {
	c, p := quietNet(t)
	want := c.fill(p, 3)
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	c.down(1)
	c.wantAsleep(false, 2, 3)
	c.tick()
	next := c.leader()
	if next == p {
		t.Fatal("no new leader after one tick")
	}
	c.mustPropose(next, "after")
	c.run()
	c.settle()
	want = append(want, "after")
	c.same(want, 2, 3)
	c.wantAsleep(true, 2, 3) // replica 1 lacks it, and nobody waits for the dead
	// It is back, on the disk that it had: the manager says so, and the group is awake until it has everything.
	delete(c.cut, 1)
	c.start(1, c.peers[1].disk.crash(1), 3)
	c.down()
	next.group.Wake()
	c.drop = func(m pb.Message) bool { return m.To == 1 }
	c.settle()
	c.wantAsleep(false, next.id)
	c.drop = nil
	c.settle()
	c.same(want, 1, 2, 3)
	c.wantAsleep(true, 1, 2, 3)
	if s := next.group.Status(); !s.IsLead {
		t.Fatalf("there was an election: %+v", s)
	}
}

// TestReturnedReplicaIsHeardBeforeQuiet: it had everything when it died, and may not know who leads when it is back.
func TestReturnedReplicaIsHeardBeforeQuiet(t *testing.T) {
	c, p := quietNet(t)
	c.fill(p, 3)
	c.settle()
	c.down(3)
	c.settle()
	c.wantAsleep(true, 1, 2)
	delete(c.cut, 3)
	c.start(3, c.peers[3].disk.crash(1), 3)
	c.drop = func(m pb.Message) bool { return m.To == 3 } // for as long as a group takes to become quiet, and longer
	c.down()
	p.group.Wake()
	c.settle()
	c.wantAsleep(false, 1)
	c.drop = nil
	c.settle()
	c.wantAsleep(true, 1, 2, 3)
	if s := p.group.Status(); s.Term != 1 || !s.IsLead {
		t.Fatalf("there was an election: %+v", s)
	}
}

// TestPausedReplicaIsNotToldOfQuiet: its process was stopped and counts as dead; what it was sent meanwhile waits in its sockets,
// except for appends that were dropped. It must not be told of a commit index that its log does not reach.
func TestPausedReplicaIsNotToldOfQuiet(t *testing.T) {
	c, p := quietNet(t)
	c.fill(p, 3)
	c.settle()
	var waiting []pb.Message
	c.drop = func(m pb.Message) bool {
		if m.To == 3 && m.Type == pb.MsgHeartbeat {
			waiting = append(waiting, m)
		}
		return m.To == 3
	}
	for _, r := range []id.ReplicaID{1, 2} {
		c.peers[r].group.PeersDown([]id.ReplicaID{3})
	}
	c.fill(p, 3)
	c.settle()
	c.wantAsleep(true, 1, 2)
	c.drop = nil
	if len(waiting) == 0 {
		t.Fatal("no heartbeat was on its way to the replica, so that nothing is tested")
	}
	for _, m := range waiting {
		c.deliver(m)
	}
	c.run()
	if err := c.peers[3].group.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestLeaderWithoutQuorumIsNotQuiet: it is ticked until it steps down.
func TestLeaderWithoutQuorumIsNotQuiet(t *testing.T) {
	c, p := quietNet(t)
	c.fill(p, 3)
	c.settle()
	c.down(2, 3)
	c.wantAsleep(false, 1)
	for range 40 {
		c.tick()
	}
	if s := p.group.Status(); s.IsLead {
		t.Fatalf("it leads alone: %+v", s)
	}
}

// TestOnlyVoterNeedsNoTicks, busy or not. With a learner it does: only heartbeats find out what that lacks.
func TestOnlyVoterNeedsNoTicks(t *testing.T) {
	c := &net{t: t}
	c.tune = func(cfg *replica.Config) { cfg.Sender = c }
	c.open(1)
	p := c.elect(1)
	c.tick()
	c.wantAsleep(true, 1)
	c.mustPropose(p, "x")
	c.wantAsleep(true, 1)
	c.run()
	c.wantAsleep(true, 1)
	if _, _, err := p.group.Change(membership.Change{Replica: 2, To: membership.Learner}); err != nil {
		t.Fatal(err)
	}
	c.run() // the first append to replica 2 is lost: it is not there yet
	c.wantAsleep(false, 1)
	c.start(2, newDisk(), 1)
	c.settle()
	c.same([]string{"x"}, 2)
}

// TestStoppedGroupIsNotTicked, whatever it is told.
func TestStoppedGroupIsNotTicked(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	p.group.Stop()
	c.wantAsleep(true, 1)
	p.group.Wake()
	p.group.PeersDown([]id.ReplicaID{2, 3})
	c.wantAsleep(true, 1)
}
