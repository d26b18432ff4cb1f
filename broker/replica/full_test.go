package replica_test

import (
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// fullRings returns three replicas of which 1 leads, with room in its ring, and gets no answers. The rings of 2 and 3 are full of
// entries of which nobody knows that they are committed. Then 1 dies. If more, entries are queued behind those that fit.
func fullRings(t *testing.T, more bool) (c *net, p *peer) {
	t.Helper()
	c = (&net{t: t, logs: true}).open(3)
	d := newDisk()
	if err := d.fs.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	c.startOn(1, d, openWAL(t, d.fs, 4<<20), 3)
	p = c.elect(1)
	c.drop = func(m pb.Message) bool { return m.To == 1 }
	full := func(i id.ReplicaID) bool {
		q := c.peers[i]
		used, usable := q.wal.Usage()
		return used > usable && (!more || q.group.Status().Last > q.wal.Last(testGroup))
	}
	for k := 0; !full(2) || !full(3); k++ {
		if k == 250 {
			t.Fatal("the rings do not fill up")
		}
		c.mustPropose(p, strings.Repeat("x", 8<<10))
		c.run()
	}
	for _, i := range []id.ReplicaID{2, 3} {
		q := c.peers[i]
		if s, last := q.group.Status(), q.wal.Last(testGroup); s.Commit > 2 || more != (s.Last > last) {
			t.Fatalf("replica %d: %+v; the disk has entries up to %d", i, s, last)
		}
	}
	c.drop, c.queue = nil, nil
	c.cut[1] = true
	return c, p
}

// electAmong ticks until one of the others leads, and returns it and the other one.
func (n *net) electAmong(i, k id.ReplicaID) (leader, other *peer) {
	n.t.Helper()
	for range 300 {
		n.tick()
		for _, p := range []*peer{n.peers[i], n.peers[k]} {
			if p.group.Status().IsLead {
				return p, n.peers[i+k-p.id]
			}
		}
	}
	n.t.Fatalf("no leader: %+v, %+v", n.peers[i].group.Status(), n.peers[k].group.Status())
	return nil, nil
}

// TestFullRingsElect: two of three have no room for what is queued, and the leader is dead. One of them succeeds it, though it has not
// stored its own log, and commits nothing that only one replica has stored.
func TestFullRingsElect(t *testing.T) {
	c, old := fullRings(t, true)
	p, q := c.electAmong(2, 3)
	s := p.group.Status()
	if p.wal.Last(testGroup) == s.Last || s.Commit > 2 {
		t.Fatalf("the leader is %+v, and its disk has entries up to %d: something has freed the ring", s, p.wal.Last(testGroup))
	}
	for _, r := range []*peer{p, q} {
		st, _ := openWAL(t, r.disk.fs.CrashClone(1), 1<<20).State(testGroup)
		if st.Hard.Term != s.Term || st.Hard.Vote != p.id || st.Hard.Commit > st.Last {
			t.Errorf("replica %d leads in term %d, the disk of %d has %+v", p.id, s.Term, r.id, st)
		}
	}
	c.cut[1] = false
	c.tick()
	if o := old.group.Status(); o.IsLead || o.Term != s.Term || o.Leader != p.id {
		t.Errorf("the former leader is back: %+v", o)
	}
	if now := p.group.Status(); now.Commit > 2 {
		t.Errorf("committed is %d, and only replica 1 has stored what is queued", now.Commit)
	}
}

// TestFullRingsCommit: nothing is queued, so the entry that begins the new leader's term follows what the disks have; it is committed,
// and all before it, and a checkpoint frees the ring.
func TestFullRingsCommit(t *testing.T) {
	c, _ := fullRings(t, false)
	p, q := c.electAmong(2, 3)
	c.tick()
	for _, r := range []*peer{p, q} {
		if s := r.group.Status(); s.Commit != s.Last || s.Applied != s.Last || s.Last != r.wal.Last(testGroup) {
			t.Fatalf("replica %d: %+v", r.id, s)
		}
		r.checkpoint(1)
		if err := r.wal.Reclaim(); err != nil {
			t.Fatal(err)
		}
	}
	i := c.mustPropose(p, "more")
	c.run()
	if p.last() != i || p.committed != i {
		t.Errorf("entry %d: applied is %d, committed %d", i, p.last(), p.committed)
	}
}

// TestPowerCutAfterAVoteInAFullRing: the replicas know their terms and votes again, nothing that they acknowledged is lost, and none
// of them votes for another in the same term.
func TestPowerCutAfterAVoteInAFullRing(t *testing.T) {
	c, _ := fullRings(t, true)
	p, q := c.electAmong(2, 3)
	term, stored := p.group.Status().Term, q.wal.Last(testGroup)
	r := c.start(q.id, q.disk.crash(1), 3)
	if s := r.group.Status(); s.Term != term || s.Last != stored || s.Commit > 2 {
		t.Fatalf("after the crash %+v; want term %d and the entries up to %d", s, term, stored)
	}
	c.queue = nil
	far := pb.Message{Type: pb.MsgVote, To: uint64(q.id), From: 1, Term: uint64(term), Index: 1 << 20, LogTerm: uint64(term)}
	c.step(r, far)
	r.wal.Drive()
	if len(c.queue) != 1 || c.queue[0].Type != pb.MsgVoteResp || !c.queue[0].Reject {
		t.Errorf("asked for a second vote in term %d: %v", term, c.queue)
	}
}

// TestOnlyVotesOvertake: what acknowledges the log stays behind the entries that it counts.
func TestOnlyVotesOvertake(t *testing.T) {
	c, _ := fullRings(t, true)
	q := c.peers[2]
	last := q.group.Status().Last
	c.step(q, pb.Message{Type: pb.MsgVote, To: 2, From: 3, Term: 9, Index: 1 << 20, LogTerm: 8})
	q.group.ForgetLeader()
	c.step(q, pb.Message{Type: pb.MsgVote, To: 2, From: 3, Term: 9, Index: 1 << 20, LogTerm: 8})
	q.wal.Drive()
	voted := false
	for _, m := range c.queue {
		if m.Type == pb.MsgAppResp && id.Index(m.Index) > q.wal.Last(testGroup) {
			t.Errorf("%v up to %d, the disk has entries up to %d", m.Type, m.Index, q.wal.Last(testGroup))
		}
		voted = voted || m.Type == pb.MsgVoteResp && m.Term == 9 && !m.Reject
	}
	if s := q.group.Status(); !voted || s.Last != last || s.Applied > 2 {
		t.Errorf("sent %v; %+v", c.queue, s)
	}
	// What is stored is committed in the new term and makes room; then everything is stored in order, and the newest term counts.
	c.queue = nil
	c.step(q, pb.Message{Type: pb.MsgHeartbeat, To: 2, From: 3, Term: 9, Commit: uint64(q.wal.Last(testGroup))})
	q.checkpoint(1)
	if err := q.wal.Reclaim(); err != nil {
		t.Fatal(err)
	}
	q.wal.Drive()
	answered := slices.ContainsFunc(c.queue, func(m pb.Message) bool { return m.Type == pb.MsgAppResp && m.Index == uint64(last) })
	if st, _ := q.wal.State(testGroup); st.Hard.Term != 9 || st.Hard.Vote != 3 || st.Last != last || !answered {
		t.Errorf("on the disk %+v, want entries up to %d; sent %v", st, last, c.queue)
	}
}

// TestStoppedGroupWritesNothing: what it has queued in a full ring does not come behind the tombstone that makes room.
func TestStoppedGroupWritesNothing(t *testing.T) {
	c, _ := fullRings(t, true)
	q := c.peers[2]
	q.group.Stop()
	q.wal.SignalCheckpoint(tombstone{})
	q.wal.Drive()
	if err := q.wal.Reclaim(); err != nil {
		t.Fatal(err)
	}
	q.wal.Drive()
	if st, ok := q.wal.State(testGroup); !ok || !st.Deleted {
		t.Errorf("the deleted group is %+v", st)
	}
}

type tombstone struct{}

func (tombstone) Collect(b *wal.Batch) { b.Delete(testGroup) }
func (tombstone) Durable(id.LSN)       {}
