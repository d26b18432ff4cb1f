package wal

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

const (
	testBatch = 4096
	testRing  = minRingBatches * testBatch
)

func testOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, Path: "/wal", Method: syncmethod.DirectDsync, RingBytes: testRing, BatchBytes: testBatch, RingID: 7}
}

func mustOpen(t testing.TB, o Options) (*WAL, Recovery) {
	t.Helper()
	w, rec, err := Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, rec
}

// source appends what it is given, in order, one function per Collect.
type source struct {
	mu   sync.Mutex
	todo []func(*Batch)
	lsns []id.LSN // of the batches that it added to
	end  id.LSN   // the highest that Durable was told
	told int
}

func (s *source) add(w *WAL, f func(*Batch)) {
	s.mu.Lock()
	s.todo = append(s.todo, f)
	s.mu.Unlock()
	w.Signal(s)
}

func (s *source) Collect(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.todo {
		f(b)
	}
	if len(s.todo) > 0 {
		s.lsns = append(s.lsns, b.LSN())
	}
	s.todo = nil
}

func (s *source) Durable(end id.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told++
	s.end = max(s.end, end)
}

func ents(from id.Index, term id.Term, data ...string) []Entry {
	var es []Entry
	for i, d := range data {
		es = append(es, Entry{Index: from + id.Index(i), Term: term, Type: uint8(i % 3), Data: []byte(d)})
	}
	return es
}

func hard(t id.Term, v id.ReplicaID, c id.Index) HardState {
	return HardState{Term: t, Vote: v, Commit: c}
}

func wantEntries(t testing.TB, w *WAL, g id.GroupID, want []Entry) {
	t.Helper()
	if len(want) == 0 {
		if w.Last(g) >= w.First(g) {
			t.Errorf("group %d: has entries %d to %d, want none", g, w.First(g), w.Last(g))
		}
		return
	}
	lo, hi := want[0].Index, want[len(want)-1].Index
	if w.First(g) != lo || w.Last(g) != hi {
		t.Errorf("group %d: has entries %d to %d, want %d to %d", g, w.First(g), w.Last(g), lo, hi)
	}
	got, err := w.Entries(g, lo, hi+1, 1<<30)
	if err != nil {
		t.Errorf("group %d: %v", g, err)
		return
	}
	if err := sameEntries(got, want); err != nil {
		t.Errorf("group %d: %v", g, err)
	}
	for _, e := range want {
		if term, err := w.Term(g, e.Index); term != e.Term || err != nil {
			t.Errorf("group %d: term of %d is %d, %v; want %d", g, e.Index, term, err, e.Term)
		}
	}
}

func sameEntries(got, want []Entry) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d entries, want %d", len(got), len(want))
	}
	for i, e := range want {
		g := got[i]
		if g.Index != e.Index || g.Term != e.Term || g.Type != e.Type || !bytes.Equal(g.Data, e.Data) {
			return fmt.Errorf("entry %d is %d/%d/%d %q, want %d/%d/%d %q", i, g.Index, g.Term, g.Type, g.Data,
				e.Index, e.Term, e.Type, e.Data)
		}
	}
	return nil
}

func TestAppendAndReopen(t *testing.T) {
	for _, fsys := range []vfs.FS{vfs.NewMem(), vfs.OS()} {
		t.Run(fmt.Sprintf("%T", fsys), func(t *testing.T) {
			for _, m := range syncmethod.All() {
				t.Run(string(m), func(t *testing.T) {
					o := testOptions(fsys)
					o.Method, o.Path = m, "/wal-"+string(m)
					if fsys == vfs.OS() {
						o.Path = filepath.Join(t.TempDir(), "wal")
					}
					appendAndReopen(t, o)
				})
			}
		})
	}
}

func appendAndReopen(t *testing.T, o Options) {
	w, rec := mustOpen(t, o)
	if rec.Generation != 1 || rec.End != rec.Head || len(rec.Groups) != 0 || rec.Torn {
		t.Errorf("new ring: %+v", rec)
	}
	var a, b source
	a.add(w, func(b *Batch) {
		b.HardState(1, 11, hard(3, 2, 1))
		b.Entries(1, 11, ents(1, 3, "one", "", "three"))
	})
	b.add(w, func(b *Batch) { b.Entries(2, 21, ents(1, 1, "other")) })
	w.Drive()
	if a.told != 1 || b.told != 1 || a.end != b.end || a.lsns[0] != b.lsns[0] || a.end <= a.lsns[0] {
		t.Errorf("one batch of two sources told them %+v and %+v", &a, &b)
	}
	a.add(w, func(b *Batch) { b.Entries(1, 11, ents(3, 4, "drei", "vier")) })
	w.Drive()
	want := append(ents(1, 3, "one", ""), ents(3, 4, "drei", "vier")...)
	check := func(w *WAL) {
		t.Helper()
		wantEntries(t, w, 1, want)
		wantEntries(t, w, 2, ents(1, 1, "other"))
		if s, ok := w.State(1); !ok || s.Hard != (hard(3, 2, 1)) || s.Replica != 11 || s.Last != 4 {
			t.Errorf("state of group 1: %+v, %v", s, ok)
		}
	}
	check(w)
	for gen := uint64(2); gen < 5; gen++ {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w, rec = mustOpen(t, o)
		if rec.Generation != gen || rec.Torn || len(rec.Groups) != 2 {
			t.Errorf("generation %d: %+v", gen, rec)
		}
		check(w)
	}
}

func TestReading(t *testing.T) {
	w, _ := mustOpen(t, testOptions(vfs.NewMem()))
	var s source
	all := ents(1, 5, "a", "bb", "ccc", "dddd", "eeeee")
	s.add(w, func(b *Batch) {
		b.Entries(1, 1, all)
		b.Checkpoint(1, 1, 2, 5, hard(5, 1, 2), []byte("state"))
		b.Snapshot(2, 1, 10, 7, []byte("snap"))
	})
	w.Drive()
	wantEntries(t, w, 1, all[2:])
	wantEntries(t, w, 2, nil)
	for _, c := range []struct {
		g        id.GroupID
		lo, hi   id.Index
		maxBytes int
		n        int
		err      error
	}{
		{1, 3, 6, 1 << 20, 3, nil},
		{1, 3, 5, 1 << 20, 2, nil},
		{1, 3, 6, 7, 2, nil},
		{1, 3, 6, 0, 1, nil},
		{1, 2, 6, 100, 0, ErrCompacted},
		{1, 3, 7, 100, 0, ErrUnavailable},
		{1, 4, 4, 100, 0, ErrUnavailable},
		{2, 11, 12, 100, 0, ErrUnavailable},
		{3, 1, 2, 100, 0, ErrUnavailable},
	} {
		es, err := w.Entries(c.g, c.lo, c.hi, c.maxBytes)
		if len(es) != c.n || !errors.Is(err, c.err) {
			t.Errorf("Entries(%d, %d, %d, %d) gave %d entries, %v; want %d, %v", c.g, c.lo, c.hi, c.maxBytes, len(es), err, c.n, c.err)
		}
	}
	for _, c := range []struct {
		g    id.GroupID
		i    id.Index
		term id.Term
		err  error
	}{
		{1, 1, 0, ErrCompacted}, {1, 2, 5, nil}, {1, 5, 5, nil}, {1, 6, 0, ErrUnavailable},
		{2, 9, 0, ErrCompacted}, {2, 10, 7, nil}, {3, 0, 0, nil}, {3, 1, 0, ErrUnavailable},
	} {
		if term, err := w.Term(c.g, c.i); term != c.term || !errors.Is(err, c.err) {
			t.Errorf("Term(%d, %d) is %d, %v; want %d, %v", c.g, c.i, term, err, c.term, c.err)
		}
	}
	if first, last := w.First(3), w.Last(3); first != 1 || last != 0 {
		t.Errorf("a group without records has entries %d to %d", first, last)
	}
	if s, ok := w.State(2); !ok || !s.Snapshot || s.Flushed != 10 || s.FlushedTerm != 7 || string(s.Payload) != "snap" || s.Last != 10 {
		t.Errorf("state after a snapshot: %+v", s)
	}
}

// A checkpoint's hard state that is older than the group's must not hide a vote.
func TestCheckpointKeepsNewerVote(t *testing.T) {
	o := testOptions(vfs.NewMem())
	w, _ := mustOpen(t, o)
	var s source
	s.add(w, func(b *Batch) {
		b.HardState(1, 1, hard(9, 2, 5))
		b.Checkpoint(1, 1, 5, 3, hard(8, 1, 5), nil)
	})
	w.Drive()
	for range 2 {
		if st, _ := w.State(1); st.Hard != hard(9, 2, 5) {
			t.Errorf("hard state is %+v", st.Hard)
		}
		w.Close()
		w, _ = mustOpen(t, o)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := testOptions(vfs.NewMem())
	for _, c := range []struct {
		edit func(*Options)
		want string
	}{
		{func(o *Options) { o.Path = "" }, "required"},
		{func(o *Options) { o.Method = "sometimes" }, `no method "sometimes"`},
		{func(o *Options) { o.RingBytes = testRing - vfs.BlockSize }, "make it at least 262144, or the batches at most 4032"},
		{func(o *Options) { o.RingBytes++ }, "multiple of 4096"},
		{func(o *Options) { o.BatchBytes = 100 }, "at least 4096"},
		{func(o *Options) { o.Window = -1 }, "negative"},
	} {
		o := good
		c.edit(&o)
		if _, _, err := Open(o, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	// A ring keeps its size, whatever the option says; batches too large for it are refused.
	w, _ := mustOpen(t, good)
	w.Close()
	o := good
	o.RingBytes *= 2
	if _, rec := mustOpen(t, o); rec.RingBytes != testRing {
		t.Errorf("the ring has %d bytes, was made with %d", rec.RingBytes, testRing)
	}
	o.BatchBytes *= 2
	if _, _, err := Open(o, nil); err == nil || !strings.Contains(err.Error(), "too small for batches of 8192") {
		t.Errorf("batches too large for the ring: %v", err)
	}
}

func TestClose(t *testing.T) {
	w, _ := mustOpen(t, testOptions(vfs.NewMem()))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var s source
	s.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, "x")) })
	w.Drive()
	if err := w.Close(); err != ErrClosed || s.told != 0 || len(s.lsns) != 0 {
		t.Errorf("after Close: Close gave %v, the source was asked %d times", err, len(s.lsns))
	}
	if _, err := w.Entries(1, 1, 2, 10); err != ErrClosed {
		t.Errorf("Entries after Close: %v", err)
	}
}

// A batch costs no allocation once everything has grown.
func TestDriveDoesNotAllocate(t *testing.T) {
	o := testOptions(vfs.OS()) // Mem allocates
	o.Path, o.Method = filepath.Join(t.TempDir(), "wal"), syncmethod.BufferedFdatasync
	w, _ := mustOpen(t, o)
	s := &steady{es: ents(1, 1, string(make([]byte, 1000)), string(make([]byte, 1000)))}
	drive := func() {
		w.Signal(s)
		w.Drive()
	}
	for range 100 {
		drive()
	}
	if n := testing.AllocsPerRun(100, drive); n >= 1 {
		t.Errorf("%.1f allocations per batch", n)
	}
}

// steady overwrites the same entries again and again.
type steady struct {
	es []Entry
	n  int
}

func (s *steady) Collect(b *Batch) {
	b.HardState(1, 1, hard(1, 1, 1))
	b.Entries(1, 1, s.es)
}

func (s *steady) Durable(id.LSN) { s.n++ }
