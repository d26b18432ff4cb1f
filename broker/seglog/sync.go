package seglog

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"ackline/broker/id"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
)

// Sync makes everything that was appended durable, and returns the checkpoint that says so. Files that were not written
// since the last Sync are left alone. The entries below Checkpoint.Next are no longer needed elsewhere once the caller has
// stored the checkpoint durably, and not before.
//
// ErrFatal, which every failed fsync is: the data may be gone while the kernel believes that it is written. Stop.
func (l *Log) Sync() (Checkpoint, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.usable(); err != nil {
		return Checkpoint{}, err
	}
	if err := l.syncAll(); err != nil {
		return Checkpoint{}, l.fail(err)
	}
	return l.checkpoint(), nil
}

func (l *Log) syncAll() error {
	for _, s := range l.unsynced {
		for k := range layout.Kinds {
			if !s.w.dirty[k] {
				continue
			}
			if err := s.w.pinned[k].File().Sync(); err != nil {
				return ioerr.Write(ioerr.OpSync, s.name(k), 0, 0, err)
			}
			s.w.dirty[k], s.w.found[k] = false, false
		}
	}
	if l.newNames {
		if err := l.syncDir(l.o.Dir); err != nil {
			return err
		}
		l.newNames = false
		if l.newDir {
			if err := l.syncDir(path.Dir(l.o.Dir)); err != nil {
				return err
			}
			l.newDir = false
		}
	}
	for _, s := range l.unsynced {
		s.w.queued = false
		s.w.hinted = s.tail.seg
		l.unpin(s)
	}
	clear(l.unsynced)
	l.unsynced = l.unsynced[:0]
	return nil
}

func (l *Log) syncDir(dir string) error {
	if err := l.o.FS.SyncDir(dir); err != nil {
		return ioerr.Write(ioerr.OpSyncDir, dir, 0, 0, err)
	}
	return nil
}

// unpin lets go of a segment's descriptors.
func (l *Log) unpin(s *segment) {
	for k, h := range s.w.pinned {
		if h != nil {
			s.w.pinned[k] = nil
			l.files.Release(h)
		}
	}
	if h := s.w.direct; h != nil {
		s.w.direct = nil
		l.files.Release(h)
	}
}

// checkpoint describes the log as it is.
func (l *Log) checkpoint() Checkpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c := EmptyAt(l.next, l.offset, l.term)
	if n := len(l.segs); n > 0 {
		last := l.segs[n-1]
		c.First, c.Start = l.segs[0].first, l.segs[0].base
		c.Active, c.SegBytes, c.CtlBytes = last.first, last.tail.seg, last.tail.ctl
	}
	return c
}

// writeBackAlign keeps a page that is still being filled from being written twice.
const writeBackAlign = 4096

// hint starts the write-back of s when enough has gathered.
func (l *Log) hint(s *segment) error {
	end := s.tail.seg &^ (writeBackAlign - 1)
	if l.o.WriteBackBytes < 0 || end-s.w.hinted < l.o.WriteBackBytes {
		return nil
	}
	from := s.w.hinted
	s.w.hinted = end
	err := s.w.pinned[layout.Seg].File().WriteBack(from, end-from)
	if err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil // a file system that cannot do it loses a hint
	}
	// Never ErrNoSpace: if the kernel could not write pages out, they are lost, and the next fsync might not say so.
	return ioerr.Fatal("start write-back of", s.name(layout.Seg), from, end-from, err)
}

// DropBefore removes the segments whose records are all below o; never the active one. It is durable, and safe against a
// crash with a checkpoint from before: renaming the .low file to the new first index is what drops them, and Open removes
// what is below it. That needs no space on the disk. Afterwards FirstIndex and StartOffset are those of the oldest segment
// that is left.
func (l *Log) DropBefore(o id.Offset) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	n := 0
	for n < len(l.segs)-1 && l.segs[n+1].base <= o {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := l.moveLow(l.segs[n].first); err != nil {
		return l.fail(err)
	}
	return l.fail(l.dropOldest(n))
}

// moveLow makes first the durable start of the log.
func (l *Log) moveLow(first id.Index) error {
	name := layout.Name(l.o.Dir, first, layout.Low)
	if err := l.o.FS.Rename(layout.Name(l.o.Dir, l.low, layout.Low), name); err != nil {
		return ioerr.Write("rename to", name, 0, 0, err)
	}
	l.low = first
	return l.syncDir(l.o.Dir)
}

// dropOldest takes n segments out of the log and removes their files. A file that stays, because its removal fails or is
// undone by a crash, is below the .low file's index and goes at the next Open.
func (l *Log) dropOldest(n int) error {
	l.mu.Lock()
	dropped := l.segs[:n]
	l.segs = slices.Clone(l.segs[n:])
	for _, s := range dropped {
		l.bytes -= s.tail.seg
	}
	l.mu.Unlock()
	l.unsynced = slices.DeleteFunc(l.unsynced, func(s *segment) bool { return slices.Contains(dropped, s) })
	var failed error
	for _, s := range dropped {
		l.unpin(s)
		l.files.Abandon(&s.files)
		for k := range layout.Kinds {
			giveBack, err := l.o.GiveBack.Remove(l.o.FS, s.name(k))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, ioerr.Write("remove", s.name(k), 0, 0, err))
			}
			l.files.After(&s.files, giveBack) // who reads may read on
		}
	}
	return failed
}
