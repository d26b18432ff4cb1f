package vfs

import (
	"errors"
	"io"
	"sync/atomic"
)

// Kind is what an operation does.
type Kind uint8

// The kinds of operation.
const (
	OpOpen Kind = iota
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpPreallocate
	OpWriteBack
	OpSize
	OpClose
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdirAll
	OpList
	OpStat
	OpSyncDir
	OpLock
	OpFree
)

var kindNames = [...]string{"open", "read", "write", "sync", "truncate", "preallocate", "writeback", "size", "close",
	"remove", "removeall", "rename", "mkdirall", "list", "stat", "syncdir", "lock", "free"}

func (k Kind) String() string { return kindNames[k] }

// Op is one operation that is about to happen.
type Op struct {
	Kind     Kind
	Name     string // the path
	To       string // OpRename: the new path
	Off      int64  // OpRead, OpWrite, OpPreallocate, OpWriteBack; OpTruncate: the new size
	Len      int64  // OpRead, OpWrite, OpPreallocate, OpWriteBack
	Durable  bool   // OpWrite: by O_DSYNC or RWF_DSYNC
	Create   bool   // OpOpen: the file may come into being
	Truncate bool   // OpOpen: the file is cut to length 0
}

// Changes reports whether the operation can change what a crash leaves behind: writes, syncs and changed names.
// Cutting at each of these is cutting everywhere.
func (o Op) Changes() bool {
	switch o.Kind {
	case OpWrite, OpSync, OpTruncate, OpPreallocate, OpRemove, OpRemoveAll, OpRename, OpMkdirAll, OpSyncDir:
		return true
	case OpOpen:
		return o.Create || o.Truncate
	}
	return false
}

// ErrCut is what a hook returns (wrapped or not) when the power goes while the operation is in flight. The
// operation begins and nobody learns how it ended: a write reaches a Mem's volatile image alone, durable or not
// as it was asked to be, so that CrashClone tears it; a sync makes nothing durable, which leaves all that it
// had to write to CrashClone's choice; a changed name is changed, but not durably. The caller gets the error.
// On a file system that is not a Mem a write happens as asked. From then on the hook should fail everything, as
// Cutter does.
var ErrCut = errors.New("vfs: power cut")

// Cutter is a hook for Inject that cuts the power at one chosen operation. A crash test runs its workload once
// without a cut to count the operations, then once for each n with the cut there, and reopens Mem.CrashClone
// each time.
type Cutter struct {
	at   int64
	seen atomic.Int64
}

// NewCutter cuts at the n-th operation, from 0, of those for which Op.Changes; never if n is negative.
func NewCutter(n int64) *Cutter { return &Cutter{at: n} }

// Hook is the function to hand to Inject.
func (c *Cutter) Hook(op Op) error {
	if c.at >= 0 && c.seen.Load() > c.at {
		return errDown
	}
	if !op.Changes() {
		return nil
	}
	switch n := c.seen.Add(1) - 1; {
	case c.at < 0 || n < c.at:
		return nil
	case n == c.at:
		return ErrCut
	}
	return errDown
}

// errDown must not match ErrCut, or operations after the cut would begin.
var errDown = errors.New("vfs: the power is off")

// Seen is how many operations that change something were asked for so far.
func (c *Cutter) Seen() int64 { return c.seen.Load() }

// Done reports whether the power is off.
func (c *Cutter) Done() bool { return c.at >= 0 && c.seen.Load() > c.at }

// Inject returns fs with every operation shown to hook first, on the caller's goroutine. What hook returns decides:
//
//	nil           the operation happens
//	ErrCut        it begins, and its result is never seen
//	other errors  it does not happen, and the error is returned as it is
//
// The hook may block, and must stand being called concurrently.
func Inject(fs FS, hook func(Op) error) FS { return &injectFS{fs: fs, hook: hook} }

type injectFS struct {
	fs   FS
	hook func(Op) error
}

// change runs an operation that a cut lets happen; check is for those that a cut keeps from happening.
func (i *injectFS) change(op Op, do func() error) error {
	err := i.hook(op)
	if err == nil {
		return do()
	}
	if errors.Is(err, ErrCut) {
		_ = do() // its result is what nobody learns
	}
	return err
}

func (i *injectFS) check(op Op, do func() error) error {
	if err := i.hook(op); err != nil {
		return err
	}
	return do()
}

func (i *injectFS) Open(name string, o OpenOptions) (File, error) {
	var f File
	err := i.change(Op{Kind: OpOpen, Name: name, Create: o.Create, Truncate: o.Truncate}, func() (err error) {
		f, err = i.fs.Open(name, o)
		return err
	})
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return &injectFile{f: f, fs: i, name: name, dsync: o.Dsync}, nil
}

func (i *injectFS) Remove(name string) error {
	return i.change(Op{Kind: OpRemove, Name: name}, func() error { return i.fs.Remove(name) })
}

func (i *injectFS) RemoveAll(dir string) error {
	return i.change(Op{Kind: OpRemoveAll, Name: dir}, func() error { return i.fs.RemoveAll(dir) })
}

func (i *injectFS) Rename(oldname, newname string) error {
	return i.change(Op{Kind: OpRename, Name: oldname, To: newname}, func() error { return i.fs.Rename(oldname, newname) })
}

func (i *injectFS) MkdirAll(dir string) error {
	return i.change(Op{Kind: OpMkdirAll, Name: dir}, func() error { return i.fs.MkdirAll(dir) })
}

func (i *injectFS) List(dir string) (names []string, err error) {
	err = i.check(Op{Kind: OpList, Name: dir}, func() (err error) {
		names, err = i.fs.List(dir)
		return err
	})
	return names, err
}

func (i *injectFS) Stat(name string) (info Info, err error) {
	err = i.check(Op{Kind: OpStat, Name: name}, func() (err error) {
		info, err = i.fs.Stat(name)
		return err
	})
	return info, err
}

func (i *injectFS) SyncDir(dir string) error {
	return i.check(Op{Kind: OpSyncDir, Name: dir}, func() error { return i.fs.SyncDir(dir) })
}

func (i *injectFS) Lock(name string) (c io.Closer, err error) {
	err = i.check(Op{Kind: OpLock, Name: name}, func() (err error) {
		c, err = i.fs.Lock(name)
		return err
	})
	return c, err
}

func (i *injectFS) Free(dir string) (n int64, err error) {
	err = i.check(Op{Kind: OpFree, Name: dir}, func() (err error) {
		n, err = i.fs.Free(dir)
		return err
	})
	return n, err
}

type injectFile struct {
	f     File
	fs    *injectFS
	name  string
	dsync bool
}

// volatileWriter is a file that can take a write without making it durable, however it was opened.
type volatileWriter interface {
	writeVolatile(p []byte, off int64) (int, error)
}

func (f *injectFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.check(Op{Kind: OpRead, Name: f.name, Off: off, Len: int64(len(p))}, func() (err error) {
		n, err = f.f.ReadAt(p, off)
		return err
	})
	return n, err
}

func (f *injectFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, off, f.dsync, f.f.WriteAt)
}

func (f *injectFile) WriteAtDsync(p []byte, off int64) (int, error) {
	return f.write(p, off, true, f.f.WriteAtDsync)
}

func (f *injectFile) write(p []byte, off int64, durable bool, do func([]byte, int64) (int, error)) (int, error) {
	err := f.fs.hook(Op{Kind: OpWrite, Name: f.name, Off: off, Len: int64(len(p)), Durable: durable})
	if err == nil {
		return do(p, off)
	}
	if errors.Is(err, ErrCut) {
		if v, ok := f.f.(volatileWriter); ok {
			do = v.writeVolatile
		}
		_, _ = do(p, off)
	}
	return 0, err
}

// writeVolatile serves an Inject around an Inject: the outer one's hook has decided already.
func (f *injectFile) writeVolatile(p []byte, off int64) (int, error) {
	if v, ok := f.f.(volatileWriter); ok {
		return v.writeVolatile(p, off)
	}
	return f.f.WriteAt(p, off)
}

func (f *injectFile) Sync() error {
	return f.fs.check(Op{Kind: OpSync, Name: f.name}, f.f.Sync)
}

func (f *injectFile) Truncate(size int64) error {
	return f.fs.change(Op{Kind: OpTruncate, Name: f.name, Off: size}, func() error { return f.f.Truncate(size) })
}

func (f *injectFile) Preallocate(off, length int64) error {
	return f.fs.change(Op{Kind: OpPreallocate, Name: f.name, Off: off, Len: length},
		func() error { return f.f.Preallocate(off, length) })
}

func (f *injectFile) WriteBack(off, length int64) error {
	return f.fs.check(Op{Kind: OpWriteBack, Name: f.name, Off: off, Len: length},
		func() error { return f.f.WriteBack(off, length) })
}

func (f *injectFile) Size() (n int64, err error) {
	err = f.fs.check(Op{Kind: OpSize, Name: f.name}, func() (err error) {
		n, err = f.f.Size()
		return err
	})
	return n, err
}

// Close closes the file whatever the hook says: a failed close has closed it too, as on Linux.
func (f *injectFile) Close() error {
	err := f.fs.hook(Op{Kind: OpClose, Name: f.name})
	return errors.Join(err, f.f.Close())
}
