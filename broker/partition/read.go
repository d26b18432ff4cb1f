package partition

import (
	"errors"
	"fmt"

	"ackline/broker/id"
	"ackline/broker/partition/rows"
	"ackline/broker/partition/waiter"
	"ackline/broker/seglog"
)

// Await registers w to be woken at the next change beyond what the caller has seen: a record at or above offset from that
// is committed and readable, or a change of leadership. It returns false, without registering, when that is already so.
func (p *Partition) Await(w *waiter.Waiter, from id.Offset, who Who) bool {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if b := p.boundsLocked(); !b.serves(who) || b.Ready && from < p.appliedNext {
		return false
	}
	p.readers = &waiter.List{Waiter: w, Next: p.readers.DropSpent()}
	return true
}

// Who is who may answer a reader.
type Who bool

// Leader is the leader alone. Follower is any replica that knows of one: it has only what is committed, but not always all of it, nor
// does it know what others have acknowledged.
const (
	Leader   Who = false
	Follower Who = true
)

func (b Bounds) serves(who Who) bool { return b.Leading || who == Follower && b.Leader != 0 }

// Read appends to dst whole batches from the one that holds offset from on, as many as fit into maxBytes of them; the first
// one whole even when it is larger, unless strict. Only committed batches are read. Nothing is appended when from is the
// high watermark. The error is ErrOffsetOutOfRange outside of the readable offsets, ErrNotReady or ErrNotLeader. Above what a follower
// has it is ErrNotReady: there may be more.
func (p *Partition) Read(dst []byte, from id.Offset, maxBytes int, strict bool, who Who) ([]byte, Bounds, error) {
	for try := 0; ; try++ {
		out, b, err := p.readOnce(dst, from, maxBytes, strict, who)
		// Between looking a row up and reading its entry the entry may have moved from the WAL to a segment.
		if errors.Is(err, errMoved) && try < 3 {
			continue
		}
		return out, b, err
	}
}

var errMoved = errors.New("partition: entries were flushed while they were read")

func (p *Partition) readOnce(dst []byte, from id.Offset, maxBytes int, strict bool, who Who) ([]byte, Bounds, error) {
	p.cfg.Group.Lock()
	b := p.boundsLocked()
	if err := checkBounds(b, from, who); err != nil || from >= p.appliedNext {
		p.cfg.Group.Unlock()
		return dst, b, err
	}
	i, ok := p.rowOf(from)
	segs := p.segs.Load()
	if !ok { // below the first row: flushed
		p.cfg.Group.Unlock()
		dst, err := p.readSegments(dst, segs, from, maxBytes, strict)
		return dst, b, err
	}
	lo := p.rows.At(i).Index
	hi, size := lo, 0
	for r := range p.rows.From(i) {
		n := r.DataBytes()
		if size+n > maxBytes && (size > 0 || strict) {
			break
		}
		hi, size = r.Index+1, size+n
	}
	if lo == hi {
		p.cfg.Group.Unlock()
		return dst, b, nil
	}
	es := p.cfg.Group.CachedLocked(make([]Entry, 0, min(hi-lo, 1024)), lo, hi)
	p.cfg.Group.Unlock()
	if len(es) == 0 {
		var err error
		if es, err = p.cfg.Group.Entries(lo, hi, max(maxBytes, 1)); err != nil {
			return dst, b, fmt.Errorf("%w: %w", errMoved, err)
		}
	}
	for k := range es {
		if isData(&es[k]) {
			dst = append(dst, es[k].Data...)
		}
	}
	return dst, b, nil
}

func checkBounds(b Bounds, from id.Offset, who Who) error {
	switch {
	case !b.serves(who):
		return ErrNotLeader
	case !b.Ready, !b.Leading && from > b.High:
		return ErrNotReady
	case from < b.Start || from > b.High:
		return fmt.Errorf("%w: %d is not within [%d, %d]", ErrOffsetOutOfRange, from, b.Start, b.High)
	}
	return nil
}

// readSegments reads from the segments that were there when the bounds were looked at.
func (p *Partition) readSegments(dst []byte, s *segments, from id.Offset, maxBytes int, strict bool) ([]byte, error) {
	if s.log == nil {
		return dst, fmt.Errorf("%w: %d is before the snapshot at %d", ErrOffsetOutOfRange, from, s.at.Next-1)
	}
	had := len(dst)
	out, err := s.log.Read(from, maxBytes, dst)
	switch {
	case errors.Is(err, seglog.ErrClosed) && p.segs.Load() != s:
		return dst, fmt.Errorf("%w: %w", errMoved, err)
	case errors.Is(err, seglog.ErrCompacted):
		return dst, fmt.Errorf("%w: %w", ErrOffsetOutOfRange, err)
	case err != nil:
		return dst, err
	case strict && len(out)-had > maxBytes:
		return dst, nil
	}
	return out, nil
}

// rowOf finds the row whose batch holds an offset; false when it is below all rows.
func (p *Partition) rowOf(o id.Offset) (int, bool) {
	if p.rows.Len() == 0 || o < p.rows.At(0).Base {
		return 0, false
	}
	i := p.rows.Search(func(r rows.Row) bool { return r.Next() > o })
	return i, i < p.rows.Len()
}

// OffsetForTime returns the base offset and the greatest timestamp of the first readable batch that holds a timestamp of
// at least ms; false when none does. Which record of the batch it is, the caller finds out.
func (p *Partition) OffsetForTime(ms int64) (id.Offset, int64, bool, error) {
	p.cfg.Group.Lock()
	b := p.boundsLocked()
	if !b.Leading || !b.Ready {
		p.cfg.Group.Unlock()
		return 0, 0, false, checkBounds(b, b.Start, Leader)
	}
	rows, segs := p.rows.Snapshot(), p.segs.Load()
	p.cfg.Group.Unlock()
	if segs.log != nil {
		o, t, ok, err := segs.log.OffsetForTimeFrom(b.Start, ms)
		if errors.Is(err, seglog.ErrClosed) && p.segs.Load() != segs {
			return 0, 0, false, ErrNotLeader // only who follows is sent a snapshot
		}
		if ok || err != nil {
			return o, t, ok, err
		}
	}
	for r := range rows {
		if r.Delta != seglog.Control && r.MaxMs >= ms && r.Next() > b.Start {
			return r.Base, r.MaxMs, true, nil
		}
	}
	return 0, 0, false, nil
}

// MaxTimestamp returns the greatest timestamp of the readable batches and the base offset of the first batch that has it.
func (p *Partition) MaxTimestamp() (id.Offset, int64, bool, error) {
	p.cfg.Group.Lock()
	rows, segs := p.rows.Snapshot(), p.segs.Load()
	p.cfg.Group.Unlock()
	greatest := seglog.NoTimestamp
	if segs.log != nil {
		greatest = segs.log.MaxTimestamp()
	}
	for r := range rows {
		greatest = max(greatest, r.MaxMs)
	}
	if greatest == seglog.NoTimestamp {
		return 0, 0, false, nil
	}
	return p.OffsetForTime(greatest)
}

// EndOfTerm returns the greatest term of the readable log that is at most t, and the offset behind its records. known is false for
// a term that this leader does not know, and for one that ended before the log begins.
func (p *Partition) EndOfTerm(t id.Term) (term id.Term, end id.Offset, known bool, err error) {
	p.cfg.Group.Lock()
	b, segs := p.boundsLocked(), p.segs.Load()
	i := p.rows.Search(func(r rows.Row) bool { return r.Term > t })
	if i > 0 {
		term, end = p.rows.At(i-1).Term, p.appliedNext
		if i < p.rows.Len() {
			end = p.rows.At(i).Base
		}
	}
	p.cfg.Group.Unlock()
	switch {
	case !b.Leading || !b.Ready:
		return 0, 0, false, checkBounds(b, b.Start, Leader)
	case t > b.Term:
		return 0, 0, false, nil
	case t == b.Term:
		return t, b.High, true, nil
	case i > 0:
		return term, end, true, nil
	case segs.log == nil:
		return 0, 0, false, nil
	}
	term, end, known, err = segs.log.OffsetForTerm(t)
	if errors.Is(err, seglog.ErrClosed) && p.segs.Load() != segs {
		err = ErrNotLeader // only who follows is sent a snapshot
	}
	return term, end, known, err
}
