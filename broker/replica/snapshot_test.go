package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/replica"
)

// TestFollowerCatchesUp from wherever the leader has what it lacks: memory, the WAL, segments.
func TestFollowerCatchesUp(t *testing.T) {
	for _, from := range []string{"memory", "WAL", "segments", "segments and WAL"} {
		t.Run(from, func(t *testing.T) {
			c := (&net{t: t, logs: true}).open(3)
			p := c.elect(1)
			c.cut[3] = true
			want := c.fill(p, 40)
			switch from {
			case "WAL":
				p.group.Evict(p.group.Status().Last)
			case "segments":
				p.checkpoint(0)
			case "segments and WAL":
				p.checkpoint(0)
				want = append(want, c.fill(p, 10)...)
				p.group.Evict(p.group.Status().Last)
			}
			p.group.Lock()
			cached := len(p.group.CachedLocked(nil, 2, p.group.StatusLocked().Last+1))
			p.group.Unlock()
			if _, err := p.group.Entries(2, 3, 1); (cached > 0) != (from == "memory") || (err == nil) != (from == "memory" || from == "WAL") {
				t.Fatalf("the test does not do what it says: %d entries are in memory, the WAL says %v", cached, err)
			}
			c.cut[3] = false
			c.tick()
			c.tick()
			c.same(want, 1, 2, 3)
			if c.snaps > 0 {
				t.Fatalf("%d snapshots were sent", c.snaps)
			}
		})
	}
}

// behind makes a leader whose log no longer has what replica 3 lacks.
func behind(c *net) (p *peer, want []string) {
	p = c.elect(1)
	c.cut[3] = true
	want = c.fill(p, 40)
	p.checkpoint(0)
	want = append(want, c.fill(p, 5)...)
	return p, want
}

func TestFollowerIsCaughtUpByASnapshot(t *testing.T) {
	c := newNet(t, 3)
	p, want := behind(c)
	c.cut[3] = false
	c.tick()
	c.tick()
	c.same(want, 1, 2, 3)
	q := c.peers[3]
	if q.restored != 1 || c.snaps != 1 {
		t.Fatalf("%d snapshots were restored, %d sent, want one", q.restored, c.snaps)
	}
	more := c.mustPropose(p, "more")
	c.run()
	c.tick()
	c.same(append(want, "more"), 3)
	for seed := range uint64(5) {
		again := (&net{t: t}).open(0)
		r := again.start(3, q.disk.crash(seed), 3)
		if s := r.group.Status(); s.Last < more-1 || s.Applied != r.base.Index {
			t.Fatalf("seed %d: after a crash %+v, the log ended at %d", seed, s, more)
		}
		if !slices.Equal(r.data(), want[:40]) {
			t.Fatalf("seed %d: after a crash the machine has %q", seed, r.data())
		}
	}
}

// TestSnapshotIsAnsweredWhenItIsDurable and restored: until then the replica has promised nothing, and has lost nothing.
func TestSnapshotIsAnsweredWhenItIsDurable(t *testing.T) {
	c := newNet(t, 3)
	_, want := behind(c)
	c.cut[3] = false
	q := c.peers[3]
	var kept []pb.Message
	c.drop = func(m pb.Message) bool {
		if m.Type == pb.MsgSnap {
			kept = append(kept, m)
			return true
		}
		return false
	}
	c.tick()
	if len(kept) != 1 {
		t.Fatalf("%d snapshots came", len(kept))
	}
	if err := q.group.Step(kept[0]); err != nil {
		t.Fatal(err)
	}
	if len(c.queue) != 0 || q.restored != 0 {
		t.Fatalf("before the write %v is sent, %d restored", c.queue, q.restored)
	}
	again := (&net{t: t}).open(0)
	if r := again.start(3, q.disk.crash(1), 3); r.group.Status().Last != 1 {
		t.Fatalf("after a crash before the write: %+v, want the log as it was", r.group.Status())
	}
	q.wal.Drive()
	if len(c.queue) != 1 || c.queue[0].Type != pb.MsgAppResp || c.queue[0].Index != kept[0].Snapshot.Metadata.Index || q.restored != 1 {
		t.Fatalf("after the write %v is sent, %d restored", c.queue, q.restored)
	}
	c.run()
	c.tick()
	c.same(want, 3)
}

// TestNoSnapshotWhileOneIsPrepared: the machine says so, and is asked again.
func TestNoSnapshotWhileOneIsPrepared(t *testing.T) {
	c := newNet(t, 3)
	p, want := behind(c)
	p.preparing = 3
	c.cut[3] = false
	for range 3 {
		c.tick()
		if c.snaps != 0 {
			t.Fatalf("after asking %d times a snapshot was sent that is being prepared", p.asked)
		}
	}
	c.tick()
	c.tick()
	c.same(want, 3)
	if p.asked != 4 || c.snaps != 1 {
		t.Fatalf("the machine was asked %d times, %d snapshots were sent; want 4 and 1", p.asked, c.snaps)
	}
}

// TestSnapshotOfAPartitionCarriesNoData: it stands for what retention has dropped, and all that is still there comes as
// entries.
func TestSnapshotOfAPartitionCarriesNoData(t *testing.T) {
	c := (&net{t: t, logs: true}).open(3)
	p := c.elect(1)
	c.cut[3] = true
	want := c.fill(p, 40)
	p.checkpoint(21) // entry 21 is number 19: entry 1 is the leader's own
	want = append(want, c.fill(p, 5)...)
	c.cut[3] = false
	c.tick()
	c.tick()
	q := c.peers[3]
	if q.restored != 1 || q.base.Index != 20 || len(q.base.Data) != 0 {
		t.Fatalf("restored %d snapshots, the last is %+v; want one at 20 without data", q.restored, q.base)
	}
	c.same(want[19:], 3)
	q.checkpoint(0)
	if q.disk.first != 21 {
		t.Fatalf("replica 3 has entries from %d on, want 21", q.disk.first)
	}
	again := (&net{t: t, logs: true}).open(0)
	if r := again.start(3, q.disk.crash(1), 3); !slices.Equal(r.data(), want[19:]) {
		t.Fatalf("after a restart it has %q", r.data())
	}
}

// TestSnapshotThatLeavesEntriesOutPanics: whoever acknowledges a snapshot counts as having everything below it, so one of a
// group whose state is its log must not pass over entries that can still be read.
func TestSnapshotThatLeavesEntriesOutPanics(t *testing.T) {
	c := (&net{t: t, logs: true}).open(3)
	p := c.elect(1)
	c.cut[3] = true
	c.fill(p, 40)
	p.checkpoint(21)
	p.prepared.Index, p.prepared.Term = 30, p.group.Status().Term
	c.cut[3] = false
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "at 30 leaves out entries from 21") {
			t.Fatalf("recovered %v", r)
		}
	}()
	c.tick()
	t.Fatal("the snapshot was sent")
}

// TestSnapshotsAreNotSentAgainAndAgain: a snapshot that does not arrive must not become the group's only occupation, nor
// cost it its leader.
func TestSnapshotsAreNotSentAgainAndAgain(t *testing.T) {
	for _, how := range []string{"lost", "not taken by the transport", "never reported"} {
		t.Run(how, func(t *testing.T) {
			c := newNet(t, 3)
			p, want := behind(c)
			term := p.group.Status().Term
			c.cut[3] = false
			c.busy = how == "not taken by the transport"
			silent := how == "never reported"
			sent := func() uint64 { return p.group.Counters().Snapshots }
			if silent {
				var quiet []pb.Message
				for range 50 {
					p.group.Tick()
					for range 10 {
						ms := c.queue
						c.queue = nil
						for _, m := range ms {
							if m.Type == pb.MsgSnap { // stays on its way
								quiet = append(quiet, m)
							} else {
								c.deliver(m)
							}
						}
						for _, q := range c.all() {
							q.wal.Drive()
						}
					}
				}
				if len(quiet) != 1 {
					t.Fatalf("%d snapshots were sent while the first was on its way", len(quiet))
				}
				c.queue = quiet
			} else {
				c.drop = func(m pb.Message) bool { return m.Type == pb.MsgSnap }
				for range 300 {
					c.tick()
				}
				if n := sent(); n < 3 || n > 6 {
					t.Fatalf("%d attempts in 300 ticks, want 3 to 6: each pause is twice the last", n)
				}
			}
			if s := p.group.Status(); !s.IsLead || s.Term != term {
				t.Fatalf("replica 1 has %+v, it led in term %d", s, term)
			}
			c.drop, c.busy = nil, false
			for range 400 {
				c.tick()
			}
			c.same(want, 3)
			if s := p.group.Status(); !s.IsLead || s.Term != term {
				t.Fatalf("replica 1 has %+v, it led in term %d", s, term)
			}
		})
	}
}

// TestStreamedSnapshot: what Open gives is streamed in the payload's place.
func TestStreamedSnapshot(t *testing.T) {
	c := newNet(t, 3)
	p, want := behind(c)
	payload := p.prepared.Payload
	opened := 0
	p.prepared.Payload, p.prepared.Open = nil, func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(bytes.NewReader(payload)), nil
	}
	c.cut[3] = false
	c.tick()
	c.tick()
	c.same(want, 3)
	if opened != 1 {
		t.Fatalf("the stream was opened %d times", opened)
	}
}

// TestCheckpointThatASnapshotOvertook: the flush that it records was of a state that is gone.
func TestCheckpointThatASnapshotOvertook(t *testing.T) {
	c := newNet(t, 3)
	p := c.elect(1)
	c.fill(p, 5)
	q := c.peers[3]
	c.tick()
	c.cut[3] = true
	old := q.group.Status()
	pending := q.group.Checkpoint(old.Applied-1, old.Term, []byte("{}")) // never collected before the snapshot
	want := c.fill(p, 40)
	p.checkpoint(0)
	c.cut[3] = false
	c.tick()
	c.tick()
	late := q.group.Checkpoint(old.Applied, old.Term, []byte("{}"))
	for _, done := range []<-chan struct{}{pending, late} {
		select {
		case <-done:
		default:
			t.Fatal("a checkpoint that a snapshot covers is waited for")
		}
	}
	c.run()
	if got := q.data(); len(got) < len(want) || q.restored != 1 {
		t.Fatalf("restored %d times, %d entries", q.restored, len(got))
	}
	again := (&net{t: t}).open(0)
	if r := again.start(3, q.disk.crash(1), 3); r.base.Index != q.base.Index {
		t.Fatalf("recovered at %d, the snapshot is at %d", r.base.Index, q.base.Index)
	}
}

// TestSnapshotThatCannotBeTakenIsRefused before it can do harm.
func TestSnapshotThatCannotBeTakenIsRefused(t *testing.T) {
	c := newNet(t, 3)
	q := c.peers[2]
	meta := pb.SnapshotMetadata{Index: 9, Term: 1, ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}}
	for name, s := range map[string]*pb.Snapshot{
		"none":             nil,
		"no configuration": {Metadata: pb.SnapshotMetadata{Index: 9, Term: 1}},
		"too large":        {Metadata: meta, Data: make([]byte, q.wal.LargestBatch()/2+1)},
	} {
		err := q.group.Step(pb.Message{Type: pb.MsgSnap, To: 2, From: 1, Term: 1, Snapshot: s})
		if !errors.Is(err, replica.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	bad := &pb.Snapshot{Metadata: meta, Data: []byte("no payload")}
	if err := q.group.Step(pb.Message{Type: pb.MsgSnap, To: 2, From: 1, Term: 1, Snapshot: bad}); err != nil {
		t.Fatal(err)
	}
	q.wal.Drive()
	if q.group.Err() == nil || len(c.queue) != 0 {
		t.Fatalf("a machine that could not restore: the group's error is %v, %v was sent", q.group.Err(), c.queue)
	}
}
