package echo

import (
	"errors"
	"fmt"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// Ring is a preallocated file that blocks are written to one behind the other, from the start again when the end is
// reached. It is zero-filled and synced when it is created, so that a block overwrites allocated space: no allocation,
// no unwritten extent to convert, no new size to record.
type Ring struct {
	fs     vfs.FS
	name   string
	file   vfs.File
	method syncmethod.Method
	bytes  int64
	pos    int64
}

// MinRingBytes keeps a block from being overwritten by the next one.
const MinRingBytes = 2 * DefaultBatchBytes

// CreateRing creates name, which must not exist, with the given size and opens it for the method.
func CreateRing(fs vfs.FS, name string, ringBytes int64, m syncmethod.Method) (*Ring, error) {
	if ringBytes < MinRingBytes || ringBytes%BlockSize != 0 {
		return nil, fmt.Errorf("floor: ring of %d bytes, want at least %d and a multiple of %d", ringBytes, MinRingBytes, BlockSize)
	}
	r := &Ring{fs: fs, name: name, method: m, bytes: ringBytes}
	f, err := fs.Open(name, vfs.OpenOptions{Create: true, Exclusive: true})
	if err != nil {
		return nil, fmt.Errorf("floor: create ring: %w", err)
	}
	if err := errors.Join(vfs.ZeroFill(f, 0, ringBytes, nil), f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("floor: fill ring with zeros: %w", err), fs.Remove(name))
	}
	if r.file, err = m.Open(fs, name, vfs.OpenOptions{}); err != nil {
		return nil, errors.Join(fmt.Errorf("floor: open ring with %s: %w", m, err), fs.Remove(name))
	}
	return r, nil
}

// Append writes block at the ring's position and returns when it is durable. A block that would cross the end goes to
// the start: one write, never two.
func (r *Ring) Append(block []byte) error {
	if r.pos+int64(len(block)) > r.bytes {
		r.pos = 0
	}
	if err := r.method.Write(r.file, block, r.pos); err != nil {
		return fmt.Errorf("%s at %d: %w", r.name, r.pos, err)
	}
	r.pos += int64(len(block))
	return nil
}

// Remove closes the ring and deletes its file.
func (r *Ring) Remove() error {
	return errors.Join(r.file.Close(), r.fs.Remove(r.name))
}
