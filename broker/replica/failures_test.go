package replica_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/raftlog"
)

// Tests named after failure modes that brokers of this kind have shipped.

// TestNothingIsAcknowledgedBeforeAFollowerHasIt: the leader's own disk is one copy and no quorum; two followers are one.
// And what is acknowledged is the proposal's own index.
func TestNothingIsAcknowledgedBeforeAFollowerHasIt(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.cut[2], c.cut[3] = true, true
	first := c.mustPropose(p, "first")
	c.run()
	if p.committed >= first || len(p.data()) > 0 {
		t.Fatalf("committed %d with one copy of %d", p.committed, first)
	}
	c.cut[2] = false
	c.tick()
	if p.committed != first {
		t.Fatalf("committed %d, want %d: two of three have it", p.committed, first)
	}
	// Now the leader's disk is the slow one: its batch is not written before both followers have answered.
	c.cut[3] = false
	c.tick()
	second := c.mustPropose(p, "second")
	for range 3 {
		ms := c.queue
		c.queue = nil
		for _, m := range ms {
			c.deliver(m)
		}
		c.peers[2].wal.Drive()
		c.peers[3].wal.Drive()
	}
	if p.committed != second || p.group.Status().Applied >= second {
		t.Fatalf("committed %d, applied %d; want %d committed by the followers and not applied before it is on this disk",
			p.committed, p.group.Status().Applied, second)
	}
	c.run()
	c.same([]string{"first", "second"}, 1)
}

// TestLostAppendsAreCaughtUp: whatever is dropped on the way, and whether or not the loss is reported.
func TestLostAppendsAreCaughtUp(t *testing.T) {
	for _, reported := range []bool{false, true} {
		for seed := range uint64(10) {
			c := (&net{t: t, ring: 4 << 20}).open(3)
			p := c.elect(1)
			r := rand.New(rand.NewPCG(seed, 1))
			c.drop = func(m pb.Message) bool {
				lost := m.Type != pb.MsgHeartbeat && m.Type != pb.MsgHeartbeatResp && r.IntN(3) == 0
				if lost && reported && m.From == 1 {
					p.group.ReportUnreachable(id.ReplicaID(m.To))
				}
				return lost
			}
			want := c.fill(p, 50)
			c.drop = nil
			for range 5 {
				c.tick()
			}
			c.same(want, 1, 2, 3)
		}
	}
}

// TestReorderedMessagesStartNoElections: messages of one peer overtake each other, within their class and across, and some
// never come. The leader stays, and so does the term.
func TestReorderedMessagesStartNoElections(t *testing.T) {
	for seed := range uint64(20) {
		c := (&net{t: t, ring: 8 << 20}).open(3)
		p := c.elect(1)
		term := p.group.Status().Term
		r := rand.New(rand.NewPCG(seed, 2))
		for k := range 200 {
			if k%3 == 0 {
				c.mustPropose(p, number(k))
			}
			for _, q := range c.all() {
				if k%4 == 0 {
					q.group.Tick()
				}
				q.wal.Drive()
			}
			for range min(len(c.queue), 1+r.IntN(8)) {
				i := r.IntN(len(c.queue))
				m := c.queue[i]
				c.queue = append(c.queue[:i], c.queue[i+1:]...)
				if r.IntN(20) > 0 {
					c.deliver(m)
				}
			}
			for _, q := range c.all() {
				if s := q.group.Status(); s.Term != term {
					t.Fatalf("seed %d, step %d: replica %d is in term %d, it was %d", seed, k, q.id, s.Term, term)
				}
			}
		}
		c.run()
		c.tick()
		c.tick()
		c.same(p.data(), 2, 3)
	}
}

// TestRecoveryKeepsTheWholeLogAndNoConflictingSuffix, and a batch of many entries is one write.
func TestRecoveryKeepsTheWholeLogAndNoConflictingSuffix(t *testing.T) {
	for seed := range uint64(10) {
		c := (&net{t: t, ring: 4 << 20}).open(3)
		old := c.elect(1)
		c.cut[1] = true
		for k := range 20 {
			c.mustPropose(old, "lost "+number(k))
			if k%5 == 0 {
				c.run()
			}
		}
		c.run()
		next := c.elect(2)
		batches := next.wal.Stats().Batches.Load()
		var want []string
		const entries = 1000
		for k := range entries {
			want = append(want, number(k))
			c.mustPropose(next, number(k))
		}
		c.run()
		if got := next.wal.Stats().Batches.Load() - batches; got > entries/10 {
			t.Fatalf("%d batches for %d entries that were proposed together", got, entries)
		}
		c.cut[1] = false
		c.tick()
		c.tick()
		c.same(want, 1, 3)
		for _, i := range []id.ReplicaID{1, 3} {
			c.start(i, c.peers[i].disk.crash(seed), 3)
		}
		c.down(2)
		c.tick()
		c.tick()
		if l := c.leader(); l == nil || l.id == 2 {
			t.Fatal("no leader after the restart")
		}
		c.tick()
		c.tick()
		c.same(want, 1, 3)
	}
}

// TestReplicaWithALostDiskIsNotBelieved: it is back under its id, and empty. The leader knows what it had, so the group there
// stops instead of voting or acknowledging.
func TestReplicaWithALostDiskIsNotBelieved(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	want := c.fill(p, 5)
	c.cut[2] = true
	want = append(want, "by 1 and 3")
	i := c.mustPropose(p, "by 1 and 3")
	c.run()
	lost := c.start(3, newDisk(), 3)
	c.tick()
	if err := lost.group.Err(); !errors.Is(err, replica.ErrInconsistent) {
		t.Fatalf("the group's error is %v, want ErrInconsistent", err)
	}
	// Its vote and replica 2's would elect a leader without the last entry.
	c.cut[2] = false
	c.down(1)
	for range 60 {
		c.tick()
		if l := c.leader(); l != nil && l != p {
			t.Fatalf("replica %d was elected with %+v, entry %d was committed", l.id, l.group.Status(), i)
		}
	}
	if p.committed != i || len(p.data()) != len(want) {
		t.Fatalf("committed %d, want %d", p.committed, i)
	}
}

// TestCommitNeverGoesBack: not by a repeated append, and not for a leader's own entries. Machines that hear of a lower
// index fail the test.
func TestCommitNeverGoesBack(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	var all []pb.Message
	c.drop = func(m pb.Message) bool {
		all = append(all, m)
		return false
	}
	c.fill(p, 20)
	c.tick()
	c.drop = nil
	before := map[id.ReplicaID]id.Index{}
	for _, q := range c.all() {
		before[q.id] = q.committed
	}
	for range 2 {
		for _, m := range all { // everything once more, late
			c.deliver(m)
			c.run()
		}
	}
	for _, q := range c.all() {
		if q.committed != before[q.id] || q.group.Status().Commit != before[q.id] {
			t.Fatalf("replica %d: commit index %d, %d was said; it was %d", q.id, q.group.Status().Commit, q.committed, before[q.id])
		}
	}
}

// TestTwoLeadersOfOneTerm cannot be, so whoever hears of both stops.
func TestTwoLeadersOfOneTerm(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 3)
	q := c.peers[3]
	err := q.group.Step(pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 3, Term: uint64(p.group.Status().Term)})
	if !errors.Is(err, replica.ErrInconsistent) || q.group.Err() == nil {
		t.Fatalf("%v, the group's error is %v; want ErrInconsistent", err, q.group.Err())
	}
}

// brokenHistory fails to read.
type brokenHistory struct {
	raftlog.History
	err error
}

func (h *brokenHistory) Entries(lo, hi id.Index, maxBytes int) ([]replica.Entry, error) {
	if h.err != nil {
		return nil, h.err
	}
	return h.History.Entries(lo, hi, maxBytes)
}

// TestLogThatCannotBeReadStopsTheGroup, and whoever called when that was found out is told, not promised anything.
func TestLogThatCannotBeReadStopsTheGroup(t *testing.T) {
	for what, call := range map[string]func(p *peer) error{
		"propose":  func(p *peer) error { _, err := p.propose("x"); return err },
		"transfer": func(p *peer) error { return p.group.TransferLeadership(3) },
	} {
		c := &net{t: t, logs: true}
		histories := map[id.ReplicaID]*brokenHistory{}
		c.tune = func(cfg *replica.Config) {
			histories[cfg.Replica] = &brokenHistory{History: cfg.History}
			cfg.History = histories[cfg.Replica]
		}
		c.open(3)
		p := c.elect(1)
		c.cut[3] = true
		c.fill(p, 20)
		p.checkpoint(0)
		bad := errors.New("a segment is gone")
		histories[1].err = bad
		p.group.ReportUnreachable(3) // so the next that it is sent comes from the history
		follows := p.follows
		if err := call(p); !errors.Is(err, bad) {
			t.Errorf("%s: %v, want the reason why the log cannot be read", what, err)
		}
		if s := p.group.Status(); !s.Stopped || s.IsLead || !errors.Is(p.group.Err(), bad) {
			t.Errorf("%s: the group is %+v, stopped by %v", what, s, p.group.Err())
		}
		if p.follows != follows+1 {
			t.Errorf("%s: the machine was told %d times that it does not lead any more, want once", what, p.follows-follows)
		}
	}
}
