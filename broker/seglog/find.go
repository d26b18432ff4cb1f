package seglog

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
)

// OffsetForTime returns base offset and MaxTimestamp of the first batch with MaxTimestamp >= ms; the caller looks inside it
// for the record. False when there is none.
func (l *Log) OffsetForTime(ms int64) (id.Offset, int64, bool, error) {
	return l.OffsetForTimeFrom(0, ms)
}

// OffsetForTimeFrom is OffsetForTime among the batches that do not end below from. It is for a log start offset inside the
// oldest segment; a search by time alone could end below it.
func (l *Log) OffsetForTimeFrom(from id.Offset, ms int64) (id.Offset, int64, bool, error) {
	ms = max(ms, NoTimestamp+1) // control rows have NoTimestamp
	for _, v := range l.views() {
		if v.tail.next <= from || v.top < ms || v.tail.next == v.base {
			continue
		}
		r, ok, err := v.findTime(from, ms)
		if err == nil && !ok {
			continue
		}
		return r.Base, r.MaxTimestamp, ok, err
	}
	return 0, 0, false, nil
}

// views returns all segments as they are.
func (l *Log) views() []view {
	l.mu.RLock()
	defer l.mu.RUnlock()
	vs := make([]view, len(l.segs))
	for i, s := range l.segs {
		vs[i] = view{s, s.tail}
	}
	return vs
}

func (v *view) findTime(from id.Offset, ms int64) (Row, bool, error) {
	rr := v.rowsOf()
	defer rr.Release()
	// The first row whose timestamp reaches ms is the first where the greatest so far does, and that never falls.
	_, r, ok, err := rr.Search(0, v.rows, layout.ByTopTimestamp, ms, 0, 0)
	if err != nil || ok && r.Next() > from {
		return r, ok, err
	}
	// It is below from, so the greatest so far says nothing about the rows that count. Look at them all.
	i, _, ok, err := rr.Search(0, v.rows, layout.ByNext, int64(from)+1, int64(v.base), int64(v.tail.next))
	if err != nil || !ok {
		return Row{}, false, err
	}
	for ; i < v.rows; i++ {
		if r, err = rr.Row(i); err != nil {
			return Row{}, false, err
		}
		if r.Data() && r.MaxTimestamp >= ms {
			return r, true, nil
		}
	}
	return Row{}, false, nil
}

// OffsetForTerm returns the greatest term of this log that is at most t, and the offset where it ends: the base offset of
// the first entry of a greater term, or NextOffset. It is what Kafka's OffsetForLeaderEpoch asks for. The term of the entry
// before the first counts. False when the log starts later than t.
func (l *Log) OffsetForTerm(t id.Term) (id.Term, id.Offset, bool, error) {
	if term, next, ok := l.lastTerm(t); ok {
		return term, next, term > 0, nil
	}
	for _, v := range l.views() {
		if v.tail.term <= t {
			continue
		}
		if v.prevTerm > t {
			break
		}
		rr := v.rowsOf()
		defer rr.Release()
		i, r, ok, err := rr.Search(0, v.rows, layout.ByTerm, int64(t)+1, 0, 0)
		switch {
		case err != nil:
			return 0, 0, false, err
		case !ok:
			return 0, 0, false, ioerr.Corrupt(v.name(layout.Idx), v.first+id.Index(v.rows-1), "term of the last row", v.tail.term, "less")
		case i == 0:
			return v.prevTerm, r.Base, v.prevTerm > 0, nil
		}
		below, err := rr.Row(i - 1)
		return below.Term, r.Base, err == nil && below.Term > 0, err
	}
	return 0, 0, false, nil
}

// lastTerm returns the newest term and NextOffset, if that term is at most t.
func (l *Log) lastTerm(t id.Term) (id.Term, id.Offset, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.term, l.offset, l.term <= t
}

// BaseState returns the oldest segment whose First is at or after i, and the base state that it was started with: the
// state as of entry First-1. ErrUnavailable when no segment starts at or after i, ErrCorrupt.
func (l *Log) BaseState(i id.Index) (SegmentInfo, []byte, error) {
	vs := l.views()
	for n := range vs {
		v := &vs[n]
		if v.first < i {
			continue
		}
		p := make([]byte, layout.Padded(v.stateLen))
		if err := v.readFile(layout.Idx, p, layout.HeaderSize); err != nil {
			return SegmentInfo{}, nil, err
		}
		if err := v.checkState(layout.Checksum(0, p)); err != nil {
			return SegmentInfo{}, nil, err
		}
		return v.info(n == len(vs)-1), p[:v.stateLen:v.stateLen], nil
	}
	return SegmentInfo{}, nil, fmt.Errorf("seglog: %s: no segment starts at or after index %d: %w", l.o.Dir, i, ErrUnavailable)
}
