package stores_test

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/wal"
)

// full returns a queue whose WAL has no more room for entries: up to stored they are on the disk, one more is queued, and its
// MsgAppResp with it. Nothing is committed.
func full(t *testing.T) (s *source, stored id.Index) {
	t.Helper()
	s = newSource(t)
	for i := id.Index(1); ; i++ {
		s.add(wal.HardState{Term: 1, Vote: leader}, entries(1, i, i, 8<<10), response(pb.MsgAppResp, 1, i))
		s.wal.Drive()
		if last := s.wal.Last(group); last < i {
			s.heard()
			return s, last
		}
	}
}

// free has everything that is stored flushed, and so makes room for the rest.
func (s *source) free(stored id.Index) {
	s.t.Helper()
	done := make(chan struct{})
	s.SetCheckpoint(stored, 1, nil, done)
	s.wal.SignalCheckpoint(s)
	s.wal.Drive()
	<-done
	if err := s.wal.Reclaim(); err != nil {
		s.t.Fatal(err)
	}
	s.wal.Drive()
}

func TestVoteOvertakesWhatWaitsForSpace(t *testing.T) {
	s, stored := full(t)
	s.add(wal.HardState{Term: 2}, nil, response(pb.MsgAppResp, 2, stored+1), response(pb.MsgStorageAppendResp, 2, stored+1))
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.wants("before the write")
	s.wal.Drive()
	s.wants("after the write", "full:", "MsgVoteResp 2/0")
	if st := s.recovered(); st.Hard != (wal.HardState{Term: 2, Vote: 3}) || st.Last != stored {
		t.Fatalf("on the disk %+v", st)
	}
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.wants("asked again", "MsgVoteResp 2/0")
	s.free(stored)
	s.wants("when there is room", "full:", said(pb.MsgAppResp, 1, stored+1), said(pb.MsgAppResp, 2, stored+1), said(pb.MsgStorageAppendResp, 2, stored+1))
	if st := s.recovered(); st.Hard.Term != 2 || st.Hard.Vote != 3 || st.Last != stored+1 || !s.Empty() {
		t.Fatalf("on the disk %+v", st)
	}
}

// TestVoteOfALaterTermWaitsForItsOwnWrite: it comes when the batch is built that has the one before.
func TestVoteOfALaterTermWaitsForItsOwnWrite(t *testing.T) {
	s, _ := full(t)
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.wal.SignalVote(&probe{func(*wal.Batch) {
		s.add(wal.HardState{Term: 3, Vote: leader}, nil, response(pb.MsgVoteResp, 3, 0))
	}})
	s.wal.Drive()
	s.wants("after both writes", "full:", "MsgVoteResp 2/0", "full:", "MsgVoteResp 3/0")
}

// TestPreVotesWaitForNothing, be it entries, votes, or a write that is under way.
func TestPreVotesWaitForNothing(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1, Vote: 3}, entries(1, 1, 1, 10), response(pb.MsgPreVoteResp, 2, 0), response(pb.MsgVoteResp, 1, 0))
	s.add(wal.HardState{Term: 1, Vote: 3}, nil, response(pb.MsgPreVoteResp, 3, 0))
	s.wants("before the write", "MsgPreVoteResp 2/0", "MsgPreVoteResp 3/0")
	s.wal.Drive()
	s.wants("after the write", "MsgVoteResp 1/0")
}

// TestVotesGoInTheirTurnWhileThereIsRoom.
func TestVotesGoInTheirTurnWhileThereIsRoom(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1}, entries(1, 1, 1, 10), response(pb.MsgAppResp, 1, 1))
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.wal.Drive()
	s.wants("after the write", "MsgAppResp 1/1", "MsgVoteResp 2/0")
}

// TestFirstEntryOfATermNeedsNoRoom, but does not overtake.
func TestFirstEntryOfATermNeedsNoRoom(t *testing.T) {
	s, stored := full(t)
	s.add(wal.HardState{Term: 2, Vote: 3}, entries(2, stored+2, stored+2, 0), response(pb.MsgAppResp, 2, stored+2))
	s.wal.Drive()
	s.wants("behind an entry that waits", "full:")
	s.free(stored)
	s.wants("when there is room", "full:", said(pb.MsgAppResp, 1, stored+1), said(pb.MsgAppResp, 2, stored+2))

	s, stored = full(t)
	s.add(wal.HardState{Term: 2, Vote: 3}, entries(2, stored+1, stored+1, 0), response(pb.MsgAppResp, 2, stored+1)) // replaces the one that waits
	s.wal.Drive()
	if st := s.recovered(); st.Last != stored {
		t.Errorf("an entry of term 2 has overtaken one of term 1: %+v", st)
	}
}

// TestTermsOnTheDiskNeverGoBack, though what is queued was asked for in an earlier term.
func TestTermsOnTheDiskNeverGoBack(t *testing.T) {
	s, stored := full(t)
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.wal.Drive()
	s.free(stored)
	v := s.replayed()
	if v.term != 2 || v.last != stored+1 {
		t.Errorf("replay saw entries up to %d and ends in term %d", v.last, v.term)
	}
}

// TestCommitIndexComesBehindItsEntries: recovery reads in order, and would take what they replace for committed.
func TestCommitIndexComesBehindItsEntries(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1}, entries(1, 1, 4, 8))
	s.wal.Drive()
	s.add(wal.HardState{Term: 2, Commit: 4}, entries(2, 3, 5, 8))
	s.wal.Drive()
	v := s.replayed()
	if v.last != 5 || v.commit != 4 {
		t.Errorf("replay saw entries up to %d and a commit index of %d", v.last, v.commit)
	}
}

// replayed is what a start after a power cut sees.
func (s *source) replayed() *order {
	s.t.Helper()
	v := &order{t: s.t}
	if _, _, err := wal.Open(wal.Options{FS: s.fs.CrashClone(1), Path: "/ring", RingBytes: 1 << 20, BatchBytes: 16 << 10,
		Method: syncmethod.All()[0], Inline: true}, v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// order is a visitor that checks that terms never go back, and that no entry comes behind a commit index that counts it.
type order struct {
	t      *testing.T
	term   id.Term
	commit id.Index
	last   id.Index
}

func (o *order) Entries(_ id.GroupID, _ id.ReplicaID, es []wal.Entry) error {
	if es[0].Index <= o.commit {
		o.t.Errorf("entry %d comes behind a commit index of %d", es[0].Index, o.commit)
	}
	o.last = es[len(es)-1].Index
	return nil
}

func (o *order) HardState(_ id.GroupID, _ id.ReplicaID, hs wal.HardState) error {
	if hs.Term < o.term {
		o.t.Errorf("term %d comes behind term %d", hs.Term, o.term)
	}
	o.term, o.commit = hs.Term, max(o.commit, hs.Commit)
	return nil
}

func (o *order) Checkpoint(g id.GroupID, r id.ReplicaID, _ id.Index, _ id.Term, hs wal.HardState, _ []byte) error {
	return o.HardState(g, r, hs)
}
func (o *order) Snapshot(id.GroupID, id.ReplicaID, id.Index, id.Term, []byte) error { return nil }
func (o *order) Deleted(id.GroupID) error                                           { return nil }

// TestCheckpointCountsNothingThatIsReplaced: of what is queued, a later part begins below an earlier one; the commit index counts its
// entries, and the disk has others in their place.
func TestCheckpointCountsNothingThatIsReplaced(t *testing.T) {
	s, stored := full(t)
	s.add(wal.HardState{Term: 2, Commit: 5}, entries(2, stored-3, stored, 8<<10))
	s.add(wal.HardState{Term: 2, Commit: stored}, nil)
	s.SetCheckpoint(5, 1, nil, make(chan struct{}))
	s.wal.SignalCheckpoint(s)
	s.wal.Drive()
	if st := s.recovered(); st.Flushed != 5 || st.Hard.Commit != stored-4 {
		t.Errorf("on the disk %+v, want committed up to %d", st, stored-4)
	}
}

// TestNothingIsWrittenBehindATombstone by a group that has stopped, be it a vote, in a full ring, or an entry, once there is room.
func TestNothingIsWrittenBehindATombstone(t *testing.T) {
	s, _ := full(t)
	s.add(wal.HardState{Term: 2, Vote: 3}, nil, response(pb.MsgVoteResp, 2, 0))
	s.Drop()
	s.wal.SignalCheckpoint(&probe{func(b *wal.Batch) { b.Delete(group) }})
	s.wal.Drive()
	if err := s.wal.Reclaim(); err != nil {
		t.Fatal(err)
	}
	s.wal.Drive()
	if st := s.recovered(); !st.Deleted || s.Votes() || !s.Empty() {
		t.Errorf("on the disk %+v", st)
	}
}
