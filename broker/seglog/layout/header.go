package layout

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"ackline/broker/id"
)

// The header of an index file, little endian. It opens the file; the base state follows, padded with zeros to a multiple
// of RowSize; then come the rows.
//
//	  0   8  magic, "acklidx\n"
//	  8   4  version, 1
//	 12   4  length of the base state in bytes, padding not counted
//	 16   8  group
//	 24   8  index of the first row
//	 32   8  base offset: what the first data row takes
//	 40   8  first index of the segment before, 0 when there is none
//	 48   8  term of the entry before the first row, 0 when there was none
//	 56   8  length of the .seg before, bytes
//	 64   8  length of the .ctl before, bytes
//	 72   8  greatest MaxTimestamp in the segment before, ms
//	 80  40  zero
//	120   4  CRC-32C of the base state and its padding
//	124   4  CRC-32C of bytes 0 to 123
//	128
const (
	// HeaderSize is what a header takes, in bytes, without the base state.
	HeaderSize = 128

	idxMagic       = "acklidx\n"
	idxVersion     = 1
	hdrMagicAt     = 0
	hdrVersionAt   = 8
	hdrStateLenAt  = 12
	hdrGroupAt     = 16
	hdrFirstAt     = 24
	hdrBaseAt      = 32
	hdrPrevFirstAt = 40
	hdrPrevTermAt  = 48
	hdrPrevSegAt   = 56
	hdrPrevCtlAt   = 64
	hdrPrevMaxTsAt = 72
	hdrReservedAt  = 80
	hdrStateCRCAt  = 120
	hdrCRCAt       = 124
)

// Bounds on one segment.
const (
	MaxBaseState = 1 << 28       // bytes; what a damaged header can make a reader allocate
	MaxRows      = 1 << 31       // so that a row's number and the count of rows fit in 32 bits
	MaxSegBytes  = 1 << 46       // of .seg
	MaxCtlBytes  = 1<<32 - 1     // of .ctl
	MaxPayload   = math.MaxInt32 // bytes of one entry
)

// Header is the decoded head of an index file. What it says about the segment before lets that one's files be checked
// without a record of their own.
type Header struct {
	Group            id.GroupID
	First            id.Index
	Base             id.Offset
	StateLen         int    // bytes
	StateCRC         uint32 // of the base state and its padding
	PrevFirst        id.Index
	PrevTerm         id.Term
	PrevSegBytes     int64
	PrevCtlBytes     int64
	PrevTopTimestamp int64 // ms
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum goes on from the CRC-32C crc of what came before, 0 at the beginning, with p.
func Checksum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// Known is the CRC-32C of p, which is computed if crc is 0.
func Known(crc uint32, p []byte) uint32 {
	if crc != 0 {
		return crc
	}
	return Checksum(0, p)
}

// RowsAt is where the first row stands in the index file.
func (h *Header) RowsAt() int64 { return HeaderSize + Padded(h.StateLen) }

// Padded rounds the length of a base state up to whole rows.
func Padded(n int) int64 { return (int64(n) + RowSize - 1) / RowSize * RowSize }

// Encode returns the header and the padded base state, ready to write at position 0.
func (h *Header) Encode(state []byte) []byte {
	p := make([]byte, HeaderSize+Padded(len(state)))
	copy(p[HeaderSize:], state)
	h.StateLen = len(state)
	h.StateCRC = Checksum(0, p[HeaderSize:])
	le := binary.LittleEndian
	copy(p[hdrMagicAt:], idxMagic)
	le.PutUint32(p[hdrVersionAt:], idxVersion)
	le.PutUint32(p[hdrStateLenAt:], uint32(h.StateLen))
	le.PutUint64(p[hdrGroupAt:], uint64(h.Group))
	le.PutUint64(p[hdrFirstAt:], uint64(h.First))
	le.PutUint64(p[hdrBaseAt:], uint64(h.Base))
	le.PutUint64(p[hdrPrevFirstAt:], uint64(h.PrevFirst))
	le.PutUint64(p[hdrPrevTermAt:], uint64(h.PrevTerm))
	le.PutUint64(p[hdrPrevSegAt:], uint64(h.PrevSegBytes))
	le.PutUint64(p[hdrPrevCtlAt:], uint64(h.PrevCtlBytes))
	le.PutUint64(p[hdrPrevMaxTsAt:], uint64(h.PrevTopTimestamp))
	le.PutUint32(p[hdrStateCRCAt:], h.StateCRC)
	le.PutUint32(p[hdrCRCAt:], Checksum(0, p[:hdrCRCAt]))
	return p
}

// Fault is what a decoder found wrong.
type Fault struct {
	What            string // what was compared
	Expected, Found any
}

func (f *Fault) Error() string {
	return fmt.Sprintf("%s: %v expected, found %v", f.What, f.Expected, f.Found)
}

// DecodeHeader reads the first HeaderSize bytes of the index file of a group's segment that starts at first. The fault is
// nil if they are what Encode wrote.
func DecodeHeader(p []byte, group id.GroupID, first id.Index) (Header, *Fault) {
	if len(p) < HeaderSize {
		return Header{}, &Fault{"length of the index header", HeaderSize, len(p)}
	}
	if got := string(p[hdrMagicAt : hdrMagicAt+len(idxMagic)]); got != idxMagic {
		return Header{}, &Fault{"index magic", fmt.Sprintf("%q", idxMagic), fmt.Sprintf("%q", got)}
	}
	le := binary.LittleEndian
	if stored, got := le.Uint32(p[hdrCRCAt:]), Checksum(0, p[:hdrCRCAt]); got != stored {
		return Header{}, &Fault{"index header checksum", Hex(stored), Hex(got)}
	}
	if v := le.Uint32(p[hdrVersionAt:]); v != idxVersion {
		return Header{}, &Fault{"index version", idxVersion, v}
	}
	h := Header{
		Group:            id.GroupID(le.Uint64(p[hdrGroupAt:])),
		First:            id.Index(le.Uint64(p[hdrFirstAt:])),
		Base:             id.Offset(le.Uint64(p[hdrBaseAt:])),
		StateLen:         int(le.Uint32(p[hdrStateLenAt:])),
		StateCRC:         le.Uint32(p[hdrStateCRCAt:]),
		PrevFirst:        id.Index(le.Uint64(p[hdrPrevFirstAt:])),
		PrevTerm:         id.Term(le.Uint64(p[hdrPrevTermAt:])),
		PrevSegBytes:     int64(le.Uint64(p[hdrPrevSegAt:])),
		PrevCtlBytes:     int64(le.Uint64(p[hdrPrevCtlAt:])),
		PrevTopTimestamp: int64(le.Uint64(p[hdrPrevMaxTsAt:])),
	}
	switch {
	case h.Group != group:
		return Header{}, &Fault{"group", group, h.Group}
	case h.First != first:
		return Header{}, &Fault{"first index", first, h.First}
	case h.StateLen > MaxBaseState:
		return Header{}, &Fault{"length of the base state", fmt.Sprint("at most ", MaxBaseState), h.StateLen}
	case h.Base < 0 || h.PrevFirst >= h.First || h.PrevSegBytes < 0 || h.PrevSegBytes > MaxSegBytes ||
		h.PrevCtlBytes < 0 || h.PrevCtlBytes > MaxCtlBytes:
		return Header{}, &Fault{"index header", "possible positions", fmt.Sprintf("%+v", h)}
	}
	return h, nil
}

// Hex shows a checksum.
func Hex(crc uint32) string { return fmt.Sprintf("%08x", crc) }
