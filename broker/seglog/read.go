package seglog

import (
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
)

// Read appends whole batches to dst, from the one that holds offset from on: the first whatever its size, then as many as
// keep what was appended within maxBytes. At NextOffset there is nothing to append and no error. Bytes that were not
// verified since Open are verified before they are returned. On an error dst is returned as it was.
//
// ErrCompacted below StartOffset, ErrUnavailable above NextOffset, ErrCorrupt.
func (l *Log) Read(from id.Offset, maxBytes int, dst []byte) ([]byte, error) {
	return l.ReadBelow(from, maxOffset, maxBytes, dst)
}

const maxOffset id.Offset = 1<<63 - 1

// ReadBelow is Read that stops before the first batch that is not wholly below end, even if it is the first.
func (l *Log) ReadBelow(from, end id.Offset, maxBytes int, dst []byte) ([]byte, error) {
	n := len(dst)
	for {
		v, err := l.viewAt(from)
		if err != nil {
			return dst[:n], err
		}
		if v.segment == nil {
			return dst, nil
		}
		before := len(dst)
		dst, from, err = v.read(from, end, maxBytes-(before-n), before == n, dst)
		if err != nil {
			return dst[:n], err
		}
		if len(dst) == before || from < v.next || len(dst)-n >= maxBytes {
			return dst, nil
		}
	}
}

// read is ReadBelow within one segment that holds from. It returns the offset to go on at; v.next only if everything up to
// there was appended.
func (v *view) read(from, end id.Offset, maxBytes int, whole bool, dst []byte) ([]byte, id.Offset, error) {
	rr := v.rowsOf()
	defer rr.Release()
	lo, first, ok, err := rr.Search(0, v.rows, layout.ByNext, int64(from)+1, int64(v.base), int64(v.next))
	if err != nil {
		return dst, from, err
	}
	if !ok {
		return dst, from, ioerr.Corrupt(v.name(layout.Idx), v.first+id.Index(v.rows-1), "next offset of the last row", v.next, "less")
	}
	if first.Next() > end || int64(first.Length) > int64(maxBytes) && !whole {
		return dst, from, nil
	}
	hi, stop, next, err := v.readEnd(&rr, lo, &first, end, maxBytes)
	if err != nil {
		return dst, from, err
	}
	if first.Base > from || next <= from || next > v.next || stop < first.SegEnd() || stop > v.seg {
		return dst, from, ioerr.Corrupt(v.name(layout.Idx), first.Index, "rows", fmt.Sprintf("offset %d below %d, position below %d",
			from, v.next, v.seg), fmt.Sprintf("%+v up to offset %d, position %d", first, next, stop))
	}
	n, size := len(dst), int(stop-first.SegPos)
	dst = slices.Grow(dst, size)[:n+size]
	e := extent{segPos: first.SegPos, seg: dst[n:]}
	if err := v.readFile(layout.Seg, e.seg, e.segPos); err != nil {
		return dst[:n], from, err
	}
	if err := v.check(&rr, lo, hi, &e); err != nil {
		return dst[:n], from, err
	}
	return dst, next, nil
}

// readEnd returns where a read that starts with row lo ends: the row, its position in .seg and the offset after it.
func (v *view) readEnd(rr *layout.Reader, lo uint32, first *Row, end id.Offset, maxBytes int) (uint32, int64, id.Offset, error) {
	hi, stop, next := v.rows, v.seg, v.next
	limit := max(first.SegPos+int64(maxBytes), first.SegEnd())
	if stop > limit {
		i, r, ok, err := rr.Search(lo+1, hi, layout.BySegEnd, limit+1, first.SegEnd(), stop)
		if err != nil {
			return 0, 0, 0, err
		}
		if ok {
			hi, stop, next = i, r.SegPos, r.Base
		}
	}
	if next > end {
		i, r, ok, err := rr.Search(lo+1, hi, layout.ByNext, int64(end)+1, int64(first.Next()), int64(next))
		if err != nil {
			return 0, 0, 0, err
		}
		if ok {
			hi, stop, next = i, r.SegPos, r.Base
		}
	}
	return hi, stop, next, nil
}

// extent is a part of .seg and of .ctl that was read.
type extent struct {
	segPos, ctlPos int64
	seg, ctl       []byte
}

// payload returns the payload of a row that lies in the extent.
func (v *view) payload(e *extent, r *Row) ([]byte, error) {
	p, at := e.seg, r.SegPos-e.segPos
	if !r.Data() {
		p, at = e.ctl, r.CtlPos-e.ctlPos
	}
	end := at + int64(r.Length)
	if at < 0 || end > int64(len(p)) {
		return nil, ioerr.Corrupt(v.name(layout.Idx), r.Index, "position", "one between those of the rows around it", fmt.Sprintf("%+v", *r))
	}
	return p[at:end:end], nil
}

// check verifies the payloads of the data rows lo <= i < hi, as far as they were not verified since Open.
func (v *view) check(rr *layout.Reader, lo, hi uint32, e *extent) error {
	lo, hi = v.checked.Trim(lo, hi)
	for i := lo; i < hi; i++ {
		r, err := rr.Row(i)
		if err != nil {
			return err
		}
		if !r.Data() {
			continue
		}
		if err := v.checkRow(e, &r); err != nil {
			return err
		}
	}
	v.checked.Add(lo, hi)
	return nil
}

// checkRow compares a row's checksum with its payload.
func (v *view) checkRow(e *extent, r *Row) error {
	p, err := v.payload(e, r)
	if err != nil {
		return err
	}
	if got := layout.Checksum(0, p); got != r.CRC {
		k := layout.Seg
		if !r.Data() {
			k = layout.Ctl
		}
		return ioerr.Corrupt(v.name(k), r.Index, "payload checksum", layout.Hex(r.CRC), layout.Hex(got))
	}
	return nil
}

// Entries returns the records with lo <= Index < hi in order: at least one, then as many as keep the sum of their Data
// within maxBytes. Their Data is the caller's to keep; records of one call may share memory. Nil when lo >= hi.
//
// ErrCompacted below FirstIndex, ErrUnavailable above LastIndex, ErrCorrupt.
func (l *Log) Entries(lo, hi id.Index, maxBytes int) ([]Record, error) {
	if lo >= hi {
		return nil, nil
	}
	if _, err := l.viewOf(hi - 1); err != nil {
		return nil, err
	}
	var rs []Record
	for budget := int64(maxBytes); lo < hi; {
		v, err := l.viewOf(lo)
		if err != nil {
			return nil, err
		}
		n := len(rs)
		var full bool
		if rs, full, err = v.entries(rs, lo, hi, &budget); err != nil {
			return nil, err
		}
		if full {
			break
		}
		lo += id.Index(len(rs) - n)
	}
	return rs, nil
}

// entries appends the records of one segment; full means that the next one is beyond the budget.
func (v *view) entries(rs []Record, lo, hi id.Index, budget *int64) (_ []Record, full bool, _ error) {
	rr := v.rowsOf()
	defer rr.Release()
	n := len(rs)
	from := uint32(lo - v.first)
	to := from
	var first, last Row
	for ; to < v.rows && v.first+id.Index(to) < hi; to++ {
		r, err := rr.Row(to)
		if err != nil {
			return nil, false, err
		}
		if *budget -= int64(r.Length); *budget < 0 && len(rs) > 0 {
			full = true
			break
		}
		if to == from {
			first = r
		}
		last = r
		rs = append(rs, Record{Index: r.Index, Term: r.Term, Type: r.Type, Base: r.Base, LastDelta: r.LastDelta,
			MaxTimestamp: r.MaxTimestamp})
	}
	if to == from {
		return rs, full, nil
	}
	e, err := v.readExtent(first.SegPos, last.SegEnd(), first.CtlPos, last.CtlEnd())
	if err != nil {
		return nil, false, err
	}
	if err := v.check(&rr, from, to, &e); err != nil {
		return nil, false, err
	}
	return rs, full, v.fill(&rr, from, rs[n:], &e)
}

// readExtent reads parts of .seg and .ctl into fresh memory.
func (v *view) readExtent(segPos, segEnd, ctlPos, ctlEnd int64) (extent, error) {
	if segEnd < segPos || segEnd > v.seg || ctlEnd < ctlPos || ctlEnd > v.ctl {
		return extent{}, ioerr.Corrupt(v.name(layout.Idx), 0, "positions", fmt.Sprintf("rising up to %d and %d", v.seg, v.ctl),
			fmt.Sprintf("%d to %d and %d to %d", segPos, segEnd, ctlPos, ctlEnd))
	}
	e := extent{segPos: segPos, ctlPos: ctlPos, seg: make([]byte, segEnd-segPos), ctl: make([]byte, ctlEnd-ctlPos)}
	if err := v.readFile(layout.Seg, e.seg, segPos); err != nil {
		return e, err
	}
	return e, v.readFile(layout.Ctl, e.ctl, ctlPos)
}

// fill gives the records of the rows from row from on their payloads, and verifies those of control rows, which check
// leaves out.
func (v *view) fill(rr *layout.Reader, from uint32, rs []Record, e *extent) error {
	for i := range rs {
		r, err := rr.Row(from + uint32(i))
		if err != nil {
			return err
		}
		if !r.Data() {
			if err := v.checkRow(e, &r); err != nil {
				return err
			}
		}
		p, err := v.payload(e, &r)
		if err != nil {
			return err
		}
		if len(p) > 0 {
			rs[i].Data = p
		}
	}
	return nil
}

// Term returns the term of entry i, FirstIndex()-1 <= i <= LastIndex(): the one before the first is known too. 0 for
// index 0.
func (l *Log) Term(i id.Index) (id.Term, error) {
	if t, ok := l.knownTerm(i); ok {
		return t, nil
	}
	r, err := l.Row(i)
	return r.Term, err
}

// knownTerm is Term for the entries whose term is in memory.
func (l *Log) knownTerm(i id.Index) (id.Term, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return 0, false
	case i == l.next-1:
		return l.term, true
	case len(l.segs) > 0 && i == l.segs[0].first-1:
		return l.segs[0].prevTerm, true
	}
	return 0, false
}

// Row returns what the index knows of entry i, without reading its payload.
func (l *Log) Row(i id.Index) (Row, error) {
	v, err := l.viewOf(i)
	if err != nil {
		return Row{}, err
	}
	rr := v.rowsOf()
	defer rr.Release()
	return rr.Row(uint32(i - v.first))
}
