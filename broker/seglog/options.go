package seglog

import (
	"errors"

	"ackline/broker/id"
	"ackline/broker/seglog/giveback"
	"ackline/broker/vfs"
)

// Options says where a log lives and how it writes. The zero value of every field but FS and Dir is a good choice.
type Options struct {
	// FS holds the files. Required.
	FS vfs.FS
	// Dir is the group's directory. Required. Only this log may keep files in it. It is created, and its name synced,
	// with the first segment; the directory above must exist and be durable.
	Dir string
	// Group is written into every index file and into every row's checksum, so that a file of another group that was
	// put in place is found out.
	Group id.GroupID
	// Files holds the open descriptors. Share one among the logs of a node. Nil: one of its own, of DefaultOpenFiles.
	Files *Files
	// WriteBytes is how much of what Append is given is gathered into one write, in bytes; a larger record makes a write
	// of its own. 0: DefaultWriteBytes.
	WriteBytes int
	// DirectBytes is from how many bytes on the whole blocks of a write of data go around the page cache. 0:
	// DefaultDirectBytes. Negative: never.
	DirectBytes int
	// WriteBackBytes is after how many bytes of data the kernel is told to start writing them to the disk, so that the
	// next Sync finds little left to do. 0: DefaultWriteBackBytes. Negative: never, Sync does it all.
	WriteBackBytes int64
	// GiveBack frees the blocks of removed files. Share one among the logs of a node. Nil: they are freed at once.
	GiveBack *giveback.Queue
}

const (
	// DefaultWriteBytes is Options.WriteBytes when that is 0.
	DefaultWriteBytes = 1 << 20
	// DefaultDirectBytes is Options.DirectBytes when that is 0: below it a copy into the page cache costs less than
	// waiting for the disk.
	DefaultDirectBytes = 128 << 10
	// DefaultWriteBackBytes is Options.WriteBackBytes when that is 0.
	DefaultWriteBackBytes = 4 << 20
	// DefaultOpenFiles is the capacity of the Files that a log makes for itself.
	DefaultOpenFiles = 64
)

// Validate reports what is missing or impossible.
func (o Options) Validate() error {
	switch {
	case o.FS == nil:
		return errors.New("seglog: Options.FS is nil; give the file system that holds the segments, such as vfs.OS()")
	case o.Dir == "":
		return errors.New("seglog: Options.Dir is empty; give the group's directory")
	case o.WriteBytes < 0:
		return errors.New("seglog: Options.WriteBytes is negative; 0 means the default")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Files == nil {
		o.Files = NewFiles(DefaultOpenFiles)
	}
	if o.WriteBytes == 0 {
		o.WriteBytes = DefaultWriteBytes
	}
	if o.DirectBytes == 0 {
		o.DirectBytes = DefaultDirectBytes
	}
	if o.WriteBackBytes == 0 {
		o.WriteBackBytes = DefaultWriteBackBytes
	}
	return o
}
