package seglog

import (
	"errors"

	"ackline/broker/seglog/ioerr"
)

// What went wrong, for errors.Is.
var (
	// ErrNoSpace: the disk is full, or the process out of descriptors. The log is whole and serves reads. Throttle, make
	// space, and append again from LastIndex()+1.
	ErrNoSpace = ioerr.ErrNoSpace
	// ErrFatal: what is on the disk is unknown. Nothing may be written or acknowledged any more: log it and stop the
	// node. Every later Append, Sync and DropBefore returns it.
	ErrFatal = ioerr.ErrFatal
	// ErrCorrupt: bytes are not what was written. The error is a *CorruptError.
	ErrCorrupt = ioerr.ErrCorrupt
	// ErrCompacted: an index below FirstIndex or an offset below StartOffset.
	ErrCompacted = errors.New("dropped by retention")
	// ErrUnavailable: an index above LastIndex or an offset above NextOffset.
	ErrUnavailable = errors.New("not in the log yet")
	// ErrClosed: the log, or the Files it uses, was closed.
	ErrClosed = errors.New("seglog: closed")
)

type (
	// FileError is a failed operation on a file. It matches ErrNoSpace or ErrFatal if it came from writing, neither if it
	// came from reading, and always the errno.
	FileError = ioerr.FileError
	// CorruptError says which file is not what it should be.
	CorruptError = ioerr.CorruptError
)
