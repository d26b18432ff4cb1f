// Package metasnap keeps the metadata group's snapshots as files: the catalog may be larger than a WAL record should be, so
// the WAL has only its name and checksum, and other nodes are sent the file as it is.
//
// A file is durable before a record names it, and goes only when a newer record is durable. Its name has its checksum in it,
// INDEX-SUM.snap, so that one which the WAL names is never written again: not by this node, nor with what a leader of another
// release makes of the same state. What was written or received and is named by no record goes with the next checkpoint, or
// when the node starts.
package metasnap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/seglog"
	"ackline/broker/vfs"
)

// File is a snapshot on disk.
type File struct {
	Index id.Index
	Term  id.Term // of the entry at Index; 0 if the record is of version 1
	Sum   uint64  // CRC-64 of the file
	Conf  []byte  // raft's configuration as of Index

	plain bool // of version 1: Sum is not that
}

// What the WAL records of a file, in a checkpoint's or a snapshot's payload, little-endian:
//
//	offset  size  field
//	0       1     version, 2
//	1       8     index
//	9       8     term; version 1 has none
//	17      8     CRC-64 (ECMA) of the file; version 1 has a CRC-32C, of 4 bytes
//	25      ...   raft's configuration
//
// A snapshot ends with its own CRC-32C, so the CRC-32C of all of it is the same for every snapshot. Version 1 did not know, and
// named the file INDEX.snap.
const (
	version  = 2
	indexAt  = 1
	termAt   = 9
	sumAt    = 17
	fixedLen = 25

	version1  = 1
	fixed1Len = 13

	suffix      = ".snap"
	indexDigits = 20
)

// Payload returns what the WAL records.
func (f *File) Payload() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64([]byte{version}, uint64(f.Index))
	b = le.AppendUint64(b, uint64(f.Term))
	return append(le.AppendUint64(b, f.Sum), f.Conf...)
}

// Parse reads what the WAL recorded.
func Parse(b []byte) (File, error) {
	le := binary.LittleEndian
	switch {
	case len(b) >= fixedLen && b[0] == version:
		return File{Index: id.Index(le.Uint64(b[indexAt:])), Term: id.Term(le.Uint64(b[termAt:])), Sum: le.Uint64(b[sumAt:]),
			Conf: bytes.Clone(b[fixedLen:])}, nil
	case len(b) >= fixed1Len && b[0] == version1:
		return File{Index: id.Index(le.Uint64(b[indexAt:])), Conf: bytes.Clone(b[fixed1Len:]), plain: true}, nil
	}
	return File{}, fmt.Errorf("metadata: a checkpoint of %d bytes that this program cannot read", len(b))
}

func (f *File) name() string {
	if f.plain {
		return fmt.Sprintf("%0*d%s", indexDigits, f.Index, suffix)
	}
	return fmt.Sprintf("%0*d-%016x%s", indexDigits, f.Index, f.Sum, suffix)
}

// Dir is the directory that holds them, and nothing else.
type Dir struct {
	fs   vfs.FS
	path string

	writing sync.Mutex // held while a file is written

	mu       sync.Mutex    // guards the rest
	received File          // from another node
	catalog  *meta.Catalog // what is in it, until it is loaded
}

// New returns the directory at path, which exists.
func New(fs vfs.FS, path string) *Dir { return &Dir{fs: fs, path: path} }

// Write makes a file of a catalog.
func (d *Dir) Write(c *meta.Catalog, term id.Term, conf []byte) (File, error) {
	var b bytes.Buffer
	if err := c.Snapshot(&b); err != nil {
		return File{}, fmt.Errorf("snapshot of the metadata: %w", err)
	}
	return d.write(File{Index: c.Applied(), Term: term, Conf: conf}, b.Bytes())
}

func (d *Dir) write(f File, b []byte) (File, error) {
	f.Sum = crc64.Checksum(b, ecma)
	d.writing.Lock()
	defer d.writing.Unlock()
	err := vfs.WriteFileAtomic(d.fs, path.Join(d.path, f.name()), b)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// Even from a sync: no record names the file yet, so nothing is lost with it.
		return File{}, fmt.Errorf("snapshot of the metadata: %w: %w", seglog.ErrNoSpace, err)
	}
	if err != nil {
		return File{}, fmt.Errorf("snapshot of the metadata: %w", err)
	}
	return f, nil
}

var ecma = crc64.MakeTable(crc64.ECMA)

// Receive makes a file of what another node streams. It is read through before, so that what cannot be restored is refused
// and never recorded.
func (d *Dir) Receive(index id.Index, term id.Term, conf []byte, r io.Reader) (File, error) {
	var b bytes.Buffer
	catalog, err := meta.Load(io.TeeReader(r, &b))
	if err != nil {
		return File{}, err
	}
	if got := catalog.Applied(); got != index {
		return File{}, fmt.Errorf("metadata: a snapshot at index %d has the state as of %d", index, got)
	}
	f, err := d.write(File{Index: index, Term: term, Conf: conf}, b.Bytes())
	if err != nil {
		return File{}, err
	}
	d.mu.Lock()
	d.received, d.catalog = f, catalog
	d.mu.Unlock()
	return f, nil
}

// Load returns what is in a file: from memory if it was received last, since who restores it must not wait for a disk.
func (d *Dir) Load(f *File) (*meta.Catalog, error) {
	if c := d.take(f); c != nil {
		return c, nil
	}
	name := path.Join(d.path, f.name())
	b, err := vfs.ReadFile(d.fs, name)
	if err != nil {
		return nil, fmt.Errorf("metadata: the snapshot that the WAL names: %w", err)
	}
	if got := crc64.Checksum(b, ecma); got != f.Sum && !f.plain { // a snapshot of version 1 has but its own checksum
		return nil, fmt.Errorf("metadata: %s is corrupt: CRC-64 %016x, the WAL says %016x", name, got, f.Sum)
	}
	c, err := meta.Load(bytes.NewReader(b))
	if err == nil && c.Applied() != f.Index {
		err = fmt.Errorf("it has the state as of index %d", c.Applied())
	}
	if err != nil {
		return nil, fmt.Errorf("metadata: %s: %w", name, err)
	}
	return c, nil
}

func (d *Dir) take(f *File) *meta.Catalog {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.catalog == nil || d.received.Index != f.Index || d.received.Sum != f.Sum {
		return nil
	}
	c := d.catalog
	d.catalog = nil
	return c
}

// Open opens a file, to be streamed to another node.
func (d *Dir) Open(f *File) (io.ReadCloser, error) {
	file, err := d.fs.Open(path.Join(d.path, f.name()), vfs.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, 0, size), file}, nil
}

// RemoveOld removes the files before the one that a durable record names, which is at index named.
func (d *Dir) RemoveOld(named id.Index) error {
	return d.remove(func(name string) bool {
		i, err := strconv.ParseUint(name[:min(len(name), indexDigits)], 10, 64)
		return err == nil && strings.HasSuffix(name, suffix) && id.Index(i) < named
	})
}

// RemoveOthers removes all files but one, when nothing is written or received yet.
func (d *Dir) RemoveOthers(f *File) error {
	return d.remove(func(name string) bool { return name != f.name() })
}

func (d *Dir) remove(which func(name string) bool) error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if which(name) {
			err = errors.Join(err, d.fs.Remove(path.Join(d.path, name)))
		}
	}
	return err
}
