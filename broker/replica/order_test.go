package replica_test

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/vfs"
	"ackline/broker/wal"

	"ackline/broker/syncmethod"
)

// TestResponsesDoNotOvertakeEntriesInFlight: while entries are being written, a commit index comes. Raft wants its store
// answered for the log's last index, though it has nothing to write itself. Answered at once, it would acknowledge entries
// that are not on the disk.
func TestResponsesDoNotOvertakeEntriesInFlight(t *testing.T) {
	c := (&net{t: t}).open(3)
	d := newDisk()
	if err := d.fs.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	var during func()
	w, _, err := wal.Open(wal.Options{Path: "/ring", RingBytes: 1 << 20, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true,
		FS: vfs.Inject(d.fs, func(op vfs.Op) error {
			if f := during; f != nil && op.Changes() {
				during = nil
				f()
			}
			return nil
		})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := c.startOn(2, d, w, 3)
	p := c.elect(1)
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
