package replica_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// down tells the survivors that a replica's node is dead.
func (n *net) down(dead ...id.ReplicaID) {
	for _, r := range dead {
		n.cut[r] = true
	}
	for _, p := range n.all() {
		if !n.cut[p.id] {
			p.group.PeersDown(dead)
		}
	}
}

// TestFailover: the survivors replace a dead leader within a few ticks, whoever it was, and in order of rank.
func TestFailover(t *testing.T) {
	for _, voters := range []int{3, 5} {
		for old := 1; old <= voters; old++ {
			t.Run(fmt.Sprintf("%d of %d", old, voters), func(t *testing.T) {
				c := newNet(t, voters)
				p := c.elect(id.ReplicaID(old))
				want := append(c.fill(p, 10), "after")
				term := p.group.Status().Term
				c.down(p.id)
				ticks := 0
				for c.leader().group.Status().Term == term {
					if ticks++; ticks > 2 {
						t.Fatal("no new leader within two ticks")
					}
					c.tick()
				}
				next := c.leader()
				if first := id.ReplicaID(1); old != 1 && next.id != first || old == 1 && next.id != 2 {
					t.Fatalf("replica %d leads, want the survivor with the lowest id", next.id)
				}
				if got := next.group.Status().Term; got != term+1 {
					t.Fatalf("term %d after one election, it was %d before", got, term)
				}
				c.mustPropose(next, "after")
				c.run()
				c.tick()
				for _, q := range c.all() {
					if q != p {
						c.same(want, q.id)
						if s := q.leader; s.Leader != next.id {
							t.Fatalf("the host of replica %d was told %+v, want leader %d", q.id, s, next.id)
						}
					}
				}
				if next.leads != 1 || old != int(next.id) && c.peers[id.ReplicaID(old)].leads != 1 {
					t.Fatalf("the new leader's machine heard %d times that it leads", next.leads)
				}
			})
		}
	}
}

// TestVoterThatRefusesForALongerLogStandsNext: the first in rank cannot win, and who refuses it does not wait for its turn.
func TestVoterThatRefusesForALongerLogStandsNext(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(3)
	c.fill(p, 3)
	c.cut[1] = true
	c.mustPropose(p, "committed by 2 and 3")
	c.run()
	c.cut[1] = false
	term := p.group.Status().Term
	c.down(3)
	c.tick()
	next := c.leader()
	if next.id != 2 || next.group.Status().Term != term+1 {
		t.Fatalf("after one tick replica %d leads in term %d, want 2 in term %d", next.id, next.group.Status().Term, term+1)
	}
	c.tick()
	if got := c.peers[1].data(); got[len(got)-1] != "committed by 2 and 3" {
		t.Fatalf("replica 1 applied %q", got)
	}
}

// TestSurvivorThatHearsOfTheDeathLate: until it forgets the dead leader it refuses its vote, so the others ask again.
func TestSurvivorThatHearsOfTheDeathLate(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	term := p.group.Status().Term
	c.cut[1] = true
	c.peers[2].group.PeersDown([]id.ReplicaID{1})
	c.tick()
	if c.leader() != p {
		t.Fatal("replica 2 was elected by one that believes in replica 1")
	}
	c.peers[3].group.PeersDown([]id.ReplicaID{1})
	for ticks := 0; c.leader() == p; ticks++ {
		if ticks > 4 {
			t.Fatal("no leader four ticks after the last survivor heard of the death")
		}
		c.tick()
	}
	if got := c.leader().group.Status().Term; got != term+1 {
		t.Fatalf("term %d, want %d: pre-votes that fail raise no term", got, term+1)
	}
}

// TestLateMessageOfADeadLeader does not bring it back to life: the survivors would refuse each other their votes for it.
func TestLateMessageOfADeadLeader(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	p.group.Tick()
	late := slices.Clone(c.queue)
	c.queue = nil
	if len(late) != 2 {
		t.Fatalf("%d messages, want a heartbeat for each", len(late))
	}
	c.down(1)
	for _, m := range late {
		if err := c.peers[id.ReplicaID(m.To)].group.Step(m); !errors.Is(err, replica.ErrRefused) {
			t.Fatalf("a heartbeat of the dead leader: %v, want ErrRefused", err)
		}
	}
	c.tick()
	if l := c.leader(); l == p {
		t.Fatal("no new leader after one tick")
	}
	for _, q := range c.all() { // it lives after all
		q.group.PeersDown(nil)
	}
	c.cut[1] = false
	c.tick()
	c.tick()
	if s := p.group.Status(); s.IsLead || s.Leader != c.leader().id {
		t.Fatalf("the old leader is back as %+v", s)
	}
}

func TestLeaderWithoutAQuorumStepsDown(t *testing.T) {
	c := (&net{t: t, tune: func(cfg *replica.Config) { cfg.QuietTicks = 3 }}).open(3)
	p := c.elect(1)
	c.fill(p, 3)
	for range 20 {
		c.tick()
	}
	if !p.asleep {
		t.Fatal("the group is not quiet")
	}
	c.cut[1] = true
	p.group.PeersDown([]id.ReplicaID{2})
	if !p.asleep {
		t.Fatal("a leader that has its quorum was woken")
	}
	p.group.PeersDown([]id.ReplicaID{2, 3})
	for ticks := 0; p.group.Status().IsLead; ticks++ {
		if ticks > 20 {
			t.Fatal("a leader without a quorum leads 20 ticks after it lost it")
		}
		c.tick()
	}
}

func TestTransferLeadership(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.mustPropose(p, "stepped")
	c.mustPropose(p, "queued") // behind the first, which is being written
	if err := p.group.TransferLeadership(3); err != nil {
		t.Fatal(err)
	}
	if _, err := p.propose("meanwhile"); !errors.Is(err, replica.ErrMoving) || !errors.Is(err, replica.ErrNotLeader) {
		t.Fatalf("a proposal meanwhile: %v, want ErrMoving", err)
	}
	c.run()
	next := c.leader()
	if next.id != 3 || p.dropped != 0 {
		t.Fatalf("replica %d leads; proposals from %d on were dropped", next.id, p.dropped)
	}
	c.tick()
	c.same([]string{"stepped", "queued"}, 1, 2, 3)
	for to, want := range map[id.ReplicaID]error{3: membership.ErrConfiguration, 9: membership.ErrConfiguration} {
		if err := next.group.TransferLeadership(to); !errors.Is(err, want) {
			t.Errorf("to %d: %v, want %v", to, err, want)
		}
	}
	if err := p.group.TransferLeadership(2); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("by a follower: %v, want ErrNotLeader", err)
	}
}

// TestTransferToNobodyEnds: the leader takes its proposals again when the other does not take over.
func TestTransferToNobodyEnds(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	c.cut[3] = true
	if err := p.group.TransferLeadership(3); err != nil {
		t.Fatal(err)
	}
	for ticks := 0; ; ticks++ {
		if _, err := p.propose("x"); err == nil {
			break
		}
		if ticks > 20 {
			t.Fatal("no proposal is taken 20 ticks after a transfer that failed")
		}
		c.tick()
	}
	c.run()
	if got := p.data(); got[len(got)-1] != "x" {
		t.Fatalf("applied %q", got)
	}
}

// TestYieldingReplicaDoesNotLead: its node is about to stop.
func TestYieldingReplicaDoesNotLead(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(3)
	c.fill(p, 3)
	c.peers[1].group.Yield(true)
	c.down(3)
	for range 10 {
		c.tick()
	}
	if l := c.leader(); l.id != 2 {
		t.Fatalf("replica %d leads, want 2", l.id)
	}
	if err := c.leader().group.TransferLeadership(1); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		c.tick()
	}
	if l := c.leader(); l.id != 2 {
		t.Fatalf("replica %d leads, want 2", l.id)
	}
}

// TestStoppedLeaderIsReplaced although its node lives: it says so, and if that is lost, the followers are told.
func TestStoppedLeaderIsReplaced(t *testing.T) {
	for _, lost := range []bool{false, true} {
		c := newNet(t, 3)
		p := c.elect(1)
		c.fill(p, 3)
		p.fail = errors.New("unknown command")
		c.drop = func(m pb.Message) bool { return lost && m.Type == pb.MsgTimeoutNow }
		c.mustPropose(p, "bad")
		c.run()
		if p.group.Err() == nil || !p.leader.Stopped {
			t.Fatalf("the group did not stop, its host was told %+v", p.leader)
		}
		if lost {
			for _, r := range []id.ReplicaID{2, 3} {
				c.peers[r].group.LeaderResigned(1)
			}
			c.tick()
		}
		if l := c.leader(); l == nil || l == p {
			t.Fatalf("nobody took over, lost: %v", lost)
		}
	}
}

// TestQueuedProposalsAreDroppedNotThoseInTheLog: what raft has not seen is in no log, a definite failure. What it has may be
// in another's, although this log has lost it.
func TestQueuedProposalsAreDroppedNotThoseInTheLog(t *testing.T) {
	c := newNet(t, 3)
	old := c.elect(1)
	c.fill(old, 1)
	c.cut[1] = true
	c.mustPropose(old, "in the log")
	old.wal.Drive()
	c.queue = nil
	next := c.elect(2)
	c.fill(next, 3)
	c.cut[1] = false
	c.mustPropose(old, "in the log too")
	queued := c.mustPropose(old, "not in the log")
	next.group.Tick()
	c.run() // delivers before it writes: the new leader's messages find the proposal in the queue
	c.tick()
	if s := old.group.Status(); s.IsLead || old.dropped != 0 && old.dropped < queued {
		t.Fatalf("%+v; proposals from %d on were said to be in no log, the first that was not is %d", s, old.dropped, queued)
	}
}

// Votes are asked for in a term that is on the disk. A candidate that loses power before may stand in the same term again, with a
// shorter log, and must not count a vote that was given to the longer one.
func TestVotesAreAskedForInADurableTerm(t *testing.T) {
	c := newNet(t, 3)
	p := c.peers[1]
	p.group.Campaign()
	asked := func() (n int) {
		for _, m := range c.queue {
			if m.Type == pb.MsgVote {
				n++
			}
		}
		return n
	}
	for len(c.queue) > 0 && asked() == 0 {
		m := c.queue[0]
		c.queue = c.queue[1:]
		c.deliver(m)
	}
	term := p.group.Status().Term
	if s, _ := p.wal.State(testGroup); s.Hard.Term == term {
		t.Fatalf("term %d is on the disk already: nothing is shown", term)
	}
	if n := asked(); n > 0 {
		t.Errorf("%d replicas are asked for their vote in term %d, which is not on the disk", n, term)
	}
	p.wal.Drive()
	if n := asked(); n != 2 {
		t.Errorf("%d replicas are asked for their vote in term %d, which is on the disk; want 2", n, term)
	}
	c.run()
	if !p.group.Status().IsLead {
		t.Errorf("%+v", p.group.Status())
	}
}
