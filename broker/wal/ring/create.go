package ring

import (
	"errors"
	"fmt"
	"path"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// Create makes a ring file of ringBytes whose batches are marked with ringID. It is filled under another name and renamed
// when all of it is durable, so that a file under the right name is whole. progress, which may be nil, is told the bytes.
func Create(fsys vfs.FS, name string, m syncmethod.Method, ringBytes int64, ringID uint64, progress func(done, total int64)) error {
	dir, tmp, size := path.Dir(name), name+".new", dataStart+ringBytes
	if free, err := fsys.Free(dir); err != nil {
		return fmt.Errorf("wal: %w", err)
	} else if free < size {
		return fmt.Errorf("wal: a ring of %d bytes in %s, which has %d free: free some space or make a smaller ring", ringBytes, dir, free)
	}
	// Direct as the ring will be used: pages that filling left in the cache would have to be dropped by every write of
	// the first lap. Not Dsync: one sync at the end does.
	f, err := fsys.Open(tmp, vfs.OpenOptions{Create: true, Truncate: true, Direct: m.Direct()})
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	s := Super{RingID: ringID, RingBytes: ringBytes, Head: id.LSN(ringBytes), Synced: id.LSN(ringBytes), Bound: id.LSN(ringBytes)}
	if err := errors.Join(fill(f, size, s, progress), f.Close()); err != nil {
		return fmt.Errorf("wal: making a ring of %d bytes: %w", ringBytes, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

func fill(f vfs.File, size int64, s Super, progress func(done, total int64)) error {
	if err := f.Preallocate(0, size); err != nil {
		return err
	}
	if err := vfs.ZeroFill(f, 0, size, progress); err != nil {
		return err
	}
	block := vfs.Aligned(vfs.BlockSize)
	for range 2 { // both, so that one that is found unreadable later was written or damaged since
		s.Seq++
		s.encode(block)
		if _, err := f.WriteAt(block, s.Pos()); err != nil {
			return err
		}
	}
	return f.Sync()
}
