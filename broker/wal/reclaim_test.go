package wal

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// lap appends and checkpoints with one group until about n bytes were written.
func lap(t testing.TB, w *WAL, s *source, g id.GroupID, n int64) {
	t.Helper()
	last := w.Last(g)
	for _, end := w.queue.bounds(); ; {
		s.add(w, func(b *Batch) { b.Entries(g, 1, ents(last+1, 1, string(make([]byte, 3000)))) })
		s.add(w, func(b *Batch) { b.Checkpoint(g, 1, last+1, 1, hard(1, 1, last+1), nil) })
		w.Drive()
		if err := w.Reclaim(); err != nil {
			t.Fatal(err)
		}
		if last++; w.Last(g) != last {
			t.Fatalf("entry %d of group %d is not durable; used %d", last, g, w.last.LSN-w.super.Head)
		}
		if _, tail := w.queue.bounds(); int64(tail-end) > n {
			return
		}
	}
}

// Groups that are quiet must not hold the ring, whatever their last records are.
func TestQuietGroupsMove(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	var quiet, busy source
	tail := ents(4, 2, "four", "five")
	quiet.add(w, func(b *Batch) {
		b.Entries(1, 11, ents(1, 1, "one", "two", "three"))
		b.Checkpoint(1, 11, 3, 1, hard(1, 11, 3), []byte("payload"))
		b.Entries(1, 11, tail)
		b.HardState(2, 21, hard(7, 3, 0))
		b.Snapshot(3, 31, 100, 6, []byte("snapshot"))
		b.Entries(3, 31, ents(101, 6, "behind"))
		b.HardState(3, 31, hard(6, 1, 100))
		b.Entries(4, 41, ents(1, 1, "to be deleted"))
		b.Delete(4)
	})
	w.Drive()
	before := w.index.states()
	for range 3 {
		lap(t, w, &busy, 9, 2*testRing)
		if head, tail := w.queue.bounds(); tail-head > testRing*3/4 {
			t.Errorf("%d bytes of %d are in use", tail-head, testRing)
		}
		wantEntries(t, w, 1, tail)
		wantEntries(t, w, 3, ents(101, 6, "behind"))
		if got := w.index.states()[:4]; fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("groups are now\n%+v, were\n%+v", got, before)
		}
		o.FS = o.FS.(*vfs.Mem).CrashClone(1)
		w, _ = mustOpen(t, o)
	}
	if w.super.Head < 6*testRing {
		t.Errorf("the head is at %d only", w.super.Head)
	}
	w.Forget(4)
	w.Forget(1) // is not deleted: nothing happens
	lap(t, w, &busy, 9, 2*testRing)
	w.Close()
	w, _ = mustOpen(t, o)
	if s, ok := w.State(4); ok {
		t.Errorf("a forgotten group is back: %+v", s)
	}
	wantEntries(t, w, 1, tail)
}

// A group that was small when Reclaim made its plan, and is larger than a batch when its turn comes, stays where it is.
func TestGroupGrowsWhileOthersMove(t *testing.T) {
	var w *WAL
	var s source
	grown := id.Index(0)
	grow := func() {
		for largest := w.queue.largest; w.index.groups[2].cost() <= largest; {
			grown++
			s.add(w, func(b *Batch) { b.Entries(2, 1, ents(grown, 1, string(make([]byte, 3000)))) })
			w.Drive()
		}
	}
	o := testOptions(vfs.NewMem())
	o.Inline, o.RingBytes = true, 4*testRing
	reads := 0
	w = hooked(t, o, func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			if reads++; reads == 1 { // of the first group's entries
				grow()
			}
		}
		return nil
	})
	grown++
	s.add(w, func(b *Batch) {
		b.Entries(1, 1, ents(1, 1, "quiet"))
		b.Entries(2, 1, ents(grown, 1, "not for long"))
	})
	for last := id.Index(1); reads == 0; last++ {
		s.add(w, func(b *Batch) {
			b.Entries(9, 1, ents(last, 1, string(make([]byte, 3000))))
			b.Checkpoint(9, 1, last, 1, hard(1, 1, last), nil)
		})
		w.Drive()
		if err := w.Reclaim(); err != nil {
			t.Fatal(err)
		}
	}
	first := w.index.groups[1].oldest()
	if second := w.index.groups[2].oldest(); first <= second || grown < 2 {
		t.Errorf("the first group's oldest record is at LSN %d, that of the second, which grew by %d entries, at %d", first, grown-1, second)
	}
	if w.Last(2) != grown {
		t.Errorf("the second group ends at %d, want %d", w.Last(2), grown)
	}
}

// A ring full of entries takes no more, still takes the checkpoint, and goes on by itself once that has freed it.
func TestFullRing(t *testing.T) {
	w, _ := mustOpen(t, testOptions(vfs.NewMem()))
	s := &filler{w: w, told: make(chan id.LSN, 100)}
	for used, usable := w.Usage(); used <= usable; used, usable = w.Usage() {
		if err := w.Reclaim(); err != nil { // the batch that Open wrote
			t.Fatal(err)
		}
		s.want++
		w.Signal(s)
		w.Drive()
		<-s.told
	}
	full := s.next
	s.want += 3
	w.Signal(s)
	w.Drive()
	w.Drive()
	if s.next != full || len(s.told) != 0 {
		t.Fatalf("entry %d was taken by a full ring; usage %v", s.next, fmt.Sprint(w.Usage()))
	}
	if err := w.Reclaim(); err != nil {
		t.Fatal(err)
	}
	if s.next != full {
		t.Fatal("Reclaim without a checkpoint freed something")
	}
	s.ckpt = full - 1
	w.SignalCheckpoint(s)
	w.Drive()
	<-s.told
	if s.next != full || s.tight != 1 {
		t.Fatalf("entry %d was added with the checkpoint; CheckpointsOnly in %d calls", s.next, s.tight)
	}
	if err := w.Reclaim(); err != nil {
		t.Fatal(err)
	}
	for s.last() < full+3 {
		<-s.told
	}
	if first := w.First(1); first != full {
		t.Errorf("the first entry is %d, want %d", first, full)
	}
}

func TestEntriesNeedRoomForThem(t *testing.T) {
	var b Batch
	b.reset(testRing, testBatch, [classes]bool{forCheckpoints: true})
	if b.Room() != 0 || !b.CheckpointsOnly() {
		t.Errorf("room is %d", b.Room())
	}
	b.Checkpoint(1, 1, 1, 1, hard(1, 1, 1), nil)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "group 1 adds 2 entries to a batch that is for checkpoints only") {
			t.Errorf("panic: %v", p)
		}
	}()
	b.Entries(1, 1, ents(2, 1, "a", "b"))
}

// Whoever takes checkpoints one by one and reclaims at the end must not wait for ever for room for the last: what the
// others have freed is taken without being asked for.
func TestCheckpointsMakeRoom(t *testing.T) {
	for _, inline := range []bool{false, true} {
		o := testOptions(vfs.NewMem())
		o.Inline = inline
		w, _ := mustOpen(t, o)
		s := &filler{w: w, told: make(chan id.LSN, 100)}
		for s.want < 10 {
			s.want++
			w.Signal(s)
			w.Drive()
			<-s.told
		}
		for range 3 * testRing / vfs.BlockSize {
			s.ckpt = 9
			w.SignalCheckpoint(s)
			w.Drive()
			<-s.told
		}
		if w.First(1) != 10 || w.Last(1) != 10 {
			t.Errorf("inline %v: entries %d to %d", inline, w.First(1), w.Last(1))
		}
	}
}

// filler adds one large entry per Collect, as long as it wants to.
type filler struct {
	w          *WAL
	next, want id.Index
	ckpt       id.Index
	tight      int
	told       chan id.LSN
}

func (s *filler) last() id.Index { return s.w.Last(1) }

func (s *filler) Collect(b *Batch) {
	if s.ckpt > 0 {
		b.Checkpoint(1, 1, s.ckpt, 1, hard(1, 1, s.ckpt), nil)
		s.ckpt = 0
	}
	if b.CheckpointsOnly() {
		s.tight++
		s.w.Signal(s)
		return
	}
	if s.next < s.want {
		s.next++
		b.Entries(1, 1, ents(s.next, 1, string(make([]byte, 3900))))
	}
	if s.next < s.want {
		s.w.Signal(s)
	}
}

func (s *filler) Durable(end id.LSN) { s.told <- end }

// The head must not move before the superblock that says so is synced.
func TestSpaceIsFreedAfterTheSuperblock(t *testing.T) {
	var w *WAL
	var supers atomic.Int32
	var early error
	o := testOptions(vfs.NewMem())
	o.Inline = true
	var before id.LSN
	w = hooked(t, o, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Off < 2*vfs.BlockSize {
			supers.Add(1)
			if head, _ := w.queue.bounds(); head != before {
				early = fmt.Errorf("the head is at %d, was at %d", head, before)
			}
		}
		return nil
	})
	var s source
	for i := range id.Index(20) {
		s.add(w, func(b *Batch) { b.Checkpoint(1, 1, i, 1, hard(1, 1, i), nil) })
		w.Drive()
		before, _ = w.queue.bounds()
		if err := w.Reclaim(); err != nil {
			t.Fatal(err)
		}
		if head, _ := w.queue.bounds(); head <= before || early != nil || supers.Load() != int32(i)+1 {
			t.Fatalf("head was %d, is %d after %d superblocks; early: %v", before, head, supers.Load(), early)
		}
	}
}

// An entry is read back long after its batch was checked; bytes that changed meanwhile must not be served.
func TestReadNoticesDamage(t *testing.T) {
	o := testOptions(vfs.NewMem())
	w, _ := mustOpen(t, o)
	var s source
	s.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, "first", "second")) })
	w.Drive()
	flip(t, o, w.file.Pos(s.lsns[0])+64+32+8+24+1) // in the first entry's data
	if es, err := w.Entries(1, 2, 3, 100); err != nil {
		t.Errorf("the whole entry: %v, %v", es, err)
	}
	_, err := w.Entries(1, 1, 2, 100)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "group 1, entry 1") {
		t.Errorf("the damaged entry: %v", err)
	}
}

// flip changes one bit of the file.
func flip(t testing.TB, o Options, pos int64) {
	t.Helper()
	f, err := o.FS.Open(o.Path, vfs.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, pos); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAtDsync(b, pos); err != nil {
		t.Fatal(err)
	}
}

// A ring full of entries takes votes, and the entries that begin terms; not so many that checkpoints would have no room.
func TestVotesInAFullRing(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	var s source
	last := id.Index(0)
	for used, usable := w.Usage(); used <= usable; used, usable = w.Usage() {
		last++
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(last, 1, string(make([]byte, 3900)))) })
		w.Drive()
		if err := w.Reclaim(); err != nil { // the batch that Open wrote
			t.Fatal(err)
		}
	}
	v := &voter{w: w}
	for before := -1; v.given != before; {
		before = v.given
		w.SignalVote(v)
		w.Drive()
	}
	free := func() int64 {
		used, _ := w.Usage()
		return testRing - used
	}
	if most := int(reserve[forEntries]-reserve[forVotes]) * int(w.LargestBatch()) / vfs.BlockSize; v.given < most/2 || v.given > most {
		t.Errorf("%d votes were given, of at most %d", v.given, most)
	}
	if left := free(); left >= reserve[forVotes]*w.LargestBatch() || left <= (reserve[forCheckpoints]+1)*w.LargestBatch() {
		t.Errorf("%d bytes are free", left)
	}
	given := v.given
	s.add(w, func(b *Batch) {
		if !b.CheckpointsOnly() || b.Votes() {
			t.Errorf("checkpoints only: %v, votes: %v", b.CheckpointsOnly(), b.Votes())
		}
		b.Checkpoint(1, 1, last, 1, hard(1, 1, 1), nil)
	})
	w.SignalCheckpoint(&s)
	w.Drive()
	if err := w.Reclaim(); err != nil {
		t.Fatal(err)
	}
	if w.Drive(); v.given != given+1 {
		t.Errorf("%d votes were given, %d before there was room: the one that waited is missing", v.given, given)
	}
	if st, _ := w.State(2); st.Last != id.Index(v.given) || st.Hard.Term != id.Term(v.given) {
		t.Errorf("the second group is %+v after %d votes", st, v.given)
	}
}

// voter adds a term, and the entry that begins it, whenever it may.
type voter struct {
	w     *WAL
	given int
}

func (v *voter) Collect(b *Batch) {
	if !b.Votes() {
		v.w.SignalVote(v)
		return
	}
	v.given++
	b.HardState(2, 1, hard(id.Term(v.given), 1, 0))
	b.Entries(2, 1, []Entry{{Index: id.Index(v.given), Term: id.Term(v.given)}})
}

func (v *voter) Durable(id.LSN) {}
