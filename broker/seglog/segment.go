package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/seglog/fdcache"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
	"ackline/broker/vfs"
)

// tail is how far a segment goes.
type tail struct {
	rows uint32
	next id.Offset // one above the last offset
	term id.Term   // of the last entry, or of the one before the segment
	top  int64     // greatest MaxTimestamp of the data rows, NoTimestamp without any
	seg  int64     // length of .seg in bytes
	ctl  int64     // length of .ctl in bytes
}

// tailAt is the tail of a segment whose newest row is the n-th, r.
func tailAt(n uint32, r *Row) tail {
	return tail{rows: n, next: r.Next(), term: r.Term, top: r.TopTimestamp, seg: r.SegEnd(), ctl: r.CtlEnd()}
}

// segment is what memory keeps of a segment: no rows, and no name.
type segment struct {
	log      *Log
	first    id.Index
	base     id.Offset
	prevTerm id.Term // of the entry before first
	stateLen int
	stateCRC uint32
	closed   atomic.Bool // nothing will be appended: files are opened for reading only

	tail tail // Log.mu; what is published, constant once closed

	files   fdcache.Set  // locks itself; the descriptors that are open
	checked layout.Spans // locks itself; data rows whose payload was verified since Open

	w segmentWriter // Log.write
}

// segmentWriter is the part of a segment that only its log's writer touches.
type segmentWriter struct {
	pinned  [layout.Kinds]*fdcache.Handle // open for writing until the next Sync
	direct  *fdcache.Handle               // the same for .seg around the page cache, nil before the first such write
	exists  [layout.Kinds]bool
	dirty   [layout.Kinds]bool // written or cut since the last Sync
	found   [layout.Kinds]bool // by Open, and not synced since: its end may have been cut by a process that died
	torn    [layout.Kinds]bool // a failed write may have left garbage behind the tail
	queued  bool               // in Log.unsynced
	created bool               // not published yet
	hinted  int64              // .seg was handed to WriteBack up to here
}

// init makes s an empty segment with this header.
func (s *segment) init(h *layout.Header) {
	s.base, s.prevTerm, s.stateLen, s.stateCRC = h.Base, h.PrevTerm, h.StateLen, h.StateCRC
	s.tail = tail{next: h.Base, term: h.PrevTerm, top: NoTimestamp}
}

func (s *segment) readHeader() (layout.Header, error) {
	var p [layout.HeaderSize]byte
	if err := s.readFile(layout.Idx, p[:], 0); err != nil {
		return layout.Header{}, err
	}
	h, bad := layout.DecodeHeader(p[:], s.log.o.Group, s.first)
	if bad != nil {
		return layout.Header{}, s.IndexFault(0, bad)
	}
	return h, nil
}

func (s *segment) name(k layout.Kind) string { return layout.Name(s.log.o.Dir, s.first, k) }

// directSeg numbers the descriptor of .seg that goes around the page cache, behind those of the kinds.
const directSeg = int(layout.Kinds)

// OpenFile is for fdcache.
func (s *segment) OpenFile(n int, create bool) (vfs.File, error) {
	if n == directSeg {
		return s.log.o.FS.Open(s.name(layout.Seg), vfs.OpenOptions{Direct: true})
	}
	return s.log.o.FS.Open(s.name(layout.Kind(n)), vfs.OpenOptions{Create: create, Truncate: create, ReadOnly: s.closed.Load()})
}

// acquire opens one of the files, until log.files.Release.
func (s *segment) acquire(k layout.Kind, create bool) (*fdcache.Handle, error) {
	return s.log.files.Acquire(&s.files, s, int(k), create)
}

// rowsAt is where the first row stands in the index file.
func (s *segment) rowsAt() int64 { return layout.HeaderSize + layout.Padded(s.stateLen) }

// rowAt is where row n stands in the index file.
func (s *segment) rowAt(n uint32) int64 { return s.rowsAt() + int64(n)*layout.RowSize }

// length is how long a file of a segment with this tail is.
func (s *segment) length(k layout.Kind, t *tail) int64 {
	switch k {
	case layout.Seg:
		return t.seg
	case layout.Ctl:
		return t.ctl
	}
	return s.rowAt(t.rows)
}

// view is a segment with the tail that it had at one moment. Everything below the tail is constant.
type view struct {
	*segment
	tail
}

func (v *view) info(active bool) SegmentInfo {
	return SegmentInfo{First: v.first, Next: v.first + id.Index(v.rows), Base: v.base, NextOffset: v.tail.next,
		Term: v.tail.term, MaxTimestamp: v.top, DataBytes: v.tail.seg, OtherBytes: v.rowAt(v.rows) + v.tail.ctl, Active: active}
}

// rowsOf returns a reader of the view's rows.
func (v *view) rowsOf() layout.Reader {
	return layout.NewReader(v.segment, v.log.o.Group, v.first, v.rowsAt(), v.rows)
}

// ReadIndex is for layout.
func (s *segment) ReadIndex(p []byte, pos int64) error { return s.readFile(layout.Idx, p, pos) }

// IndexFault is for layout.
func (s *segment) IndexFault(i id.Index, f *layout.Fault) error {
	return ioerr.Corrupt(s.name(layout.Idx), i, f.What, f.Expected, f.Found)
}

// readFile fills p from one of the segment's files. A file that ends too early is corrupt.
func (s *segment) readFile(k layout.Kind, p []byte, pos int64) error {
	if len(p) == 0 {
		return nil
	}
	h, err := s.acquire(k, false)
	if err != nil {
		if err == fdcache.ErrGone {
			return s.log.goneError()
		}
		return ioerr.Open(s.name(k), err)
	}
	n, err := h.File().ReadAt(p, pos)
	s.log.files.Release(h)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return ioerr.Corrupt(s.name(k), 0, "length", fmt.Sprintf("at least %d bytes", pos+int64(len(p))), bytesOf(pos+int64(n)))
	}
	return ioerr.Read(s.name(k), pos, int64(len(p)), err)
}

func bytesOf(n int64) string { return fmt.Sprintf("%d bytes", n) }
