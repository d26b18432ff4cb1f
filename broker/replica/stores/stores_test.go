package stores_test

import (
	"fmt"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/stores"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

const (
	group   id.GroupID   = 7
	replica id.ReplicaID = 2
	leader               = 1
)

// source is a queue that is asked by a WAL on a memory disk, which writes when it is driven. It notes what may be delivered.
type source struct {
	stores.Queue
	t    *testing.T
	fs   *vfs.Mem
	wal  *wal.WAL
	term id.Term
	said []string // responses, in the order in which they may go, and "full:" when a batch is built that takes no entries
	left bool     // what the last Collect returned
}

func open(t *testing.T, fs *vfs.Mem) *wal.WAL {
	t.Helper()
	w, _, err := wal.Open(wal.Options{FS: fs, Path: "/ring", RingBytes: 1 << 20, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{t: t, fs: vfs.NewMem()}
	if err := s.fs.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	s.wal = open(t, s.fs)
	s.Queue = stores.New(stores.Config{Group: group, Replica: replica, PartBytes: s.wal.LargestBatch() / 4}, wal.HardState{})
	return s
}

func (s *source) Collect(b *wal.Batch) {
	if b.CheckpointsOnly() {
		s.said = append(s.said, "full:")
	}
	behind := s.CollectCheckpoint(b, 1)
	if s.left = s.Queue.Collect(b, 1, behind); s.left {
		s.signal()
	}
}

func (s *source) signal() {
	s.wal.Signal(s)
	if s.Votes() {
		s.wal.SignalVote(s)
	}
}

func (s *source) Durable(end id.LSN) {
	done := s.Queue.Durable(end, s.term)
	for i := range done {
		s.say(done[i].Responses)
		for _, c := range done[i].Done {
			close(c)
		}
	}
	s.Forget(len(done))
}

func (s *source) say(ms []pb.Message) {
	for _, m := range ms {
		s.said = append(s.said, said(m.Type, id.Term(m.Term), id.Index(m.Index)))
	}
}

func said(typ pb.MessageType, term id.Term, index id.Index) string {
	return fmt.Sprintf("%v %d/%d", typ, term, index)
}

// heard returns what may have gone since it was last called.
func (s *source) heard() []string {
	said := s.said
	s.said = nil
	return said
}

func (s *source) wants(what string, want ...string) {
	s.t.Helper()
	if got := s.heard(); !slices.Equal(got, want) {
		s.t.Fatalf("%s: %q may go, want %q", what, got, want)
	}
}

// add queues what raft would ask for when it has entries, or another hard state, and drives nothing.
func (s *source) add(hs wal.HardState, es []pb.Entry, responses ...pb.Message) {
	s.term = max(s.term, hs.Term)
	now, queued := s.Add(&pb.Message{Type: pb.MsgStorageAppend, Term: uint64(hs.Term), Vote: uint64(hs.Vote), Commit: uint64(hs.Commit),
		Entries: es, Responses: responses})
	s.say(now)
	if queued {
		s.signal()
	}
}

func entries(term id.Term, first, last id.Index, size int) (es []pb.Entry) {
	for i := first; i <= last; i++ {
		es = append(es, pb.Entry{Index: uint64(i), Term: uint64(term), Data: make([]byte, size)})
	}
	return es
}

func response(typ pb.MessageType, term id.Term, index id.Index) pb.Message {
	return pb.Message{Type: typ, To: leader, From: uint64(replica), Term: uint64(term), Index: uint64(index)}
}

// recovered is what the WAL holds after a power cut.
func (s *source) recovered() wal.GroupState {
	s.t.Helper()
	st, _ := open(s.t, s.fs.CrashClone(1)).State(group)
	return st
}

func TestResponsesWaitForWhatIsBeforeThem(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1, Vote: leader}, entries(1, 1, 3, 10), response(pb.MsgAppResp, 1, 3))
	s.add(wal.HardState{Term: 1, Vote: leader, Commit: 2}, nil, response(pb.MsgAppResp, 1, 3))
	s.wants("before the write")
	if s.Empty() || s.Hard().Commit != 2 {
		t.Fatalf("empty %v, hard state %+v", s.Empty(), s.Hard())
	}
	s.wal.Drive()
	s.wants("after the write", "MsgAppResp 1/3", "MsgAppResp 1/3")
	s.add(wal.HardState{Term: 1, Vote: leader, Commit: 3}, nil, response(pb.MsgAppResp, 1, 3))
	s.wants("a commit index alone", "MsgAppResp 1/3")
	if st := s.recovered(); !s.Empty() || st.Last != 3 || st.Hard != (wal.HardState{Term: 1, Vote: leader}) {
		t.Fatalf("empty %v, on the disk %+v", s.Empty(), st)
	}
}

// TestPartsAreWholeByThemselves: a burst that is larger than a batch goes in parts, and what is on the disk never counts as
// committed what comes in the next one.
func TestPartsAreWholeByThemselves(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1, Vote: leader, Commit: 20}, entries(1, 1, 20, 8<<10), response(pb.MsgAppResp, 1, 20))
	parts := 0
	s.wal.Signal(&probe{func(*wal.Batch) {
		if s.left {
			parts++
			st, _ := s.wal.State(group)
			if st.Hard.Commit > st.Last {
				t.Errorf("committed is %d, and the disk has entries up to %d", st.Hard.Commit, st.Last)
			}
		}
	}})
	for range 20 {
		s.wal.Drive()
	}
	if st := s.recovered(); st.Last != 20 || st.Hard.Commit != 20 {
		t.Fatalf("on the disk %+v", st)
	}
	s.wants("in the end", "MsgAppResp 1/20")
}

// probe is a source that adds nothing.
type probe struct{ collect func(*wal.Batch) }

func (p *probe) Collect(b *wal.Batch) { p.collect(b) }
func (p *probe) Durable(id.LSN)       {}

func TestCheckpointsAreSuperseded(t *testing.T) {
	s := newSource(t)
	s.add(wal.HardState{Term: 1, Vote: leader, Commit: 4}, entries(1, 1, 4, 10))
	s.wal.Drive()
	first, second, third := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.SetCheckpoint(2, 1, []byte("old"), first)
	s.SetCheckpoint(3, 1, []byte("new"), second)
	s.wal.SignalCheckpoint(s)
	s.wal.Drive()
	<-first
	<-second
	if st := s.recovered(); st.Flushed != 3 || string(st.Payload) != "new" {
		t.Fatalf("on the disk %+v", st)
	}
	s.SetCheckpoint(4, 1, []byte("covered"), third)
	s.AddSnapshot(&stores.Snapshot{Index: 9, Term: 1, Payload: []byte("snapshot")})
	s.wal.SignalCheckpoint(s)
	s.wal.Drive()
	<-third
	if st := s.recovered(); st.Flushed != 9 || !st.Snapshot || string(st.Payload) != "snapshot" {
		t.Fatalf("on the disk %+v", st)
	}
}
