package syncmethod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"ackline/broker/vfs"
)

// Lane is a zero-filled file that one method overwrites as a WAL overwrites its ring: blocks of one size, one
// after the other, from the start again at the end. It is what Probe and walbench measure on. Use it from one
// goroutine at a time.
type Lane struct {
	method Method
	fs     vfs.FS
	name   string
	file   vfs.File
	ring   int64 // bytes
	pos    int64 // where the next block goes
	buf    []byte
	serial uint64 // of the next block
}

// NewLane creates or replaces the file, fills it with zeros and syncs it. size is that of a block in bytes, a
// multiple of vfs.BlockSize; ring is that of the file, rounded down to whole blocks. progress may be nil.
func NewLane(fs vfs.FS, name string, m Method, size int, ring int64, progress func(done, total int64)) (*Lane, error) {
	if size <= 0 || size%vfs.BlockSize != 0 {
		return nil, fmt.Errorf("syncmethod: block size %d is not a multiple of %d", size, vfs.BlockSize)
	}
	ring -= ring % int64(size)
	if ring == 0 {
		return nil, fmt.Errorf("syncmethod: the ring is smaller than one block of %d bytes", size)
	}
	l := &Lane{method: m, fs: fs, name: name, ring: ring, buf: vfs.Aligned(size)}
	// Incompressible, and never the same block twice: some disks compress, some deduplicate.
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(l.buf)
	if err := fill(fs, name, ring, progress); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	f, err := m.Open(fs, name, vfs.OpenOptions{})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.file = f
	return l, nil
}

// fill creates the file, around the page cache if it can: pages left there would have to be dropped by direct
// writes.
func fill(fs vfs.FS, name string, ring int64, progress func(done, total int64)) error {
	err := fillThrough(fs, name, vfs.OpenOptions{Create: true, Truncate: true, Direct: true}, ring, progress)
	if Unsupported(err) {
		err = fillThrough(fs, name, vfs.OpenOptions{Create: true, Truncate: true}, ring, progress)
	}
	return err
}

func fillThrough(fs vfs.FS, name string, o vfs.OpenOptions, ring int64, progress func(done, total int64)) error {
	f, err := fs.Open(name, o)
	if err != nil {
		return err
	}
	return errors.Join(vfs.ZeroFill(f, 0, ring, progress), f.Close())
}

// Slice makes n blocks durable, each gap after the one before has become so (0: at once), and the first gap
// after the call. It hands the time that each took, in ns, to record.
func (l *Lane) Slice(c Clock, n int, gap time.Duration, record func(ns int64)) error {
	for range n {
		if gap > 0 {
			c.SleepUntil(c.Now() + int64(gap))
		}
		binary.LittleEndian.PutUint64(l.buf, l.serial)
		l.serial++
		start := c.Now()
		if err := l.method.Write(l.file, l.buf, l.pos); err != nil {
			return err
		}
		record(c.Now() - start)
		if l.pos += int64(len(l.buf)); l.pos == l.ring {
			l.pos = 0
		}
	}
	return nil
}

// Verify reads the file back, from the disk where direct reads work, and compares each block with what was last
// written to it. Call it when no Slice has failed.
func (l *Lane) Verify() error {
	f, err := l.fs.Open(l.name, vfs.OpenOptions{ReadOnly: true, Direct: true})
	if Unsupported(err) {
		f, err = l.fs.Open(l.name, vfs.OpenOptions{ReadOnly: true})
	}
	if err != nil {
		return err
	}
	return errors.Join(l.verify(f), f.Close())
}

func (l *Lane) verify(f vfs.File) error {
	size := int64(len(l.buf))
	slots := uint64(l.ring / size)
	chunk := vfs.Aligned(int(max(size, 1<<20/size*size)))
	zeros, want := make([]byte, size), bytes.Clone(l.buf)
	for at := int64(0); at < l.ring; at += int64(len(chunk)) {
		part := chunk[:min(int64(len(chunk)), l.ring-at)]
		if n, err := f.ReadAt(part, at); n < len(part) {
			return fmt.Errorf("syncmethod: verify %s at %d: %d bytes of %d: %w", l.name, at, n, len(part), err)
		}
		for off := int64(0); off < int64(len(part)); off += size {
			got, slot := part[off:off+size], uint64((at+off)/size)
			if slot >= l.serial {
				if !bytes.Equal(got, zeros) {
					return fmt.Errorf("syncmethod: verify %s: block at %d was never written and is not zero", l.name, at+off)
				}
				continue
			}
			serial := slot + (l.serial-1-slot)/slots*slots // the last of those that went to this slot
			binary.LittleEndian.PutUint64(want, serial)
			if !bytes.Equal(got, want) {
				return fmt.Errorf("syncmethod: verify %s: block at %d has serial %d, the last one acknowledged there is %d: "+
					"a write that was reported durable is not what the file holds", l.name, at+off, binary.LittleEndian.Uint64(got), serial)
			}
		}
	}
	return nil
}

// Method returns the method that the lane writes with.
func (l *Lane) Method() Method { return l.method }

// Close closes and removes the file.
func (l *Lane) Close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	if rerr := l.fs.Remove(l.name); !errors.Is(rerr, syscall.ENOENT) {
		err = errors.Join(err, rerr)
	}
	return err
}
