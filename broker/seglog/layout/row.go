package layout

import (
	"encoding/binary"
	"fmt"
	"math"

	"ackline/broker/id"
)

// RowSize is the size of a row of the index file in bytes.
const RowSize = 64

// A row, little endian. Row n of a segment that starts at index f stands for entry f+n, so the index is not stored; the
// row's checksum covers it (and the group) nevertheless, so that a row in another's place is found out. Both positions are
// kept in every row, so that a search by position needs no other rows: a data row's payload is at segPos, a control row's
// at ctlPos, and the other position is where that file had got to.
//
//	 0  8  term
//	 8  8  base offset; control: the next offset
//	16  8  max timestamp, ms
//	24  8  greatest max timestamp of this and all earlier data rows of the segment, ms
//	32  8  position in .seg
//	40  4  position in .ctl
//	44  4  length of the payload
//	48  4  last offset less base offset; control: -1
//	52  4  CRC-32C of the payload
//	56  1  type, the caller's
//	57  3  zero
//	60  4  CRC-32C of bytes 0 to 59, begun with the place value instead of 0
//	64
//
// The place value is the high half of group x 9e3779b97f4a7c15 + index x c2b2ae3d27d4eb4f, modulo 2^64: odd constants whose
// multiples are spread evenly, so that neighbours differ.
const (
	rowTermAt     = 0
	rowBaseAt     = 8
	rowMaxTsAt    = 16
	rowTopTsAt    = 24
	rowSegPosAt   = 32
	rowCtlPosAt   = 40
	rowLengthAt   = 44
	rowDeltaAt    = 48
	rowDataCRCAt  = 52
	rowTypeAt     = 56
	rowReservedAt = 57
	rowCRCAt      = 60
)

// Control is the LastDelta of an entry that takes no offset.
const Control int32 = -1

// NoTimestamp stands for the greatest timestamp of no data. It is lower than any timestamp.
const NoTimestamp int64 = math.MinInt64

// Row is what the index knows of an entry.
type Row struct {
	Index        id.Index
	Term         id.Term
	Base         id.Offset // of the first record; control: what the next data entry takes
	MaxTimestamp int64     // ms; control: NoTimestamp
	TopTimestamp int64     // ms; greatest MaxTimestamp in the segment up to this row
	SegPos       int64     // of a data entry's payload in .seg
	CtlPos       int64     // of a control entry's payload in .ctl
	Length       int32     // of the payload, bytes
	LastDelta    int32     // last offset less Base, or Control
	CRC          uint32    // CRC-32C of the payload
	Type         uint8     // the caller's
}

// Data tells whether the entry takes offsets.
func (r *Row) Data() bool { return r.LastDelta >= 0 }

// Next is the offset that the next data entry takes.
func (r *Row) Next() id.Offset { return r.Base + id.Offset(r.LastDelta) + 1 }

// SegEnd is where .seg had got to after this entry.
func (r *Row) SegEnd() int64 {
	if r.Data() {
		return r.SegPos + int64(r.Length)
	}
	return r.SegPos
}

// CtlEnd is where .ctl had got to after this entry.
func (r *Row) CtlEnd() int64 {
	if r.Data() {
		return r.CtlPos
	}
	return r.CtlPos + int64(r.Length)
}

func rowChecksum(group id.GroupID, index id.Index, p []byte) uint32 {
	const groupFactor, indexFactor = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	return Checksum(uint32((uint64(group)*groupFactor+uint64(index)*indexFactor)>>32), p[:rowCRCAt])
}

// AppendTo appends the row's RowSize bytes to b.
func (r *Row) AppendTo(b []byte, group id.GroupID) []byte {
	n := len(b)
	b = append(b, make([]byte, RowSize)...)
	p := b[n:]
	le := binary.LittleEndian
	le.PutUint64(p[rowTermAt:], uint64(r.Term))
	le.PutUint64(p[rowBaseAt:], uint64(r.Base))
	le.PutUint64(p[rowMaxTsAt:], uint64(r.MaxTimestamp))
	le.PutUint64(p[rowTopTsAt:], uint64(r.TopTimestamp))
	le.PutUint64(p[rowSegPosAt:], uint64(r.SegPos))
	le.PutUint32(p[rowCtlPosAt:], uint32(r.CtlPos))
	le.PutUint32(p[rowLengthAt:], uint32(r.Length))
	le.PutUint32(p[rowDeltaAt:], uint32(r.LastDelta))
	le.PutUint32(p[rowDataCRCAt:], r.CRC)
	p[rowTypeAt] = r.Type
	le.PutUint32(p[rowCRCAt:], rowChecksum(group, r.Index, p))
	return b
}

// DecodeRow reads the RowSize bytes of the row of one entry.
func DecodeRow(p []byte, group id.GroupID, index id.Index) (Row, *Fault) {
	le := binary.LittleEndian
	if stored, got := le.Uint32(p[rowCRCAt:]), rowChecksum(group, index, p); got != stored {
		return Row{}, &Fault{"row checksum", Hex(stored), Hex(got)}
	}
	r := Row{
		Index:        index,
		Term:         id.Term(le.Uint64(p[rowTermAt:])),
		Base:         id.Offset(le.Uint64(p[rowBaseAt:])),
		MaxTimestamp: int64(le.Uint64(p[rowMaxTsAt:])),
		TopTimestamp: int64(le.Uint64(p[rowTopTsAt:])),
		SegPos:       int64(le.Uint64(p[rowSegPosAt:])),
		CtlPos:       int64(le.Uint32(p[rowCtlPosAt:])),
		Length:       int32(le.Uint32(p[rowLengthAt:])),
		LastDelta:    int32(le.Uint32(p[rowDeltaAt:])),
		CRC:          le.Uint32(p[rowDataCRCAt:]),
		Type:         p[rowTypeAt],
	}
	if r.Base < 0 || r.LastDelta < Control || r.Length < 0 || r.SegPos < 0 || r.SegPos > MaxSegBytes ||
		r.Data() && r.Length == 0 || int64(r.Base) > math.MaxInt64-int64(r.LastDelta)-1 {
		return Row{}, &Fault{"row", "possible positions", fmt.Sprintf("%+v", r)}
	}
	return r, nil
}
