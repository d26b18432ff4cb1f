package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"ackline/broker/id"
	"ackline/broker/seglog/fdcache"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
	"ackline/broker/vfs"
)

// chunk is what one round of writes takes: records of one segment, encoded.
type chunk struct {
	n    int    // records
	data []byte // for .seg; as far from a block's start in memory as in the file
	ctl  []byte // for .ctl
	rows []byte // for .idx
	tail tail   // of the segment, with these records

	memory []byte // behind data: aligned, for direct I/O
}

// maxChunkRows bounds a chunk of records without payload.
const maxChunkRows = 4096

// chunks are shared by all logs: a log of its own would hold on to megabytes between flushes.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// Append writes records to the page cache; nothing is durable before Sync returns. Indexes must go on from LastIndex, base
// offsets from NextOffset, terms must not fall; anything else is a broken invariant and panics. Data is not kept.
//
// Records are taken in order and become readable chunk by chunk. On an error, LastIndex tells how many were taken; what
// was written of the others is cut off again or will be overwritten. ErrNoSpace: append the rest later. ErrFatal: stop.
func (l *Log) Append(rs []Record) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	c := chunks.Get().(*chunk)
	defer chunks.Put(c)
	for len(rs) > 0 {
		s, err := l.segmentFor(&rs[0])
		if err != nil {
			return l.fail(err)
		}
		c.fill(s, l.position(), rs, l.o.WriteBytes)
		if err := l.writeChunk(s, c); err != nil {
			return l.fail(l.cutBack(s, err))
		}
		l.publish(s, &c.tail, rs[c.n-1].Index+1)
		rs = rs[c.n:]
		if err := l.hint(s); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// usable says why nothing can be written.
func (l *Log) usable() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	return l.fatal
}

// fail remembers a fatal error.
func (l *Log) fail(err error) error {
	if l.fatal == nil && errors.Is(err, ErrFatal) {
		l.fatal = err
	}
	return err
}

// position is where the log ends.
type position struct {
	next   id.Index
	offset id.Offset
	term   id.Term
}

// position is for the writer, who alone moves it and needs no lock to read it.
func (l *Log) position() position { return position{l.next, l.offset, l.term} }

// fill encodes as many of rs as go into s and into one chunk: up to the next roll, and about limit bytes.
func (c *chunk) fill(s *segment, at position, rs []Record, limit int) {
	c.n, c.ctl, c.rows, c.tail = 0, c.ctl[:0], c.rows[:0], s.tail
	c.data = c.room(c.tail.seg, max(limit, len(rs[0].Data)))
	for i := range rs {
		r := &rs[i]
		if i > 0 && (r.Roll != nil || c.n == maxChunkRows || len(c.data)+len(c.ctl)+len(r.Data) > limit) {
			break
		}
		row := c.tail.row(r, at)
		c.rows = row.AppendTo(c.rows, s.log.o.Group)
		if row.Data() {
			c.data = append(c.data, r.Data...)
		} else {
			c.ctl = append(c.ctl, r.Data...)
		}
		c.tail = tailAt(c.tail.rows+1, &row)
		at = position{r.Index + 1, row.Next(), r.Term}
		c.n++
	}
}

// room returns empty memory for n bytes that will stand at pos in a file, aligned as they are there.
func (c *chunk) room(pos int64, n int) []byte {
	phase := int(pos % vfs.BlockSize)
	if cap(c.memory) < phase+n {
		c.memory = vfs.Aligned(phase + n)
	}
	return c.memory[phase:phase]
}

// row makes the row that stores r behind t, and insists that it goes on from there.
func (t *tail) row(r *Record, at position) Row {
	switch {
	case r.Index != at.next:
		panic(fmt.Sprintf("seglog: append of index %d to a log that goes on at %d", r.Index, at.next))
	case r.Term < at.term:
		panic(fmt.Sprintf("seglog: append of index %d with term %d after term %d", r.Index, r.Term, at.term))
	case len(r.Data) > layout.MaxPayload:
		panic(fmt.Sprintf("seglog: append of index %d with %d bytes; at most %d fit", r.Index, len(r.Data), layout.MaxPayload))
	case t.rows >= layout.MaxRows || t.ctl+int64(len(r.Data)) > layout.MaxCtlBytes && r.LastDelta < 0:
		panic(fmt.Sprintf("seglog: append of index %d to a full segment of %d rows (at most %d) and %d control bytes (at most %d)",
			r.Index, t.rows, layout.MaxRows, t.ctl, int64(layout.MaxCtlBytes)))
	}
	w := Row{Index: r.Index, Term: r.Term, Base: at.offset, MaxTimestamp: NoTimestamp, TopTimestamp: t.top,
		SegPos: t.seg, CtlPos: t.ctl, Length: int32(len(r.Data)), LastDelta: r.LastDelta, CRC: layout.Known(r.CRC, r.Data), Type: r.Type}
	if !w.Data() {
		if r.LastDelta != Control {
			panic(fmt.Sprintf("seglog: append of index %d with last delta %d; %d means control", r.Index, r.LastDelta, Control))
		}
		return w
	}
	if r.Base != at.offset || len(r.Data) == 0 {
		panic(fmt.Sprintf("seglog: append of index %d with %d bytes at offset %d to a log that goes on at %d",
			r.Index, len(r.Data), r.Base, at.offset))
	}
	w.MaxTimestamp, w.TopTimestamp = r.MaxTimestamp, max(t.top, r.MaxTimestamp)
	return w
}

// segmentFor returns the segment that r goes to: the newest, or a new one that is not published yet.
func (l *Log) segmentFor(r *Record) (*segment, error) {
	var prev *segment
	if n := len(l.segs); n > 0 { // only the writer, which we are, replaces l.segs
		prev = l.segs[n-1]
	}
	if prev != nil && r.Roll == nil {
		return prev, nil
	}
	if len(r.Roll) > layout.MaxBaseState {
		panic(fmt.Sprintf("seglog: base state of %d bytes; at most %d fit", len(r.Roll), layout.MaxBaseState))
	}
	if err := l.removeStrays(); err != nil {
		return nil, err
	}
	at := l.position()
	h := layout.Header{Group: l.o.Group, First: at.next, Base: at.offset, PrevTerm: at.term, PrevTopTimestamp: NoTimestamp}
	if prev != nil {
		if err := l.settle(prev); err != nil {
			return nil, err
		}
		h.PrevFirst, h.PrevSegBytes, h.PrevCtlBytes, h.PrevTopTimestamp = prev.first, prev.tail.seg, prev.tail.ctl, prev.tail.top
	}
	if err := l.prepareDir(at.next); err != nil {
		return nil, err
	}
	head := h.Encode(r.Roll)
	s := &segment{log: l, first: h.First}
	s.init(&h)
	s.w.created = true
	if err := l.writeFile(s, layout.Idx, head, 0); err != nil {
		return nil, l.cutBack(s, err)
	}
	return s, nil
}

// prepareDir makes the directory and the .low file before a segment is created in it.
func (l *Log) prepareDir(first id.Index) error {
	if len(l.segs) > 0 || l.low == first {
		return nil
	}
	dir, name := l.o.Dir, layout.Name(l.o.Dir, first, layout.Low)
	if l.low != 0 {
		l.newNames = true
		if err := l.o.FS.Rename(layout.Name(dir, l.low, layout.Low), name); err != nil {
			return ioerr.Write("rename to", name, 0, 0, err)
		}
		l.low = first
		return nil
	}
	if err := l.o.FS.MkdirAll(dir); err != nil {
		return ioerr.Write("create directory", dir, 0, 0, err)
	}
	l.newNames = true
	f, err := l.o.FS.Open(name, vfs.OpenOptions{Create: true, Truncate: true})
	if err != nil {
		return ioerr.Write("create", name, 0, 0, err)
	}
	_ = f.Close() // nothing was written to it
	l.low = first
	return nil
}

// writeChunk writes behind the tail. If it fails, every file that it got to may have garbage there.
func (l *Log) writeChunk(s *segment, c *chunk) error {
	for k, p := range [layout.Kinds][]byte{layout.Seg: c.data, layout.Ctl: c.ctl, layout.Idx: c.rows} {
		write := l.writeFile
		if layout.Kind(k) == layout.Seg {
			write = l.writeData
		}
		// Only the writer, which we are, moves the tail.
		if err := write(s, layout.Kind(k), p, s.length(layout.Kind(k), &s.tail)); err != nil {
			for done := range k + 1 {
				s.w.torn[done] = s.w.torn[done] || s.w.dirty[done]
			}
			return err
		}
	}
	return nil
}

// writeFile writes p to one of the segment's files, and creates it first when there is none.
func (l *Log) writeFile(s *segment, k layout.Kind, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	h, err := l.pin(s, k)
	if err != nil {
		return err
	}
	s.w.dirty[k] = true
	if _, err := h.File().WriteAt(p, off); err != nil {
		return ioerr.Write("write", s.name(k), off, int64(len(p)), err)
	}
	return nil
}

// pin opens a file for writing and keeps it open until it is synced.
func (l *Log) pin(s *segment, k layout.Kind) (*fdcache.Handle, error) {
	if !s.w.queued {
		s.w.queued = true
		l.unsynced = append(l.unsynced, s)
	}
	if h := s.w.pinned[k]; h != nil {
		return h, nil
	}
	create := !s.w.exists[k]
	if create {
		l.newNames = true
	}
	h, err := s.acquire(k, create)
	if err != nil {
		return nil, ioerr.Write("open", s.name(k), 0, 0, err)
	}
	s.w.pinned[k], s.w.exists[k] = h, true
	return h, nil
}

// publish lets readers see what was written to s.
func (l *Log) publish(s *segment, t *tail, next id.Index) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += t.seg - s.tail.seg
	s.tail = *t
	l.next, l.offset, l.term = next, t.next, t.term
	if s.w.created {
		if n := len(l.segs); n > 0 {
			l.segs[n-1].closed.Store(true)
		}
		l.segs = append(l.segs, s)
		s.w.created = false
	}
}

// cutBack undoes what a chunk that failed with err left behind the tail, so that its space is free again. Where that fails
// for lack of space too (a copying file system), the garbage stays until it is overwritten or trim is tried again.
func (l *Log) cutBack(s *segment, err error) error {
	if errors.Is(err, ErrFatal) {
		return err
	}
	undo := l.trim
	if s.w.created {
		undo = l.discard
	}
	if undone := undo(s); undone != nil && !errors.Is(undone, ErrNoSpace) {
		return undone
	}
	return err
}

// settle makes a segment's lengths exact, in memory and after the next Sync on the disk: the header of the segment that
// follows will vouch for them.
func (l *Log) settle(s *segment) error {
	for k, found := range s.w.found {
		if !found {
			continue
		}
		if _, err := l.pin(s, layout.Kind(k)); err != nil {
			return err
		}
		s.w.dirty[k] = true
	}
	return l.trim(s)
}

// trim cuts files with garbage behind the tail to the tail.
func (l *Log) trim(s *segment) error {
	for k := range layout.Kinds {
		if !s.w.torn[k] {
			continue
		}
		h, err := l.pin(s, k)
		if err != nil {
			return err
		}
		s.w.dirty[k] = true
		if err := h.File().Truncate(s.length(k, &s.tail)); err != nil {
			return ioerr.Write("truncate", s.name(k), 0, 0, err)
		}
		s.w.torn[k] = false
	}
	return nil
}

// discard removes a segment that was created and never published.
func (l *Log) discard(s *segment) error {
	l.unpin(s)
	l.unsynced = slices.DeleteFunc(l.unsynced, func(u *segment) bool { return u == s })
	l.files.Abandon(&s.files)
	for k := range layout.Kinds {
		l.strays = append(l.strays, s.name(k))
	}
	return l.removeStrays()
}

// removeStrays removes files that would not fit into the chain of segments when the log is opened again.
func (l *Log) removeStrays() error {
	for len(l.strays) > 0 {
		name := l.strays[0]
		l.newNames = true
		if err := l.o.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return ioerr.Write("remove", name, 0, 0, err)
		}
		l.strays = l.strays[1:]
	}
	return nil
}
