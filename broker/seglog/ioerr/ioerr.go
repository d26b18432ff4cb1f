// Package ioerr is what can go wrong with a log's files. The problem: the same errno means "try again when there is space" on a
// write, "nobody knows what is on the disk" on a sync, and nothing of the kind on a read; whoever handles it must not have
// to guess which of them it was.
package ioerr

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"ackline/broker/id"
)

// What went wrong, for errors.Is.
var (
	// ErrNoSpace: the disk is full, or the process out of descriptors (ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM on
	// anything but a sync). Nothing is lost.
	ErrNoSpace = errors.New("no space for segments")
	// ErrFatal: a sync failed, or a write failed in a way that says nothing about what is on the disk.
	ErrFatal = errors.New("what is on the disk is unknown")
	// ErrCorrupt: bytes are not what was written. The error is a *CorruptError.
	ErrCorrupt = errors.New("corrupt")
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

// Corrupt makes a CorruptError of two values.
func Corrupt(file string, index id.Index, what string, expected, found any) error {
	return &CorruptError{File: file, Index: index, What: what, Expected: fmt.Sprint(expected), Found: fmt.Sprint(found)}
}

// Read types a failure to read [off, off+n).
func Read(file string, off, n int64, err error) error {
	return &FileError{Op: "read", File: file, Off: off, Len: n, Err: err}
}

// Open types a failure to open a file that must be there: one that is missing is corruption.
func Open(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return Corrupt(name, 0, "file", "present", "missing")
	}
	return &FileError{Op: "open", File: name, Err: err}
}

// Write types a failure on the way of writing. A failed sync is fatal whatever its errno: the kernel may have dropped
// the dirty pages and says so once.
func Write(op, file string, off, n int64, err error) error {
	return &FileError{Op: op, File: file, Off: off, Len: n, Err: err, class: classify(op, err)}
}

// Fatal types a failure that is fatal whatever its errno.
func Fatal(op, file string, off, n int64, err error) error {
	return &FileError{Op: op, File: file, Off: off, Len: n, Err: err, class: ErrFatal}
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
	case op != OpSync && op != OpSyncDir && has(syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM):
		return ErrNoSpace
	}
	return ErrFatal
}

// Operations whose failure is fatal whatever the errno.
const (
	OpSync    = "sync"
	OpSyncDir = "sync directory"
)
