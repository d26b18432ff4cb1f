// Package vfs is the file API of the WAL and of the segments. The problem: whether a program loses acknowledged
// data at a power cut depends on which of its writes had reached the disk, in which order, whole or torn, and
// none of that can be provoked through package os. So every file access goes through the small FS interface, of
// which there are three implementations:
//
//   - OS: Linux files. Pread, pwrite, O_DIRECT, O_DSYNC, RWF_DSYNC, fdatasync, fallocate, sync_file_range.
//   - Mem: memory that remembers, for every 512-byte sector and every directory entry, what is durable and what is
//     merely written. CrashClone draws one of the states that a power cut could leave behind.
//   - Inject: a wrapper that shows each operation to a hook before it happens, to observe, delay, fail or cut it.
//
// The interface promises no more than Linux does. What counts as durable:
//
//	WriteAt, Truncate, Preallocate     nothing until the file's next Sync
//	WriteAt on a file opened Dsync,    on return exactly these bytes, and the file's size if it is needed to read them;
//	WriteAtDsync                       nothing that was written before
//	Sync                               on return all of the file's bytes and its size, but not its name
//	Open with Create, Remove,          nothing until SyncDir of the directory that holds the name
//	Rename, MkdirAll
//	Rename                             all or nothing: after a crash it is either done or not
//
// A failed write or sync says nothing about the bytes: they may be on the disk wholly, in part or not at all, and
// asking again may report success without having written them (the kernel drops the dirty mark and reports once).
package vfs

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"unsafe"
)

// FS is a tree of files. Names are slash-separated paths; all methods may be called concurrently. Errors match
// fs.ErrNotExist, fs.ErrExist, fs.ErrClosed and the syscall.Errno values through errors.Is, and name the
// operation and the path.
type FS interface {
	Open(name string, o OpenOptions) (File, error)
	Remove(name string) error                 // a file or an empty directory
	RemoveAll(dir string) error               // no error when there is nothing
	Rename(oldname, newname string) error     // replaces newname
	MkdirAll(dir string) error                // see MkdirAllDurable for one that survives
	List(dir string) ([]string, error)        // base names, sorted
	Stat(name string) (Info, error)           //
	SyncDir(dir string) error                 // makes created, removed and renamed names in dir durable
	Lock(name string) (io.Closer, error)      // exclusive; ErrLocked when another process or opener holds it
	Free(dir string) (bytes int64, err error) // space that an ordinary user could still fill
}

// OpenOptions says how to open a file. The zero value opens an existing file for buffered reading and writing.
type OpenOptions struct {
	Create    bool // create it when it is missing
	Exclusive bool // with Create: fail with fs.ErrExist when it is there
	ReadOnly  bool // writing fails with EBADF
	Truncate  bool // cut to length 0
	Direct    bool // O_DIRECT: offsets, lengths and memory must be multiples of BlockSize, else EINVAL
	Dsync     bool // O_DSYNC: a write returns when its bytes, and the metadata needed to read them, are durable
}

// File is an open file. All methods may be called concurrently; Close waits for calls in flight, later ones
// fail with fs.ErrClosed. A ReadAt that meets the end of the file returns what there is and io.EOF.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	WriteAtDsync(p []byte, off int64) (int, error) // pwritev2(RWF_DSYNC): durable on return, as if opened Dsync
	Sync() error                                   // fdatasync: data and the size
	Truncate(size int64) error
	Preallocate(off, length int64) error // fallocate: allocates blocks that read as zeros and extends the size
	Size() (int64, error)
	WriteBack(off, length int64) error // sync_file_range(SYNC_FILE_RANGE_WRITE): a hint to start writing, no durability
}

// Info is what Stat reports.
type Info struct {
	Size int64 // bytes; 0 for a directory
	Dir  bool
}

// BlockSize is what direct I/O is aligned to, in bytes. It is the largest logical block of disks in use, so
// that a file written on one disk can be read on any other; both OS and Mem insist on it even where a disk
// would take 512.
const BlockSize = 4096

// ErrLocked is returned by FS.Lock when somebody else holds the lock.
var ErrLocked = errors.New("vfs: locked by another process or opener")

// Aligned returns zeroed memory of length n whose address is a multiple of BlockSize. For direct I/O the caller
// rounds n up to a multiple of BlockSize; the capacity is rounded up already.
//
//go:noinline
func Aligned(n int) []byte {
	// Not inlined: a buffer that did not escape could lie on the stack, and stacks move.
	room := RoundUp(int64(n))
	b := make([]byte, room+BlockSize)
	skip := int64(-uintptr(unsafe.Pointer(&b[0])) & (BlockSize - 1))
	return b[skip : skip+int64(n) : skip+room]
}

// RoundUp rounds n up to a multiple of BlockSize.
func RoundUp(n int64) int64 { return (n + BlockSize - 1) &^ (BlockSize - 1) }

// checkDirect returns EINVAL with the reason when p or off does not suit direct I/O.
func checkDirect(op, name string, p []byte, off int64) error {
	var what string
	var got uint64
	switch {
	case off%BlockSize != 0:
		what, got = "offset", uint64(off)
	case len(p)%BlockSize != 0:
		what, got = "length", uint64(len(p))
	case len(p) > 0 && uintptr(unsafe.Pointer(&p[0]))%BlockSize != 0:
		what, got = "memory address", uint64(uintptr(unsafe.Pointer(&p[0])))
	default:
		return nil
	}
	return fmt.Errorf("vfs: direct %s %s: %s %d is not a multiple of %d: %w", op, name, what, got, BlockSize, syscall.EINVAL)
}
