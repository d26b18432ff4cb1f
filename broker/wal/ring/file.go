package ring

import (
	"errors"
	"fmt"
	"syscall"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// ErrCorrupt: bytes that were once synced are not what they were. It is wrapped with the place.
var ErrCorrupt = errors.New("corrupt")

// File is an open ring. Its methods may be called concurrently for different LSNs; WriteSuper by one caller at a time.
//
// Reads go through the descriptor that writes: both direct or both buffered. Mixing the two would leave it to the kernel
// to drop cached pages that a direct write has made stale, which it does at its best effort only.
//
// Superblocks are written through a descriptor of their own. Linux reports a failed write-back once per descriptor: were
// it shared, a superblock's sync could be told of the failure of a batch's pages, and the batch's own sync that all is
// well.
type File struct {
	path   string
	method syncmethod.Method
	data   vfs.File
	supers vfs.File
	block  []byte // of the superblock that is being written

	// Of the superblock that Open found.
	size int64
	id   uint64
}

// Open opens the ring to read and write it, and returns the superblock that counts.
func Open(fsys vfs.FS, path string, m syncmethod.Method) (*File, Super, error) {
	f := &File{path: path, method: m, block: vfs.Aligned(vfs.BlockSize)}
	var err error
	if f.data, err = m.Open(fsys, path, vfs.OpenOptions{}); err != nil {
		return nil, Super{}, fmt.Errorf("wal: %w", err)
	}
	if f.supers, err = m.Open(fsys, path, vfs.OpenOptions{}); err != nil {
		return nil, Super{}, fmt.Errorf("wal: %w", errors.Join(err, f.data.Close()))
	}
	s, err := f.use()
	if err != nil {
		return nil, Super{}, errors.Join(err, f.Close())
	}
	return f, s, nil
}

// OpenReadOnly opens the ring to read it, past the page cache where the file system can: pages that a reader left there
// would have to be dropped by the writes of a node that is running. A ring that is being written meanwhile may be seen in
// the middle of it.
func OpenReadOnly(fsys vfs.FS, path string) (*File, Super, error) {
	data, err := fsys.Open(path, vfs.OpenOptions{ReadOnly: true, Direct: true})
	if errors.Is(err, syscall.EINVAL) {
		data, err = fsys.Open(path, vfs.OpenOptions{ReadOnly: true})
	}
	if err != nil {
		return nil, Super{}, fmt.Errorf("wal: %w", err)
	}
	f := &File{path: path, data: data}
	s, err := f.use()
	if err != nil {
		return nil, Super{}, errors.Join(err, f.Close())
	}
	return f, s, nil
}

// use reads the superblocks and takes over the newer. One of them may be torn: it was being written when the power went. Or it
// is the newer one, and damaged: then batches may lie beyond the other's bound, so that none is known.
func (f *File) use() (Super, error) {
	both, err := f.Supers()
	if err != nil {
		return Super{}, err
	}
	s := both[0].Super
	if both[0].Err != nil || both[1].Err == nil && both[1].Seq > s.Seq {
		s = both[1].Super
	}
	if both[0].Err != nil && both[1].Err != nil {
		return s, fmt.Errorf("wal: %s: %w: neither superblock is valid: %w", f.path, ErrCorrupt, errors.Join(both[0].Err, both[1].Err))
	}
	if both[0].Err != nil || both[1].Err != nil {
		s.Bound = 0
	}
	size, err := f.data.Size()
	if err != nil {
		return s, fmt.Errorf("wal: %w", err)
	}
	if want := dataStart + s.RingBytes; size < want {
		return s, fmt.Errorf("wal: %s: %w: %d bytes long, a ring of %d bytes needs %d", f.path, ErrCorrupt, size, s.RingBytes, want)
	}
	f.size, f.id = s.RingBytes, s.RingID
	return s, nil
}

// SuperOrErr is a superblock, or why it is none.
type SuperOrErr struct {
	Super
	Err error
}

// Supers reads both superblocks.
func (f *File) Supers() (both [2]SuperOrErr, err error) {
	b := vfs.Aligned(2 * vfs.BlockSize)
	if n, err := f.data.ReadAt(b, 0); n < len(b) {
		return both, fmt.Errorf("wal: %s: read %d bytes of the superblocks: %w", f.path, n, err)
	}
	for i := range both {
		both[i].Super, both[i].Err = ParseSuper(b[i*vfs.BlockSize:])
	}
	return both, nil
}

// Close closes the file.
func (f *File) Close() error {
	err := f.data.Close()
	if f.supers != nil {
		err = errors.Join(err, f.supers.Close())
	}
	return err
}

// Size is the ring's size in bytes.
func (f *File) Size() int64 { return f.size }

// ID marks the ring's batches.
func (f *File) ID() uint64 { return f.id }

// Path is the file's name.
func (f *File) Path() string { return f.path }

// Pos is the place of an LSN in the file.
func (f *File) Pos(l id.LSN) int64 { return dataStart + int64(l%id.LSN(f.size)) }

// untilWrap is how many of n bytes from l on lie before the ring's end.
func (f *File) untilWrap(l id.LSN, n int) int {
	return int(min(int64(n), dataStart+f.size-f.Pos(l)))
}

// Write makes a batch's blocks durable at l. After an error nothing is known of what is there.
func (f *File) Write(blocks []byte, l id.LSN) error {
	n := f.untilWrap(l, len(blocks))
	if err := f.put(blocks[:n], l); err != nil || n == len(blocks) {
		return err
	}
	return f.put(blocks[n:], l+id.LSN(n))
}

func (f *File) put(p []byte, l id.LSN) error {
	if err := f.method.Write(f.data, p, f.Pos(l)); err != nil {
		return fmt.Errorf("wal: %s: writing %d bytes at pos %d (LSN %d) with %s: %w", f.path, len(p), f.Pos(l), l, f.method, err)
	}
	return nil
}

// Read fills p, which is aligned and a whole number of blocks, from l on, which is a multiple of BlockSize.
func (f *File) Read(p []byte, l id.LSN) error {
	n := f.untilWrap(l, len(p))
	if err := f.get(p[:n], l); err != nil || n == len(p) {
		return err
	}
	return f.get(p[n:], l+id.LSN(n))
}

func (f *File) get(p []byte, l id.LSN) error {
	n, err := f.data.ReadAt(p, f.Pos(l))
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("wal: %s: read %d of %d bytes at pos %d (LSN %d): %w", f.path, n, len(p), f.Pos(l), l, err)
}

// WriteSuper makes s durable.
func (f *File) WriteSuper(s *Super) error {
	s.encode(f.block)
	if err := f.method.Write(f.supers, f.block, s.Pos()); err != nil {
		return fmt.Errorf("wal: %s: writing superblock %d at pos %d with %s: %w", f.path, s.Seq, s.Pos(), f.method, err)
	}
	return nil
}
