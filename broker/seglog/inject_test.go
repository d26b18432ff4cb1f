package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// failer fails some operations, counted from 0.
type failer struct {
	from, to int // fails from <= n < to
	err      error
	n        int
	seen     []vfs.Op
	failed   []vfs.Op
}

func (f *failer) hook(op vfs.Op) error {
	f.n++
	f.seen = append(f.seen, op)
	if f.n-1 < f.from || f.n-1 >= f.to {
		return nil
	}
	f.failed = append(f.failed, op)
	return &vfsError{op, f.err}
}

type vfsError struct {
	op  vfs.Op
	err error
}

func (e *vfsError) Error() string { return fmt.Sprintf("%v %s: %v", e.op.Kind, e.op.Name, e.err) }
func (e *vfsError) Unwrap() error { return e.err }

// drive does a fixed workload, going on after ErrNoSpace as a caller would. It returns the error that ended it.
func drive(t *testing.T, disk vfs.FS, f *failer, m *model, stored *Checkpoint) error {
	t.Helper()
	fs := vfs.Inject(disk, f.hook)
	var l *Log
	if err := again(func() (err error) { l, err = Open(testOptions(fs), *stored); return err }); err != nil {
		return err
	}
	defer l.Close()
	for step := range 12 {
		rs := m.gen(12)
		if step%4 == 2 {
			rs[5].Roll = []byte("state")
		}
		for len(rs) > 0 {
			err := l.Append(rs)
			taken := l.LastIndex() + 1 - rs[0].Index
			m.add(rs[:taken])
			rs = rs[taken:]
			if err == nil && len(rs) > 0 {
				t.Fatalf("append left %d records and no error", len(rs))
			}
			if err != nil && !errors.Is(err, ErrNoSpace) {
				return err
			}
		}
		if step%3 == 2 {
			if err := again(func() (err error) { *stored, err = l.Sync(); return err }); err != nil {
				return err
			}
		}
		if step%5 == 4 {
			o := m.off - 30
			err := again(func() error { return l.DropBefore(o) })
			m.drop(o) // or perhaps, if it failed
			if err != nil {
				return err
			}
		}
		b, err := l.Read(l.StartOffset(), 1<<20, nil)
		if err != nil {
			if b, err = l.Read(l.StartOffset(), 1<<20, nil); err != nil {
				return err
			}
		}
		if want := m.read(m.live(), l.StartOffset(), 1<<60, 1<<20); string(b) != string(want) {
			t.Fatalf("step %d: read %d bytes, want %d, or they differ", step, len(b), len(want))
		}
	}
	f.from, f.to = -1, -1
	m.check(t, l)
	return nil
}

// again calls f until it does not return ErrNoSpace; the injected faults end sometime.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, ErrNoSpace) {
			return err
		}
	}
}

// plausible says whether an operation can fail so.
func plausible(op vfs.Op, errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOSPC:
		return op.Changes()
	case syscall.EMFILE:
		return op.Kind == vfs.OpOpen || op.Kind == vfs.OpSyncDir || op.Kind == vfs.OpList
	}
	return true
}

// TestFaults fails every operation in turn, one or five in a row, with errors of every class.
func TestFaults(t *testing.T) {
	quiet := &failer{from: -1, to: -1}
	var none Checkpoint
	must(t, drive(t, newFS(t), quiet, newModel(3), &none))
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EMFILE} {
		for n, op := range quiet.seen {
			if !plausible(op, errno) {
				continue
			}
			for _, row := range []int{1, 5}[:1+(n+1)%2] {
				disk, m, at := newFS(t), newModel(3), Checkpoint{}
				f := &failer{from: n, to: n + row, err: errno}
				err := drive(t, disk, f, m, &at)
				if len(f.failed) == 0 {
					continue // in the check at the end
				}
				judge(t, fmt.Sprintf("%v at operation %d (%v %s), %d in a row", errno, n, op.Kind, op.Name, row), f, errno, err)
				// Whatever happened, what the last Sync promised is there after a crash.
				recovered(t, disk.CrashClone(uint64(n)), m.clone(rand.New(rand.NewPCG(1, uint64(n)))), at)
			}
		}
	}
}

// judge says whether a workload should have ended with err.
func judge(t *testing.T, what string, f *failer, errno syscall.Errno, err error) {
	t.Helper()
	named := func(op vfs.Op) bool { return strings.Contains(err.Error(), op.Name) }
	sync := func(op vfs.Op) bool { return op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir }
	switch {
	case err != nil && (!errors.Is(err, errno) || !slices.ContainsFunc(f.failed, named)):
		t.Fatalf("%s: %v, which does not name the errno and the file", what, err)
	case errno == syscall.EIO && slices.ContainsFunc(f.failed, vfs.Op.Changes) && !errors.Is(err, ErrFatal):
		t.Fatalf("%s: ended with %v, want ErrFatal", what, err)
	case errno == syscall.ENOSPC && slices.ContainsFunc(f.failed, sync) != errors.Is(err, ErrFatal):
		t.Fatalf("%s: ended with %v; a failed sync is fatal, and it alone", what, err)
	case errno == syscall.EMFILE && errors.Is(err, ErrFatal):
		t.Fatalf("%s: ended with %v; want of descriptors is never fatal", what, err)
	}
}

// TestFatalIsFinal: after a failed sync nothing is written any more, and reads go on.
func TestFatalIsFinal(t *testing.T) {
	fail := false
	l := open(t, vfs.Inject(newFS(t), func(op vfs.Op) error {
		if fail && op.Changes() {
			if op.Kind != vfs.OpSync {
				t.Errorf("%v %s after a failed sync", op.Kind, op.Name)
			}
			return syscall.EIO
		}
		return nil
	}), Checkpoint{})
	m := newModel(1)
	rs := m.gen(20)
	must(t, l.Append(rs))
	m.add(rs)
	fail = true
	_, first := l.Sync()
	if !errors.Is(first, ErrFatal) || !errors.Is(first, syscall.EIO) {
		t.Fatalf("sync: %v, want ErrFatal and EIO", first)
	}
	for range 2 {
		if _, err := l.Sync(); err != first {
			t.Fatalf("second sync: %v, want the first error again", err)
		}
		if err := l.Append(m.gen(1)); err != first {
			t.Fatalf("append: %v, want the first error again", err)
		}
		if err := l.DropBefore(m.off); err != first {
			t.Fatalf("drop: %v, want the first error again", err)
		}
	}
	m.check(t, l)
}

// used is what the files take, in whole blocks.
func used(t testing.TB, fs vfs.FS) int64 {
	t.Helper()
	n := int64(0)
	if _, err := fs.Stat(testDir); err != nil {
		return 0
	}
	for _, name := range files(t, fs) {
		info, err := fs.Stat(name)
		must(t, err)
		n += vfs.RoundUp(info.Size)
	}
	return n
}

// TestDiskFull fills a small disk, and goes on when there is space again. Retention works on a disk without any.
func TestDiskFull(t *testing.T) {
	for seed := range uint64(4) {
		fs, m := newFS(t), newLargeModel(seed)
		l := open(t, fs, Checkpoint{})
		full := 0
		for range 40 {
			rs := m.gen(10)
			for len(rs) > 0 {
				fs.SetCapacity(1 + used(t, fs) + vfs.BlockSize*int64(m.rng.IntN(7)))
				err := l.Append(rs)
				taken := l.LastIndex() + 1 - rs[0].Index
				m.add(rs[:taken])
				rs = rs[taken:]
				if err != nil {
					if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("append to a full disk: %v", err)
					}
					full++
					m.check(t, l)
					o := m.off - id.Offset(m.rng.IntN(100))
					must(t, l.DropBefore(o))
					m.drop(o)
				}
			}
		}
		if full < 10 {
			t.Fatalf("the disk was full only %d times", full)
		}
		at, err := l.Sync()
		must(t, err)
		must(t, l.Close())
		l = reopen(t, fs.CrashClone(seed), m, at)
		m.check(t, l)
	}
}

// TestDirect: the whole blocks of large data go around the page cache and its ends do not; where the file system cannot do that,
// all of it goes through.
func TestDirect(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		fs, m := newFS(t), newModel(1)
		var direct, buffered int64
		l := open(t, directWatch{fs, refuse, &direct, &buffered}, Checkpoint{})
		off, sizes := id.Offset(0), []int{100, 4096, 20_000, 9, 8192}
		want := int64(3*4096 + 4096) // of the third and of the fifth; behind the 100 bytes of the first, the second has no whole block
		for i, n := range sizes {
			r := data(id.Index(i+1), off, n)
			must(t, l.Append([]Record{r}))
			m.add([]Record{r})
			off = m.off
		}
		all := int64(0)
		for _, n := range sizes {
			all += int64(n)
		}
		if refuse {
			want = 0
		}
		if direct != want || direct+buffered != all {
			t.Errorf("refuse %v: %d bytes directly and %d through the cache, want %d and %d", refuse, direct, buffered, want, all-want)
		}
		m.check(t, l)
		at, err := l.Sync()
		must(t, err)
		must(t, l.Close())
		m.check(t, reopen(t, fs.CrashClone(1), m, at))
	}
}

// directWatch counts what is written to .seg files, by the way it goes.
type directWatch struct {
	vfs.FS
	refuse           bool
	direct, buffered *int64
}

func (w directWatch) Open(name string, o vfs.OpenOptions) (vfs.File, error) {
	f, err := w.FS.Open(name, o)
	if err != nil || !strings.HasSuffix(name, ".seg") {
		return f, err
	}
	return watched{f, w, o.Direct}, nil
}

type watched struct {
	vfs.File
	w      directWatch
	direct bool
}

func (f watched) WriteAt(p []byte, off int64) (int, error) {
	n := f.w.buffered
	if f.direct {
		if f.w.refuse {
			return 0, &os.PathError{Op: "write", Path: "a file system without direct I/O", Err: syscall.EINVAL}
		}
		n = f.w.direct
	}
	*n += int64(len(p))
	return f.File.WriteAt(p, off)
}
