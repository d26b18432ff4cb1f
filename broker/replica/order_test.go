package replica_test

import (
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// followerWithWrites returns three replicas of which 1 leads and 2 tells before each write of its WAL.
func followerWithWrites(t *testing.T) (c *net, p, q *peer, writing *func()) {
	t.Helper()
	c, writing = (&net{t: t}).open(3), new(func())
	d := newDisk()
	if err := d.fs.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	w, _, err := wal.Open(wal.Options{Path: "/ring", RingBytes: 1 << 20, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true,
		FS: vfs.Inject(d.fs, func(op vfs.Op) error {
			if f := *writing; f != nil && op.Changes() {
				f()
			}
			return nil
		})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q = c.startOn(2, d, w, 3)
	return c, c.elect(1), q, writing
}

// TestResponsesDoNotOvertakeEntriesInFlight: while entries are being written, a commit index comes. Raft wants its store
// answered for the log's last index, though it has nothing to write itself. Answered at once, it would acknowledge entries
// that are not on the disk.
func TestResponsesDoNotOvertakeEntriesInFlight(t *testing.T) {
	c, p, q, writing := followerWithWrites(t)
	w := q.wal
	var during func()
	*writing = func() {
		if f := during; f != nil {
			during = nil
			f()
		}
	}
	i := c.mustPropose(p, "x")
	var app pb.Message
	for _, m := range c.queue {
		if m.To == 2 && m.Type == pb.MsgApp {
			app = m
		}
	}
	c.queue = nil
	if err := q.group.Step(app); err != nil || app.Type != pb.MsgApp {
		t.Fatalf("step %v: %v", app, err)
	}
	written := false
	during = func() {
		written = true
		beat := pb.Message{Type: pb.MsgApp, To: 2, From: 1, Term: app.Term, Index: uint64(i), LogTerm: app.Term, Commit: uint64(i)}
		if err := q.group.Step(beat); err != nil {
			t.Errorf("step: %v", err)
		}
		if q.committed != i {
			t.Errorf("the commit index did not arrive during the write: %d, want %d", q.committed, i)
		}
		if len(q.applied) > 0 && q.applied[len(q.applied)-1].Index == i {
			t.Errorf("entry %d was applied before it was on the disk", i)
		}
		for _, m := range c.queue {
			t.Errorf("during the write %v of %d is sent", m.Type, m.Index)
		}
	}
	w.Drive()
	if !written {
		t.Fatal("nothing was written")
	}
	if len(c.queue) != 2 || c.queue[0].Index != uint64(i) || c.queue[1].Index != uint64(i) {
		t.Fatalf("after the write %v is sent, want both acknowledgements of %d", c.queue, i)
	}
	if last := q.applied[len(q.applied)-1]; last.Index != i {
		t.Fatalf("after the write entry %d is applied last, want %d", last.Index, i)
	}
}

// appended proposes an entry and steps the append that carries it to replica 2, which has not written it yet.
func (n *net) appended(p, q *peer) (id.Index, pb.Message) {
	n.t.Helper()
	i := n.mustPropose(p, "x")
	k := slices.IndexFunc(n.queue, func(m pb.Message) bool { return m.To == 2 && m.Type == pb.MsgApp })
	if k < 0 {
		n.t.Fatalf("no append among %v", n.queue)
	}
	m := n.queue[k]
	n.queue = nil
	n.step(q, m)
	return i, m
}

func (n *net) step(q *peer, ms ...pb.Message) {
	n.t.Helper()
	for _, m := range ms {
		if err := q.group.Step(m); err != nil {
			n.t.Fatalf("step %v: %v", m.Type, err)
		}
	}
}

// last is the index of the newest entry that was applied.
func (p *peer) last() id.Index {
	if len(p.applied) == 0 {
		return 0
	}
	return p.applied[len(p.applied)-1].Index
}

// TestEntriesDurableAfterATermChange are applied before the write that records the new term: that may wait for space in the ring,
// which comes free when entries have been applied.
func TestEntriesDurableAfterATermChange(t *testing.T) {
	c, p, q, writing := followerWithWrites(t)
	i, app := c.appended(p, q)
	writes, atSecond := 0, id.Index(0)
	*writing = func() {
		switch writes++; writes {
		case 1:
			c.step(q, pb.Message{Type: pb.MsgHeartbeat, To: 2, From: 3, Term: app.Term + 1, Commit: uint64(i)})
		case 2:
			atSecond = q.last()
		}
	}
	q.wal.Drive()
	if writes != 2 || atSecond != i {
		t.Errorf("at the second of %d writes %d is applied, want %d", writes, atSecond, i)
	}
}

// TestEntriesThatComeAgainAreNotDurableYet: their first write is done, but that of other entries in their place is queued behind it,
// and after that their second.
func TestEntriesThatComeAgainAreNotDurableYet(t *testing.T) {
	c, p, q, writing := followerWithWrites(t)
	i, app := c.appended(p, q)
	other := pb.Message{Type: pb.MsgApp, To: 2, From: 3, Term: app.Term + 1, Index: uint64(i) - 1, LogTerm: app.LogTerm, Commit: uint64(i) - 1,
		Entries: []pb.Entry{{Index: uint64(i), Term: app.Term + 1, Data: []byte("y")}}}
	again := app
	again.Term, again.Commit = app.Term+2, uint64(i)
	writes, atSecond := 0, id.Index(0)
	*writing = func() {
		switch writes++; writes {
		case 1:
			c.step(q, other, again)
		case 2:
			atSecond = q.last()
		}
	}
	q.wal.Drive()
	if writes < 2 || atSecond == i || q.last() != i {
		t.Errorf("at the second of %d writes %d is applied, and in the end %d; want %d, and not at the second", writes, atSecond, q.last(), i)
	}
}

// TestCheckpointAndALargeEntry are more than a batch takes, behind a batch's worth of others: the entry waits for the next one.
func TestCheckpointAndALargeEntry(t *testing.T) {
	c := newNet(t, 1)
	p := c.elect(1)
	c.fill(p, 3)
	at, most := p.group.Status(), int(p.wal.LargestBatch()/2)
	done := p.group.Checkpoint(at.Applied, at.Term, make([]byte, most))
	i := c.mustPropose(p, string(make([]byte, most)))
	p.wal.Drive()
	<-done
	if last := p.applied[len(p.applied)-1]; last.Index != i || p.group.Err() != nil {
		t.Fatalf("entry %d is applied last, want %d; the group's error: %v", last.Index, i, p.group.Err())
	}
}
