package seglog

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
)

// verifyBytes is how much Verify reads at once, unless a payload is larger.
const verifyBytes = 256 << 10

// Verify is one step of a scrubber: it reads headers, base states, rows and payloads from entry from on, all that is there,
// whether or not it was verified before, and stops after about maxBytes, one row at least. It returns where to go on,
// LastIndex()+1 at the end, and how many bytes it read. A from below FirstIndex means FirstIndex. Beside the checksums it
// checks that each row goes on where the one before ended, and that the next segment's header agrees.
//
// It reads through the page cache: what the kernel holds in memory is not read from the disk again.
func (l *Log) Verify(from id.Index, maxBytes int64) (next id.Index, bytes int64, err error) {
	for bytes < maxBytes {
		from = max(from, l.FirstIndex())
		if from > l.LastIndex() {
			break
		}
		v, err := l.viewOf(from)
		if err != nil {
			return from, bytes, err
		}
		n, read, err := v.verifyFrom(uint32(from-v.first), maxBytes-bytes)
		bytes += read
		if err != nil {
			return from, bytes, err
		}
		from = v.first + id.Index(n)
	}
	return from, bytes, nil
}

// verifyFrom checks rows from row i on and returns the first that it did not check.
func (v *view) verifyFrom(i uint32, maxBytes int64) (uint32, int64, error) {
	rr := v.rowsOf()
	defer rr.Release()
	at := tail{next: v.base, term: v.prevTerm, top: NoTimestamp}
	var bytes int64
	if i == 0 {
		if err := v.verifyHead(); err != nil {
			return i, bytes, err
		}
		bytes += v.rowsAt()
	} else {
		r, err := rr.Row(i - 1)
		if err != nil {
			return i, bytes, err
		}
		at = tailAt(i, &r)
	}
	for start := i; i < v.rows && (i == start || bytes < maxBytes); {
		from := at
		hi, err := v.verifyRows(&rr, i, &at)
		if err != nil {
			return i, bytes, err
		}
		if err := v.verifyPayloads(&rr, i, hi, &from, &at); err != nil {
			return i, bytes, err
		}
		bytes += v.rowAt(hi) - v.rowAt(i) + at.seg - from.seg + at.ctl - from.ctl
		i = hi
	}
	if i == v.rows && at != v.tail {
		return i, bytes, ioerr.Corrupt(v.name(layout.Idx), v.first+id.Index(i-1), "end of the segment", fmt.Sprintf("%+v", v.tail),
			fmt.Sprintf("%+v", at))
	}
	return i, bytes, nil
}

// verifyHead checks the header against what Open read, and the base state piece by piece.
func (v *view) verifyHead() error {
	h, err := v.readHeader()
	if err != nil {
		return err
	}
	if h.Base != v.base || h.PrevTerm != v.prevTerm || h.StateLen != v.stateLen || h.StateCRC != v.stateCRC {
		return ioerr.Corrupt(v.name(layout.Idx), 0, "index header", fmt.Sprintf("base offset %d, term %d, state checksum %08x as before",
			v.base, v.prevTerm, v.stateCRC), fmt.Sprintf("%+v", h))
	}
	var crc uint32
	p := make([]byte, min(v.rowsAt(), verifyBytes))
	for pos := int64(layout.HeaderSize); pos < v.rowsAt(); pos += verifyBytes {
		piece := p[:min(verifyBytes, v.rowsAt()-pos)]
		if err := v.readFile(layout.Idx, piece, pos); err != nil {
			return err
		}
		crc = layout.Checksum(crc, piece)
	}
	return v.checkState(crc)
}

// checkState compares the base state's checksum with what was found.
func (v *view) checkState(got uint32) error {
	if got != v.stateCRC {
		return ioerr.Corrupt(v.name(layout.Idx), 0, "base state checksum", layout.Hex(v.stateCRC), layout.Hex(got))
	}
	return nil
}

// verifyRows checks that the rows from lo on go on from at, for verifyBytes of payload and at least one row. It moves at and
// returns the row after the last.
func (v *view) verifyRows(rr *layout.Reader, lo uint32, at *tail) (uint32, error) {
	from := at.seg + at.ctl
	i := lo
	for ; i < v.rows && i-lo < maxChunkRows; i++ {
		r, err := rr.Row(i)
		if err != nil {
			return 0, err
		}
		if i > lo && r.SegEnd()+r.CtlEnd()-from > verifyBytes {
			break
		}
		top := at.top
		if r.Data() {
			top = max(top, r.MaxTimestamp)
		}
		if r.Base != at.next || r.Term < at.term || r.SegPos != at.seg || r.CtlPos != at.ctl || r.TopTimestamp != top {
			return 0, ioerr.Corrupt(v.name(layout.Idx), r.Index, "row", fmt.Sprintf("what follows %+v", *at), fmt.Sprintf("%+v", r))
		}
		*at = tailAt(at.rows+1, &r)
	}
	return i, nil
}

// verifyPayloads checks the payloads of rows lo <= i < hi, which lie between the tails from and to.
func (v *view) verifyPayloads(rr *layout.Reader, lo, hi uint32, from, to *tail) error {
	e, err := v.readExtent(from.seg, to.seg, from.ctl, to.ctl)
	if err != nil {
		return err
	}
	for i := lo; i < hi; i++ {
		r, err := rr.Row(i)
		if err != nil {
			return err
		}
		if err := v.checkRow(&e, &r); err != nil {
			return err
		}
	}
	return nil
}
