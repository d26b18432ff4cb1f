package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Files are for the owner and read by its group: records are the users' data.
const (
	fileMode = 0o640
	dirMode  = 0o750
)

// OS returns the operating system's files.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(name string, o OpenOptions) (File, error) {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if o.ReadOnly {
		flags = unix.O_RDONLY | unix.O_CLOEXEC
	}
	for _, f := range []struct {
		on   bool
		flag int
	}{
		{o.Create, unix.O_CREAT}, {o.Create && o.Exclusive, unix.O_EXCL}, {o.Truncate, unix.O_TRUNC},
		{o.Direct, unix.O_DIRECT}, {o.Dsync, unix.O_DSYNC},
	} {
		if f.on {
			flags |= f.flag
		}
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(name, flags, fileMode)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &osFile{name: name, fd: fd, direct: o.Direct}, nil
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) RemoveAll(dir string) error           { return os.RemoveAll(dir) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, dirMode) }

func (osFS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Stat(name string) (Info, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	if st.IsDir() {
		return Info{Dir: true}, nil
	}
	return Info{Size: st.Size()}, nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock uses flock: it belongs to the open file, so that a second opener in the same process is refused too, and the
// kernel drops it when the process dies. The file stays behind.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	err = again(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
}

func (osFS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// osFile holds the descriptor itself instead of an os.File, because pwritev2 and fdatasync need it on the hot path,
// where os.File would lend it through a closure that allocates.
type osFile struct {
	name   string
	direct bool

	// mu is held for reading during every system call and for writing by Close, so that no call can meet the
	// descriptor's number after another file has got it.
	mu sync.RWMutex
	fd int // mu; -1 once closed
}

// wrap adds operation and path. An unadorned nil and io.EOF pass.
func (f *osFile) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, f.wrap("read", fs.ErrClosed)
	}
	if f.direct {
		if err := checkDirect("read", f.name, p, off); err != nil {
			return 0, err
		}
	}
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, f.wrap("read", err)
		case n == 0:
			return done, io.EOF
		}
		done += n
		if f.direct && done < len(p) && done%BlockSize != 0 {
			return done, io.EOF // the file ends inside a block, and going on from there would be misaligned
		}
	}
	return done, nil
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) { return f.writeAt(p, off, false) }

func (f *osFile) WriteAtDsync(p []byte, off int64) (int, error) { return f.writeAt(p, off, true) }

func (f *osFile) writeAt(p []byte, off int64, dsync bool) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, f.wrap("write", fs.ErrClosed)
	}
	if f.direct {
		if err := checkDirect("write", f.name, p, off); err != nil {
			return 0, err
		}
	}
	done := 0
	for done < len(p) {
		var n int
		var err error
		if dsync {
			n, err = pwriteDsync(f.fd, p[done:], off+int64(done))
		} else {
			n, err = unix.Pwrite(f.fd, p[done:], off+int64(done))
		}
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, f.wrap("write", err)
		case n == 0:
			return done, f.wrap("write", io.ErrShortWrite)
		}
		done += n
	}
	return done, nil
}

// pwriteDsync is pwritev2 with one vector. unix.Pwritev2 would build its vector from a slice of slices on the heap.
func pwriteDsync(fd int, p []byte, off int64) (int, error) {
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	// The offset goes in two halves of a long each; on 64-bit machines the low one holds all of it.
	n, _, e := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, unix.RWF_DSYNC)
	runtime.KeepAlive(p)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// do runs one call that has nothing to do with the file's bytes in memory.
func (f *osFile) do(op string, call func(fd int) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return f.wrap(op, fs.ErrClosed)
	}
	return f.wrap(op, again(func() error { return call(f.fd) }))
}

func (f *osFile) Sync() error {
	f.mu.RLock() // not through do: its closures allocate, and a sync may be on the hot path
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return f.wrap("fdatasync", fs.ErrClosed)
	}
	for {
		if err := unix.Fdatasync(f.fd); err != unix.EINTR {
			return f.wrap("fdatasync", err)
		}
	}
}

func (f *osFile) Truncate(size int64) error {
	return f.do("truncate", func(fd int) error { return unix.Ftruncate(fd, size) })
}

func (f *osFile) Preallocate(off, length int64) error {
	return f.do("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, off, length) })
}

func (f *osFile) WriteBack(off, length int64) error {
	return f.do("sync_file_range", func(fd int) error {
		return unix.SyncFileRange(fd, off, length, unix.SYNC_FILE_RANGE_WRITE)
	})
}

func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	err := f.do("fstat", func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Size, err
}

func (f *osFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return f.wrap("close", fs.ErrClosed)
	}
	err := unix.Close(f.fd)
	f.fd = -1 // even after an error: Linux has given the number back
	return f.wrap("close", err)
}

// again repeats a call that a signal interrupted. EINTR is no verdict on the data, unlike every other error of
// a sync, which is never asked twice.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
