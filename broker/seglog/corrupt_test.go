package seglog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/seglog/layout"
	"ackline/broker/vfs"
)

// built is a synced log of several segments, closed, with its model.
func built(t testing.TB) (*vfs.Mem, *model, Checkpoint) {
	t.Helper()
	fs, m := newFS(t), newModel(5)
	l := open(t, fs, Checkpoint{})
	rs := m.gen(40)
	for i := range rs {
		if rs[i].Roll = nil; i%15 == 0 {
			rs[i].Roll = payload(id.Index(i), 40)
		}
	}
	must(t, l.Append(rs))
	m.add(rs)
	at, err := l.Sync()
	must(t, err)
	must(t, l.Close())
	return fs, m, at
}

func files(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	must(t, err)
	for i := range names {
		names[i] = testDir + "/" + names[i]
	}
	return names
}

func writeFile(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Open(name, vfs.OpenOptions{Create: true, Truncate: true})
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Close())
}

// tamper damages files and requires that it is noticed, by Open or by Verify, and never served.
func tamper(t *testing.T, fs vfs.FS, m *model, at Checkpoint) error {
	t.Helper()
	l, err := Open(testOptions(fs), at)
	if err != nil {
		return err
	}
	defer l.Close()
	// Everything that is read is right or refused.
	for i := l.FirstIndex(); i <= l.LastIndex(); i++ {
		if rs, err := l.Entries(i, i+1, 1); err == nil && !same(rs[0], m.at(i)) {
			t.Fatalf("entry %d was served with other content", i)
		} else if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("entry %d: %v, which is no corruption", i, err)
		}
		r := m.at(i)
		if b, err := l.Read(r.Base, 1, nil); err == nil && string(b) != string(m.read(m.live(), r.Base, 1<<60, 1)) {
			t.Fatalf("offset %d was served with other content", r.Base)
		}
		if term, err := l.Term(i); err == nil && term != r.Term {
			t.Fatalf("term of %d was served as %d", i, term)
		}
	}
	for _, s := range l.Segments() {
		if info, b, err := l.BaseState(s.First); err == nil && string(b) != string(m.at(info.First).Roll) {
			t.Fatalf("base state of %d was served with other content", s.First)
		}
	}
	return scrub(l, 500)
}

// TestBitFlips flips a bit in every byte of every file.
func TestBitFlips(t *testing.T) {
	fs, m, at := built(t)
	for _, name := range files(t, fs) {
		b, err := vfs.ReadFile(fs, name)
		must(t, err)
		if len(b) == 0 && !strings.HasSuffix(name, ".low") {
			t.Fatalf("%s is empty: the test would test nothing", name)
		}
		for i := range b {
			if len(b) > 1000 && i%7 > 0 && !strings.HasSuffix(name, ".idx") {
				continue // payloads are alike
			}
			bad := slices.Clone(b)
			bad[i] ^= 1 << m.rng.IntN(8)
			writeFile(t, fs, name, bad)
			if err := tamper(t, fs, m, at); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Fatalf("%s: byte %d flipped: got %v, want ErrCorrupt that names the file", name, i, err)
			}
		}
		writeFile(t, fs, name, b)
	}
	must(t, tamper(t, fs, m, at))
}

// TestLengths cuts, extends and removes every file.
func TestLengths(t *testing.T) {
	fs, m, at := built(t)
	active := fmt.Sprintf("%020d", at.Active)
	for _, name := range files(t, fs) {
		b, err := vfs.ReadFile(fs, name)
		must(t, err)
		for _, n := range []int{0, 1, 63, 64, 127, 128, len(b) / 2, len(b) - 64, len(b) - 1} {
			if n < 0 || n >= len(b) {
				continue
			}
			writeFile(t, fs, name, b[:n])
			if err := tamper(t, fs, m, at); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Fatalf("%s cut to %d of %d bytes: got %v, want ErrCorrupt that names the file", name, n, len(b), err)
			}
		}
		must(t, fs.Remove(name))
		if err := tamper(t, fs, m, at); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Fatalf("%s removed: got %v, want ErrCorrupt that names the file", name, err)
		}
		if strings.HasSuffix(name, ".low") {
			writeFile(t, fs, name, b)
			continue
		}
		writeFile(t, fs, name, append(slices.Clone(b), 1, 2, 3))
		err = tamper(t, fs, m, at)
		if strings.Contains(name, active) {
			must(t, err) // the end of the newest segment may be anything, and is cut
			if now, err := vfs.ReadFile(fs, name); err != nil || string(now) != string(b) {
				t.Fatalf("%s: the surplus was not cut: %d bytes, %v", name, len(now), err)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s extended: got %v, want ErrCorrupt", name, err)
		}
		writeFile(t, fs, name, b)
	}
	must(t, tamper(t, fs, m, at))
}

// TestStaleFiles puts back files as they were earlier, and files of another place or group.
func TestStaleFiles(t *testing.T) {
	fs, m := newFS(t), newModel(9)
	l := open(t, fs, Checkpoint{})
	save := func() map[string][]byte {
		old := map[string][]byte{}
		for _, name := range files(t, fs) {
			b, err := vfs.ReadFile(fs, name)
			must(t, err)
			old[name] = b
		}
		return old
	}
	var ages []map[string][]byte
	var at Checkpoint
	for range 6 {
		rs := m.gen(30)
		must(t, l.Append(rs))
		m.add(rs)
		var err error
		at, err = l.Sync()
		must(t, err)
		ages = append(ages, save())
	}
	must(t, l.Close())
	now := save()
	swaps := 0
	try := func(what, name string, b []byte) {
		t.Helper()
		if string(b) == string(now[name]) {
			return
		}
		swaps++
		writeFile(t, fs, name, b)
		if err := tamper(t, fs, m, at); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s in place of %s: got %v, want ErrCorrupt", what, name, err)
		}
		writeFile(t, fs, name, now[name])
	}
	for n, old := range ages {
		for name, b := range old {
			try(fmt.Sprintf("the file of age %d", n), name, b)
		}
	}
	for name := range now {
		for other, b := range now {
			if name[len(name)-4:] == other[len(other)-4:] {
				try(other, name, b)
			}
		}
	}
	if swaps < 50 {
		t.Fatalf("only %d swaps were tried", swaps)
	}
	must(t, tamper(t, fs, m, at))
	o := testOptions(fs)
	o.Group++
	if _, err := Open(o, at); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("open as another group: %v, want ErrCorrupt", err)
	}
}

// TestMissingSegments removes whole segments, and puts the .low file elsewhere.
func TestMissingSegments(t *testing.T) {
	fs, m, at := built(t)
	segs := func() []SegmentInfo { l := open(t, fs, at); defer l.Close(); return l.Segments() }()
	if len(segs) < 3 {
		t.Fatalf("only %d segments", len(segs))
	}
	for _, s := range segs {
		disk := fs.Clone()
		for _, ext := range []string{"seg", "idx", "ctl"} {
			_ = disk.Remove(fmt.Sprintf("%s/%020d.%s", testDir, s.First, ext))
		}
		want := fmt.Sprintf("%020d.idx: file: present expected, found missing", s.First)
		if err := tamper(t, disk, m, at); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("segment %d removed: got %v, want %s", s.First, err, want)
		}
	}
	low := fmt.Sprintf("%s/%020d.low", testDir, segs[0].First)
	second := fmt.Sprintf("%s/%020d.low", testDir, segs[1].First+1)
	disk := fs.Clone()
	must(t, disk.Rename(low, second))
	if err := tamper(t, disk, m, at); !errors.Is(err, ErrCorrupt) {
		t.Errorf(".low between segments: got %v, want ErrCorrupt", err)
	}
	disk = fs.Clone()
	writeFile(t, disk, second, nil)
	if err := tamper(t, disk, m, at); !errors.Is(err, ErrCorrupt) {
		t.Errorf("two .low files: got %v, want ErrCorrupt", err)
	}
	disk = fs.Clone()
	later := at
	later.First, later.Start = segs[1].First, segs[1].Base
	if err := tamper(t, disk, m, later); !errors.Is(err, ErrCorrupt) {
		t.Errorf(".low below the checkpoint's first index: got %v, want ErrCorrupt", err)
	}
	wrong := at
	wrong.NextOffset++
	if err := tamper(t, fs, m, wrong); !errors.Is(err, ErrCorrupt) {
		t.Errorf("checkpoint with another offset: got %v, want ErrCorrupt", err)
	}
	wrong = at
	wrong.Start++
	if err := tamper(t, fs, m, wrong); !errors.Is(err, ErrCorrupt) {
		t.Errorf("checkpoint with another start: got %v, want ErrCorrupt", err)
	}
}

// FuzzRows writes a row with any content and a valid checksum over one of the log's rows: whatever a bug or a malicious
// disk makes of an index, reading ends, with records or with an error that says what is wrong, and allocates no more than
// the files are long.
func FuzzRows(f *testing.F) {
	fs, m, at := built(f)
	f.Add(uint8(3), uint64(1), int64(5), int64(7), int64(9), int64(100), int64(3), int32(10), int32(0))
	f.Add(uint8(59), uint64(1<<63), int64(1)<<62, int64(-1), int64(1), int64(1)<<45, int64(1)<<31, int32(1<<30), int32(-1))
	f.Fuzz(func(t *testing.T, n uint8, term uint64, base, ts, top, segPos, ctlPos int64, length, delta int32) {
		disk := fs.Clone()
		i := id.Index(n)%id.Index(len(m.recs)) + 1
		var s SegmentInfo
		l := open(t, disk, at)
		for _, s = range l.Segments() {
			if s.First <= i && i < s.Next {
				break
			}
		}
		_, state, err := l.BaseState(s.First)
		must(t, err)
		must(t, l.Close())
		r := layout.Row{Index: i, Term: id.Term(term), Base: id.Offset(base), MaxTimestamp: ts, TopTimestamp: top, SegPos: segPos,
			CtlPos: ctlPos, Length: length, LastDelta: delta, CRC: uint32(term)}
		h := layout.Header{StateLen: len(state)}
		file, err := disk.Open(layout.Name(testDir, s.First, layout.Idx), vfs.OpenOptions{})
		must(t, err)
		_, err = file.WriteAt(r.AppendTo(nil, testGroup), h.RowsAt()+int64(i-s.First)*layout.RowSize)
		must(t, err)
		must(t, file.Close())

		l, err = Open(testOptions(disk), at)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		var errs []error
		for from := id.Offset(0); from < l.NextOffset(); from += 7 {
			errs = append(errs, second(l.ReadBelow(from, from+20, 500, nil)))
		}
		errs = append(errs, second(l.Entries(1, at.Next, 1<<20)), second(l.Entries(i, i+1, 0)), second(l.Term(i)), scrub(l, 300))
		_, _, _, err = l.OffsetForTimeFrom(20, ts)
		errs = append(errs, err)
		_, _, _, err = l.OffsetForTerm(id.Term(term) / 2)
		for _, err := range append(errs, err, l.Close()) {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
