package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ackline/broker/id"
	"ackline/broker/seglog/giveback"
	"ackline/broker/vfs"
)

// data is a data record of n bytes with one offset.
func data(i id.Index, base id.Offset, n int) Record {
	return Record{Index: i, Term: 1, Base: base, Data: payload(i, n), MaxTimestamp: int64(i)}
}

func TestAppendPanics(t *testing.T) {
	for _, c := range []struct {
		what string
		r    Record
		want string
	}{
		{"gap", data(4, 2, 5), "append of index 4 to a log that goes on at 3"},
		{"again", data(2, 2, 5), "append of index 2 to a log that goes on at 3"},
		{"offset", data(3, 1, 5), "at offset 1 to a log that goes on at 2"},
		{"empty", Record{Index: 3, Term: 1, Base: 2}, "with 0 bytes"},
		{"term", Record{Index: 3, Base: 2, Data: []byte("x")}, "with term 0 after term 1"},
		{"delta", Record{Index: 3, Term: 1, LastDelta: -2}, "with last delta -2; -1 means control"},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := open(t, newFS(t), Checkpoint{})
			must(t, l.Append([]Record{data(1, 0, 10), data(2, 1, 10)}))
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, c.want) {
					t.Errorf("panic %q, want one with %q", p, c.want)
				}
			}()
			_ = l.Append([]Record{c.r})
		})
	}
}

func TestOptions(t *testing.T) {
	fs := vfs.NewMem()
	for want, o := range map[string]Options{
		"Options.FS is nil":              {Dir: "x"},
		"Options.Dir is empty":           {FS: fs},
		"Options.WriteBytes is negative": {FS: fs, Dir: "x", WriteBytes: -1},
	} {
		if _, err := Open(o, Checkpoint{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open with %+v: %v, want %q", o, err, want)
		}
	}
	if _, err := Open(Options{FS: fs, Dir: "x"}.withDefaults(), Checkpoint{Next: 5}); err == nil || !strings.Contains(err.Error(), "impossible") {
		t.Errorf("open at an impossible checkpoint: %v", err)
	}
	o := Options{FS: fs, Dir: "x"}.withDefaults()
	if o.Files == nil || o.WriteBytes != DefaultWriteBytes || o.WriteBackBytes != DefaultWriteBackBytes {
		t.Errorf("default options %+v", o)
	}
}

// TestEmpty: an empty log has no files, knows its place, and answers.
func TestEmpty(t *testing.T) {
	fs := newFS(t)
	for _, at := range []Checkpoint{{}, EmptyAt(41, 1000, 7)} {
		l := open(t, fs, at)
		want := max(at.Next, 1)
		if l.FirstIndex() != want || l.LastIndex() != want-1 || l.StartOffset() != at.NextOffset || l.NextOffset() != at.NextOffset {
			t.Errorf("%+v: indexes %d to %d, offsets %d to %d", at, l.FirstIndex(), l.LastIndex(), l.StartOffset(), l.NextOffset())
		}
		if term, err := l.Term(want - 1); term != at.Term || err != nil {
			t.Errorf("%+v: term before the first: %d, %v", at, term, err)
		}
		if b, err := l.Read(at.NextOffset, 10, nil); len(b) > 0 || err != nil {
			t.Errorf("%+v: read at the end: %d bytes, %v", at, len(b), err)
		}
		if _, ok := l.Active(); ok {
			t.Errorf("%+v: an active segment in an empty log", at)
		}
		got, err := l.Sync()
		if at.Next == 0 {
			at = EmptyAt(1, 0, 0)
		}
		if got != at || err != nil {
			t.Errorf("sync of an empty log: %+v, %v, want %+v", got, err, at)
		}
		if _, err := fs.List(testDir); err == nil {
			t.Errorf("%+v: an empty log made a directory", at)
		}
	}
}

// TestLazy: files come into being with the first byte that belongs in them.
func TestLazy(t *testing.T) {
	fs := newFS(t)
	l := open(t, fs, Checkpoint{})
	for _, step := range []struct {
		r    Record
		want string
	}{
		{Record{Index: 1, Term: 1, LastDelta: Control}, ".idx .low"},
		{data(2, 0, 10), ".idx .low .seg"},
		{Record{Index: 3, Term: 1, LastDelta: Control, Data: []byte("conf")}, ".ctl .idx .low .seg"},
	} {
		must(t, l.Append([]Record{step.r}))
		names := files(t, fs)
		for i := range names {
			names[i] = names[i][len(names[i])-4:]
		}
		if got := strings.Join(names, " "); got != step.want {
			t.Errorf("after index %d: files %s, want %s", step.r.Index, got, step.want)
		}
	}
}

// TestSyncOnlyDirty counts what Sync and the write-back hints ask of the disk.
func TestSyncOnlyDirty(t *testing.T) {
	var ops []string
	var mu sync.Mutex
	fs := vfs.Inject(newFS(t), func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch op.Kind {
		case vfs.OpSync, vfs.OpSyncDir:
			ops = append(ops, fmt.Sprint(op.Kind, " ", strings.TrimLeft(strings.TrimPrefix(op.Name, testDir+"/"), "0")))
		case vfs.OpWriteBack:
			ops = append(ops, fmt.Sprint(op.Kind, " ", op.Off, "+", op.Len))
		}
		return nil
	})
	o := testOptions(fs)
	l, err := Open(o, Checkpoint{})
	must(t, err)
	expect := func(what, want string) {
		t.Helper()
		if _, err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ops, ", "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
		ops = nil
	}
	must(t, l.Append([]Record{data(1, 0, 100)}))
	expect("first", "sync 1.seg, sync 1.idx, syncdir data/group, syncdir data")
	expect("nothing new", "")
	must(t, l.Append([]Record{data(2, 1, 100)}))
	expect("second", "sync 1.seg, sync 1.idx")
	must(t, l.Append([]Record{{Index: 3, Term: 1, LastDelta: Control}}))
	expect("a no-op", "sync 1.idx")
	r := data(4, 2, 10)
	r.Roll = []byte{}
	must(t, l.Append([]Record{r}))
	expect("a new segment", "sync 4.seg, sync 4.idx, syncdir data/group")
	must(t, l.Append([]Record{data(5, 3, 3000), data(6, 4, 3000), data(7, 5, 3000)}))
	expect("much", "writeback 10+8182, sync 4.seg, sync 4.idx")
	l.o.WriteBackBytes = -1
	must(t, l.Append([]Record{data(8, 6, 9000)}))
	expect("no hints", "sync 4.seg, sync 4.idx")
}

// TestVerifiedOnce: payloads are compared with their checksums at the first read and not at the second.
func TestVerifiedOnce(t *testing.T) {
	fs, m, at := built(t)
	l := open(t, fs, at)
	defer l.Close()
	_, err := l.Read(0, 1<<20, nil)
	must(t, err)
	name := fmt.Sprintf("%s/%020d.seg", testDir, 1)
	b, err := vfs.ReadFile(fs, name)
	must(t, err)
	f, err := fs.Open(name, vfs.OpenOptions{})
	must(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ 1}, 0)
	must(t, err)
	must(t, f.Close())
	if _, err := l.Read(0, 1<<20, nil); err != nil {
		t.Errorf("second read: %v; it was verified again", err)
	}
	if err := scrub(l, 100); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v, want ErrCorrupt: it must look again", err)
	}
	if err := tamper(t, fs, m, at); !errors.Is(err, ErrCorrupt) {
		t.Errorf("after another Open: %v, want ErrCorrupt", err)
	}
}

// TestDescriptors: those of unsynced files stay open, the others obey the capacity, and nothing leaks.
func TestDescriptors(t *testing.T) {
	fs, m := newFS(t), newModel(2)
	o := testOptions(fs)
	o.Files = NewFiles(3)
	l, err := Open(o, Checkpoint{})
	must(t, err)
	for range 10 {
		rs := m.gen(30)
		must(t, l.Append(rs))
		m.add(rs)
	}
	if n := o.Files.Open(); n < 10 {
		t.Errorf("%d descriptors open before the sync of %d segments", n, len(l.Segments()))
	}
	_, err = l.Sync()
	must(t, err)
	if n := o.Files.Open(); n > 3 {
		t.Errorf("%d descriptors open after the sync, want at most 3", n)
	}
	m.check(t, l)
	if n := o.Files.Open(); n > 3 {
		t.Errorf("%d descriptors open after reads, want at most 3", n)
	}
	must(t, l.Append(m.gen(30)))
	must(t, l.Close())
	if n := o.Files.Open(); n != 0 {
		t.Errorf("%d descriptors open after Close", n)
	}
	for what, err := range map[string]error{
		"append": l.Append(m.gen(1)),
		"drop":   l.DropBefore(1 << 40),
		"close":  l.Close(),
		"sync":   second(l.Sync()),
		"read":   second(l.Read(0, 1, nil)),
		"entry":  second(l.Entries(1, 2, 1)),
		"term":   second(l.Term(2)),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestAllocations: the paths that run per record or per fetch leave nothing for the garbage collector.
func TestAllocations(t *testing.T) {
	o := testOptions(newFS(t))
	o.WriteBytes, o.Files = 0, NewFiles(8)
	l, err := Open(o, Checkpoint{})
	must(t, err)
	next := id.Index(1)
	rs := make([]Record, 50)
	body := make([]byte, 1000)
	load := func() {
		for i := range rs {
			rs[i] = Record{Index: next, Term: 1, Base: id.Offset(next - 1), Data: body, MaxTimestamp: 1}
			next++
		}
		if err := l.Append(rs); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		load()
	}
	// The memory file system allocates pages; less than one allocation for each of the records is what can be seen here.
	if n := testing.AllocsPerRun(20, load); n > 40 {
		t.Errorf("%v allocations to append %d records", n, len(rs))
	}
	dst := make([]byte, 0, 1<<16)
	for from := id.Offset(0); from < 1000; from += 200 {
		if n := testing.AllocsPerRun(20, func() { dst, err = l.Read(from, 1<<15, dst[:0]) }); n > 0 || err != nil || len(dst) == 0 {
			t.Errorf("%v allocations to read %d bytes, %v", n, len(dst), err)
		}
	}
	if n := testing.AllocsPerRun(20, func() { _, err = l.Term(500) }); n > 0 || err != nil {
		t.Errorf("%v allocations for a term, %v", n, err)
	}
}

// TestReaders has many readers beside the writer, with retention under their feet and hardly any descriptors.
func TestReaders(t *testing.T) {
	fs, m := newFS(t), newModel(4)
	o := testOptions(fs)
	o.Files = NewFiles(1)
	l, err := Open(o, Checkpoint{})
	must(t, err)
	rs := m.gen(10)
	must(t, l.Append(rs))
	m.add(rs)
	done := make(chan struct{})
	var reads atomic.Int64
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if err := readSome(l, k, n); err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for n := 0; (n < 150 || reads.Load() < 2000) && !t.Failed(); n++ {
		rs := m.gen(20)
		must(t, l.Append(rs))
		m.add(rs)
		switch m.rng.IntN(5) {
		case 0:
			_, err := l.Sync()
			must(t, err)
		case 1:
			must(t, l.DropBefore(m.off-60))
			m.drop(m.off - 60)
		}
	}
	close(done)
	wg.Wait()
	m.check(t, l)
	must(t, l.Close())
}

// A snapshot takes the log's place while somebody reads: that read brings what was there, however long it takes, and only then do the
// blocks go.
func TestReadThroughReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there, open := make(chan struct{}), make(chan struct{})
		var slow atomic.Bool
		var cuts atomic.Int64
		o := testOptions(vfs.Inject(newFS(t), func(op vfs.Op) error {
			switch {
			case op.Kind == vfs.OpTruncate && strings.HasSuffix(op.Name, ".seg"):
				cuts.Add(1)
			case op.Kind == vfs.OpRead && strings.HasSuffix(op.Name, ".seg") && slow.CompareAndSwap(true, false):
				close(there)
				<-open
			}
			return nil
		}))
		o.GiveBack = new(giveback.Queue)
		l, err := Open(o, Checkpoint{})
		must(t, err)
		r := data(1, 0, 9<<20)
		must(t, l.Append([]Record{r}))
		_, err = l.Sync()
		must(t, err)
		cuts.Store(0)
		slow.Store(true)
		var got []Record
		var failed error
		var read sync.WaitGroup
		read.Go(func() { got, failed = l.Entries(1, 2, 16<<20) })
		<-there
		next, err := l.Replace(EmptyAt(7, 3, 2))
		must(t, err)
		time.Sleep(time.Minute)
		if cuts.Load() != 0 {
			t.Error("the file was cut while it is read")
		}
		close(open)
		read.Wait()
		if failed != nil || len(got) != 1 || !bytes.Equal(got[0].Data, r.Data) {
			t.Errorf("the read brings %d records (%v)", len(got), failed)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if cuts.Load() == 0 {
			t.Error("the blocks were not given back after the read")
		}
		if next.FirstIndex() != 7 || next.NextOffset() != 3 {
			t.Errorf("the new log begins at index %d, offset %d", next.FirstIndex(), next.NextOffset())
		}
		must(t, next.Close())
	})
}

// readSome reads in one of several ways and checks what it can without a model.
func readSome(l *Log, how, n int) error {
	lo, hi := l.FirstIndex(), l.LastIndex()+1
	switch how {
	case 0:
		i := lo + id.Index(n)%(hi-lo)
		rs, err := l.Entries(i, hi, 2000)
		for _, r := range rs {
			if len(r.Data) > 0 && !slices.Equal(r.Data, payload(r.Index, len(r.Data))) {
				return fmt.Errorf("entry %d is not what was appended", r.Index)
			}
		}
		return unlessDropped(err)
	case 1:
		start, next := l.StartOffset(), l.NextOffset()
		b, err := l.Read(start+id.Offset(n)%(next-start+1), 3000, nil)
		if err == nil && n%(int(next-start)+1) == 0 && len(b) == 0 && next > start && l.StartOffset() == start {
			return fmt.Errorf("nothing to read at the start, %d", start)
		}
		return unlessDropped(err)
	case 2:
		_, _, err := l.Verify(lo, 5000)
		return unlessDropped(err)
	}
	_, _, _, err := l.OffsetForTime(int64(hi) * 9)
	if err == nil {
		_, _, _, err = l.OffsetForTerm(id.Term(n % 50))
	}
	if err == nil {
		_, _, err = l.BaseState(lo)
	}
	if err == nil {
		_, err = l.Term(lo - 1 + id.Index(n)%(hi-lo))
	}
	return unlessDropped(err)
}

func unlessDropped(err error) error {
	if errors.Is(err, ErrCompacted) || errors.Is(err, ErrUnavailable) {
		return nil
	}
	return err
}
