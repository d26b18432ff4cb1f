package seglog

import (
	"errors"
	"syscall"

	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
	"ackline/broker/vfs"
)

// writeData writes p, which is a chunk's data, to .seg: large pieces around the page cache. Records go to segments long
// after they were acknowledged, and those who follow the tail read them from memory, so the copy into the cache serves
// nobody; on a virtual machine, whose fresh pages are faults of the hypervisor, it took three quarters of a broker's
// time at saturation.
//
// Only whole blocks go directly. The ends of p share their blocks with what was written before and with what comes next:
// those two go through the cache, where filling up a page costs nothing. No block is ever written both ways.
func (l *Log) writeData(s *segment, k layout.Kind, p []byte, off int64) error {
	head := vfs.RoundUp(off) - off
	whole := (int64(len(p)) - head) &^ (vfs.BlockSize - 1)
	if l.o.DirectBytes < 0 || l.noDirect || whole < int64(l.o.DirectBytes) {
		return l.writeFile(s, k, p, off)
	}
	if err := l.writeFile(s, k, p[:head], off); err != nil {
		return err
	}
	p, off = p[head:], off+head
	switch err := l.writeBlocks(s, p[:whole], off); {
	case errors.Is(err, syscall.EINVAL): // a file system that cannot, such as tmpfs; it has written nothing
		l.noDirect = true
		return l.writeFile(s, k, p, off)
	case err != nil:
		return err
	}
	s.w.hinted = off + whole
	return l.writeFile(s, k, p[whole:], off+whole)
}

// writeBlocks writes whole blocks to .seg directly.
func (l *Log) writeBlocks(s *segment, p []byte, off int64) error {
	if _, err := l.pin(s, layout.Seg); err != nil { // creates the file, and keeps it in line for Sync
		return err
	}
	if s.w.direct == nil {
		h, err := l.files.Acquire(&s.files, s, directSeg, false)
		if err != nil {
			return ioerr.Write("open", s.name(layout.Seg), 0, 0, err)
		}
		s.w.direct = h
	}
	s.w.dirty[layout.Seg] = true
	if _, err := s.w.direct.File().WriteAt(p, off); err != nil {
		return ioerr.Write("write", s.name(layout.Seg), off, int64(len(p)), err)
	}
	return nil
}
