package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// everything performs each operation once, and stops at the first error.
func everything(fsys FS) (err error) {
	step := func(e error) {
		if err == nil && e != io.EOF {
			err = e
		}
	}
	step(fsys.MkdirAll("d"))
	l, e := fsys.Lock("d/LOCK")
	step(e)
	if l != nil {
		defer l.Close()
	}
	f, e := fsys.Open("d/f", OpenOptions{Create: true})
	step(e)
	if f == nil {
		return err
	}
	p := page1(1)
	_, e = f.WriteAt(p, 0)
	step(e)
	_, e = f.WriteAtDsync(p, 4096)
	step(e)
	_, e = f.ReadAt(p, 0)
	step(e)
	step(f.WriteBack(0, 4096))
	step(f.Sync())
	step(f.Preallocate(0, 10000))
	step(f.Truncate(9000))
	_, e = f.Size()
	step(e)
	step(f.Close())
	step(fsys.Rename("d/f", "d/g"))
	_, e = fsys.List("d")
	step(e)
	_, e = fsys.Stat("d/g")
	step(e)
	_, e = fsys.Free("d")
	step(e)
	step(fsys.SyncDir("d"))
	step(fsys.Remove("d/g"))
	step(fsys.RemoveAll("d"))
	return err
}

func TestInjectShowsEveryOperation(t *testing.T) {
	var ops []Op
	must(t, everything(Inject(NewMem(), func(op Op) error {
		ops = append(ops, op)
		return nil
	})))
	seen := map[Kind]bool{}
	for _, op := range ops {
		seen[op.Kind] = true
	}
	for k := range Kind(len(kindNames)) {
		if !seen[k] {
			t.Errorf("no %s was shown", k)
		}
	}
	for _, want := range []Op{
		{Kind: OpOpen, Name: "d/f", Create: true},
		{Kind: OpWrite, Name: "d/f", Off: 0, Len: 4096},
		{Kind: OpWrite, Name: "d/f", Off: 4096, Len: 4096, Durable: true},
		{Kind: OpTruncate, Name: "d/f", Off: 9000},
		{Kind: OpRename, Name: "d/f", To: "d/g"},
	} {
		if !slices.Contains(ops, want) {
			t.Errorf("%+v was not shown", want)
		}
	}
}

// TestInjectFailsEveryOperation: whichever operation fails, the caller gets that error, and the operation did
// not happen.
func TestInjectFailsEveryOperation(t *testing.T) {
	for at := 0; ; at++ {
		n := 0
		var failed Op
		m := NewMem()
		err := everything(Inject(m, func(op Op) error {
			if n++; n-1 == at {
				failed = op
				return syscall.EIO
			}
			return nil
		}))
		if n <= at {
			if at < len(kindNames) {
				t.Fatalf("only %d operations", at)
			}
			return
		}
		if err != syscall.EIO && !errors.Is(err, syscall.EIO) {
			t.Errorf("%+v failed, but the caller got %v", failed, err)
		}
		if failed.Kind == OpMkdirAll {
			if _, err := m.Stat("d"); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a directory came into being although its creation failed")
			}
		}
	}
}

func TestCutWriteIsTorn(t *testing.T) {
	for _, o := range []OpenOptions{{}, {Dsync: true, Direct: true}} {
		m := NewMem()
		durableFile(t, m, "f", 1, OpenOptions{})
		// An Inject around an Inject, as a test of faults around a test of crashes makes it.
		outer := Inject(Inject(m, func(Op) error { return nil }), NewCutter(0).Hook)
		f := open(t, outer, "f", o)
		_, err := f.WriteAtDsync(page1(2), 0)
		wantErr(t, err, ErrCut)
		got := outcomes(t, m, 500, func(m *Mem) string { return sectors(t, "f")(m)[:2] })
		wantOutcomes(t, got, "11", "12", "21", "22")
		_, err = f.WriteAt(page1(3), 0)
		if err == nil || errors.Is(err, ErrCut) {
			t.Errorf("writing without power: %v", err)
		}
		if err := f.Sync(); err == nil {
			t.Error("syncing without power")
		}
		if _, err := f.ReadAt(page1(3), 0); err == nil {
			t.Error("reading without power")
		}
	}
}

func TestCutSyncMayHaveDoneAnything(t *testing.T) {
	m := NewMem()
	durableFile(t, m, "f", 1, OpenOptions{})
	f := open(t, Inject(m, NewCutter(1).Hook), "f", OpenOptions{})
	write(t, f, page1(2)[:sectorSize], 0)
	wantErr(t, f.Sync(), ErrCut)
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "f")), "11111111", "21111111")
}

func TestCutterCounts(t *testing.T) {
	c := NewCutter(-1)
	must(t, everything(Inject(NewMem(), c.Hook)))
	if c.Seen() != 11 || c.Done() {
		t.Errorf("%d changes seen, done %v; want 11, false", c.Seen(), c.Done())
	}
	for at := range c.Seen() {
		cut := NewCutter(at)
		if err := everything(Inject(NewMem(), cut.Hook)); !errors.Is(err, ErrCut) || !cut.Done() {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	// Under concurrency exactly one operation is the one in flight.
	c = NewCutter(10)
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[error]int{}
	for range 4 {
		wg.Go(func() {
			for range 20 {
				err := c.Hook(Op{Kind: OpWrite})
				mu.Lock()
				got[err]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got[nil] != 10 || got[ErrCut] != 1 || got[errDown] != 69 {
		t.Errorf("got %v", got)
	}
}

// crashEverywhere runs a workload, cut at each operation that changes something, and shows check what each
// crash left.
func crashEverywhere(t *testing.T, prepare func(*Mem), work func(FS) error, check func(m *Mem, done bool) error) {
	t.Helper()
	for at := int64(0); ; at++ {
		m := NewMem()
		prepare(m)
		cut := NewCutter(at)
		err := work(Inject(m, cut.Hook))
		if done := err == nil; done != !cut.Done() {
			t.Fatalf("cut at %d (%v), yet the workload ended with %v", at, cut.Done(), err)
		}
		for seed := range uint64(30) {
			if cerr := check(m.CrashClone(seed), err == nil); cerr != nil {
				t.Fatalf("cut at %d, seed %d: %v", at, seed, cerr)
			}
		}
		if err == nil {
			return
		}
	}
}

func TestWriteFileAtomicSurvivesEveryCrash(t *testing.T) {
	old, next := strings.Repeat("old", 2000), strings.Repeat("next", 3000)
	for _, had := range []bool{true, false} {
		crashEverywhere(t, func(m *Mem) {
			must(t, m.MkdirAll("d"))
			must(t, m.SyncDir("/"))
			if had {
				must(t, WriteFileAtomic(m, "d/f", []byte(old)))
			}
		}, func(fsys FS) error {
			return WriteFileAtomic(fsys, "d/f", []byte(next))
		}, func(m *Mem, done bool) error {
			b, err := ReadFile(m, "d/f")
			switch {
			case err == nil && string(b) == next:
			case done:
				return fmt.Errorf("the new content is lost: %v", err)
			case had && (err != nil || string(b) != old):
				return fmt.Errorf("neither old nor new: %d bytes, %v", len(b), err)
			case !had && !errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("neither missing nor new: %d bytes, %v", len(b), err)
			}
			return nil
		})
	}
}

func TestMkdirAllDurableSurvivesEveryCrash(t *testing.T) {
	crashEverywhere(t, func(m *Mem) {}, func(fsys FS) error {
		return MkdirAllDurable(fsys, "a/b/c")
	}, func(m *Mem, done bool) error {
		_, err := m.Stat("a/b/c")
		if done {
			return err
		}
		// A restarted process goes on from what it finds, here on the volatile state too.
		if err := MkdirAllDurable(m, "a/b/c"); err != nil {
			return err
		}
		_, err = m.CrashClone(7).Stat("a/b/c")
		return err
	})
	dir := t.TempDir()
	must(t, MkdirAllDurable(OS(), path.Join(dir, "x", "y")))
	must(t, MkdirAllDurable(OS(), path.Join(dir, "x", "y")))
	open(t, OS(), path.Join(dir, "file"), OpenOptions{Create: true})
	wantErr(t, MkdirAllDurable(OS(), path.Join(dir, "file")), syscall.ENOTDIR)
}

// TestMkdirAllDurableAfterKill: a process died between creating a directory and syncing it, the next one finds
// it there.
func TestMkdirAllDurableAfterKill(t *testing.T) {
	for at := range int64(6) {
		m := NewMem()
		_ = MkdirAllDurable(Inject(m, NewCutter(at).Hook), "a/b/c")
		killed := m.Clone()
		must(t, MkdirAllDurable(killed, "a/b/c"))
		for seed := range uint64(20) {
			if _, err := killed.CrashClone(seed).Stat("a/b/c"); err != nil {
				t.Fatalf("killed at %d, seed %d: %v", at, seed, err)
			}
		}
	}
}

func TestZeroFill(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := open(t, fsys, path.Join(dir, "f"), OpenOptions{Create: true, Direct: true})
		write(t, f, page1(9), 0)
		write(t, f, page1(9), 3<<20)
		var steps []int64
		must(t, ZeroFill(f, pageSize, 2<<20+pageSize, func(done, total int64) {
			if total != 2<<20+pageSize {
				t.Errorf("total %d", total)
			}
			steps = append(steps, done)
		}))
		if want := []int64{1 << 20, 2 << 20, 2<<20 + pageSize}; !slices.Equal(steps, want) {
			t.Errorf("progress %v, want %v", steps, want)
		}
		b := contents(t, fsys, path.Join(dir, "f"))
		if b[pageSize-1] != 9 || b[3<<20] != 9 || bytes.Count(b, []byte{9}) != 2*pageSize || len(b) != 3<<20+pageSize {
			t.Error("zero-filled more or less than asked for")
		}
	})
	m := NewMem()
	f := open(t, m, "f", OpenOptions{Create: true})
	must(t, m.SyncDir("/"))
	must(t, ZeroFill(f, 0, 8192, nil))
	wantOutcomes(t, outcomes(t, m, 20, sectors(t, "f")), "0000000000000000")
}
