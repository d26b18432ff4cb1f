package seglog

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"ackline/broker/id"
)

// What went wrong, for errors.Is.
var (
	// ErrNoSpace: the disk is full, or the process out of descriptors (ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM on
	// anything but a sync). The log is whole and serves reads. Throttle, make space, and append again from LastIndex()+1.
	ErrNoSpace = errors.New("no space for segments")
	// ErrFatal: a sync failed, or a write failed in a way that says nothing about what is on the disk. Nothing may be
	// written or acknowledged any more: log it and stop the node. Every later Append, Sync and DropBefore returns it.
	ErrFatal = errors.New("what is on the disk is unknown")
	// ErrCorrupt: bytes are not what was written. The error is a *CorruptError.
	ErrCorrupt = errors.New("corrupt")
	// ErrCompacted: an index below FirstIndex or an offset below StartOffset.
	ErrCompacted = errors.New("dropped by retention")
	// ErrUnavailable: an index above LastIndex or an offset above NextOffset.
	ErrUnavailable = errors.New("not in the log yet")
	// ErrClosed: the log, or the Files it uses, was closed.
	ErrClosed = errors.New("seglog: closed")
)

// FileError is a failed operation on a file. It matches ErrNoSpace or ErrFatal if it came from writing, neither if it
// came from reading, and always the errno.
type FileError struct {
	Op       string // what was asked of the file
	File     string
	Off, Len int64 // the range in bytes, or zeros
	Err      error
	class    error
}

func (e *FileError) Error() string {
	s := "seglog: "
	if e.class != nil {
		s += e.class.Error() + ": "
	}
	cause := e.Err.Error()
	if strings.Contains(cause, e.File) {
		return s + cause // vfs names the operation and the file already
	}
	s += e.Op + " " + e.File
	if e.Len > 0 {
		s += fmt.Sprintf(" [%d,+%d)", e.Off, e.Len)
	}
	return s + ": " + cause
}

// Unwrap gives the class, if any, and the cause.
func (e *FileError) Unwrap() []error {
	if e.class == nil {
		return []error{e.Err}
	}
	return []error{e.class, e.Err}
}

// CorruptError says which file is not what it should be.
type CorruptError struct {
	File            string
	Index           id.Index // of the row; 0 when it is not about one row
	What            string   // what was compared
	Expected, Found string
}

func (e *CorruptError) Error() string {
	where := e.File
	if e.Index != 0 {
		where += fmt.Sprintf(" index %d", e.Index)
	}
	return fmt.Sprintf("seglog: %s: %s: %s expected, found %s", where, e.What, e.Expected, e.Found)
}

// Is makes every CorruptError match ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func corrupt(file string, index id.Index, what string, expected, found any) error {
	return &CorruptError{File: file, Index: index, What: what, Expected: fmt.Sprint(expected), Found: fmt.Sprint(found)}
}

func readError(file string, off, n int64, err error) error {
	return &FileError{Op: "read", File: file, Off: off, Len: n, Err: err}
}

// writeError types a failure on the way of writing. A failed sync is fatal whatever its errno: the kernel may have dropped
// the dirty pages and says so once.
func writeError(op, file string, off, n int64, err error) error {
	return &FileError{Op: op, File: file, Off: off, Len: n, Err: err, class: classify(op, err)}
}

func classify(op string, err error) error {
	has := func(errs ...syscall.Errno) bool {
		for _, e := range errs {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case has(syscall.EMFILE, syscall.ENFILE):
		return ErrNoSpace // from opening the file or directory: nothing was asked of the disk yet
	case op != opSync && op != opSyncDir && has(syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM):
		return ErrNoSpace
	}
	return ErrFatal
}

// Names of operations in errors.
const (
	opSync    = "sync"
	opSyncDir = "sync directory"
)
