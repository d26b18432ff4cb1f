package replica_test

import (
	"errors"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

func TestProposeOnFollowerFails(t *testing.T) {
	c := newNet(t, 3)
	c.elect(1)
	if _, err := c.peers[2].propose("x"); !errors.Is(err, replica.ErrNotLeader) {
		t.Fatalf("propose on a follower: %v, want ErrNotLeader", err)
	}
	if got := c.peers[2].group.Status().Leader; got != 1 {
		t.Fatalf("the follower believes in leader %d, want 1", got)
	}
}

func TestSingleNodePropose(t *testing.T) {
	c := newNet(t, 1)
	p := c.elect(1)
	i := c.mustPropose(p, "x")
	c.run()
	if p.committed != i || !slices.Equal(p.data(), []string{"x"}) {
		t.Fatalf("committed %d, applied %q; want %d, [x]", p.committed, p.data(), i)
	}
}

func TestNothingIsCommittedBeforeItIsSynced(t *testing.T) {
	c := newNet(t, 1)
	p := c.elect(1)
	i := c.mustPropose(p, "x")
	if p.committed >= i {
		t.Fatal("committed before the WAL was driven")
	}
	c.run()
	if p.committed != i {
		t.Fatalf("committed %d, want %d", p.committed, i)
	}
}

// TestFailedSyncCommitsNothing: what could not be made durable is never committed, whatever the kernel says later.
func TestFailedSyncCommitsNothing(t *testing.T) {
	fs := vfs.NewMem()
	failing := false
	broken := errors.New("broken disk")
	w, _, err := wal.Open(wal.Options{Path: "/ring", RingBytes: 1 << 20, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true,
		Fatal: func(error) {}, FS: vfs.Inject(fs, func(op vfs.Op) error {
			if failing && op.Changes() {
				return broken
			}
			return nil
		})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := (&net{t: t}).open(0)
	p := c.startOn(1, &disk{fs: fs, first: 1}, w, 1)
	c.elect(1)
	failing = true
	i := c.mustPropose(p, "x")
	w.Drive()
	failing = false
	w.Drive()
	if p.committed >= i || len(p.data()) > 0 {
		t.Fatalf("committed %d, applied %q, although the write of %d failed", p.committed, p.data(), i)
	}
}

// TestVoteSurvivesACrash: a voter that has given its vote and crashes must not give another in that term.
func TestVoteSurvivesACrash(t *testing.T) {
	c := newNet(t, 3)
	c.drop = func(m pb.Message) bool { return m.Type == pb.MsgApp } // votes only
	c.peers[1].group.Campaign()
	c.run()
	if !c.peers[1].group.Status().IsLead {
		t.Fatal("replica 1 was not elected")
	}
	term := c.peers[1].group.Status().Term
	w := openWAL(t, c.peers[2].disk.crash(3).fs, 1<<20)
	s, ok := w.State(testGroup)
	if !ok || s.Hard.Term != term || s.Hard.Vote != 1 {
		t.Fatalf("after the crash the disk says %+v, want a vote for 1 in term %d", s.Hard, term)
	}
}

func TestApplyManyInOrder(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		c := newNet(t, n)
		p := c.elect(1)
		var want []string
		for k := range 100 {
			want = append(want, number(k))
			c.mustPropose(p, number(k))
			if k%7 == 0 {
				c.run()
			}
		}
		c.run()
		// The last commit reaches followers with the next heartbeat.
		p.group.Tick()
		c.run()
		for i, q := range c.peers {
			if !slices.Equal(q.data(), want) {
				t.Fatalf("%d nodes: replica %d applied %d entries, want %d in order", n, i, len(q.data()), len(want))
			}
		}
	}
}

func TestStateAndAppliedIndexTracking(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(2)
	first := p.group.Status()
	if first.Term == 0 || first.Leader != 2 || first.Commit != 1 || first.Applied != 1 || first.Last != 1 {
		t.Fatalf("after the election: %+v; want the no-op at index 1 committed and applied", first)
	}
	c.mustPropose(p, "a")
	if s := p.group.Status(); s.Last != 2 || s.Commit != 1 {
		t.Fatalf("after a proposal: %+v; want it in the log and not committed", s)
	}
	c.run()
	if s := p.group.Status(); s.Commit != 2 || s.Applied != 2 {
		t.Fatalf("after the quorum: %+v; want index 2 committed and applied", s)
	}
}

func TestTickElectsAndReplacesLeaders(t *testing.T) {
	c := newNet(t, 3)
	leader := func() (found id.ReplicaID) {
		for i, p := range c.peers {
			if !c.cut[i] && p.group.Status().IsLead {
				found = i
			}
		}
		return found
	}
	tick := func() {
		for range 200 {
			for _, i := range []id.ReplicaID{1, 2, 3} {
				c.peers[i].group.Tick()
			}
			c.run()
			if leader() != 0 {
				return
			}
		}
		t.Fatal("no leader after 200 ticks")
	}
	tick()
	old := leader()
	c.mustPropose(c.peers[old], "before")
	c.run()
	c.cut[old] = true
	tick()
	next := leader()
	c.mustPropose(c.peers[next], "after")
	c.run()
	if got := c.peers[next].data(); !slices.Equal(got, []string{"before", "after"}) {
		t.Fatalf("the new leader has %q", got)
	}
	for range 30 { // the old leader, alone, must notice that no quorum answers
		c.peers[old].group.Tick()
		c.run()
	}
	if c.peers[old].group.Status().IsLead {
		t.Fatal("a leader without a quorum still leads after 30 ticks")
	}
}

func TestConflictingSuffixIsReplaced(t *testing.T) {
	c := newNet(t, 3)
	old := c.elect(1)
	c.mustPropose(old, "kept")
	c.run()
	c.cut[1] = true
	c.mustPropose(old, "lost 1")
	c.mustPropose(old, "lost 2")
	c.run()
	next := c.elect(2)
	c.mustPropose(next, "won")
	c.run()
	c.cut[1] = false
	next.group.Tick()
	c.run()
	next.group.Tick()
	c.run()
	if got := old.data(); !slices.Equal(got, []string{"kept", "won"}) {
		t.Fatalf("the returned leader applied %q", got)
	}
	if old.follows == 0 {
		t.Fatal("the machine of the old leader never heard that it follows")
	}
}

func TestNewLeaderIsToldItsUncommittedTail(t *testing.T) {
	c := newNet(t, 3)
	old := c.elect(1)
	c.mustPropose(old, "a")
	// Deliver the append to 2 only, and no answer to 1.
	old.wal.Drive()
	for _, m := range c.queue {
		if m.To == 2 {
			if err := c.peers[2].group.Step(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.queue = nil
	c.peers[2].wal.Drive()
	c.queue = nil
	c.cut[1] = true
	next := c.elect(2)
	if len(next.tail) != 2 || string(next.tail[0].Data) != "a" || len(next.tail[1].Data) != 0 {
		t.Fatalf("the tail at the election is %v; want the entry and the term's no-op", next.tail)
	}
	if got := next.data(); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("the new leader applied %q", got)
	}
}

func TestRestartRecoversLogAndVote(t *testing.T) {
	for seed := range uint64(20) {
		c := newNet(t, 1)
		p := c.elect(1)
		var want []string
		for k := range 30 {
			want = append(want, number(k))
			c.mustPropose(p, number(k))
			c.run()
		}
		term := p.group.Status().Term
		again := newNetOn(t, p.disk.crash(seed))
		q := again.elect(1)
		if got := q.data(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: after the crash %d entries are applied, want %d", seed, len(got), len(want))
		}
		if got := q.group.Status().Term; got <= term {
			t.Fatalf("seed %d: term %d after the crash, it was %d before", seed, got, term)
		}
	}
}

func newNetOn(t *testing.T, d *disk) *net {
	c := (&net{t: t}).open(0)
	c.start(1, d, 1)
	return c
}

func TestCheckpointFreesTheLogAndRestartGoesOnFromIt(t *testing.T) {
	c := newNet(t, 1)
	p := c.elect(1)
	for k := range 20 {
		c.mustPropose(p, number(k))
	}
	c.run()
	covered := p.group.Status().Applied
	p.checkpoint(0)
	c.mustPropose(p, "behind")
	c.run()
	q := newNetOn(t, p.disk.crash(1)).elect(1)
	if len(q.applied) == 0 || q.applied[0].Index != covered+1 {
		t.Fatalf("after restart %v is applied, want only what the checkpoint at %d does not cover", q.applied, covered)
	}
	if got := q.data(); len(got) != 21 || got[20] != "behind" {
		t.Fatalf("after restart the machine has %q", got)
	}
}

func TestMachineErrorStopsTheGroup(t *testing.T) {
	c := newNet(t, 1)
	p := c.elect(1)
	p.fail = errors.New("unknown command")
	c.mustPropose(p, "x")
	c.run()
	if err := p.group.Err(); err == nil || !errors.Is(err, p.fail) {
		t.Fatalf("the group's error is %v, want the machine's", err)
	}
	if _, err := p.propose("y"); err == nil {
		t.Fatal("a stopped group takes proposals")
	}
}

func TestUncommittedBytesAreBounded(t *testing.T) {
	c := newNet(t, 1)
	p := c.peers[1]
	c.elect(1)
	big := string(make([]byte, 8<<10))
	busy := 0
	for range 10_000 {
		if _, err := p.propose(big); errors.Is(err, replica.ErrBusy) {
			busy++
			break
		}
	}
	if busy == 0 {
		t.Fatal("80 MB of proposals were queued without a commit")
	}
	c.run()
	if _, err := p.propose("x"); err != nil {
		t.Fatalf("after the commit: %v", err)
	}
}
