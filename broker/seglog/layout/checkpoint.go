package layout

import (
	"encoding/binary"
	"fmt"

	"ackline/broker/id"
)

// Checkpoint says how much of a log is durable.
//
// It names the newest segment's lengths and no others. That is enough, because a segment is complete and synced before a
// checkpoint names a later one, and each index file's header states the lengths of the segment before it: from the
// newest segment, which the checkpoint vouches for, the chain vouches for all the others, back to First.
//
// The zero Checkpoint is that of a log in which nothing was ever stored: it starts at index 1 and offset 0.
type Checkpoint struct {
	First      id.Index  // first index of the oldest segment; Next when there is no segment
	Start      id.Offset // base offset of the oldest segment; NextOffset when there is no segment
	Active     id.Index  // first index of the newest segment; 0 when there is no segment
	Next       id.Index  // index that the next record takes
	NextOffset id.Offset // offset that the next data record takes
	Term       id.Term   // of the entry before Next; 0 when there was none
	SegBytes   int64     // length of the newest segment's .seg
	CtlBytes   int64     // length of the newest segment's .ctl
}

// A checkpoint as bytes, little endian:
//
//	 0  1  version, 1
//	 1  8  First
//	 9  8  Start
//	17  8  Active
//	25  8  Next
//	33  8  NextOffset
//	41  8  Term
//	49  8  SegBytes
//	57  8  CtlBytes
//	65
//
// It carries no checksum: the WAL record around it has one.
const (
	checkpointVersion = 1
	ckptVersionAt     = 0
	ckptFirstAt       = 1
	ckptStartAt       = 9
	ckptActiveAt      = 17
	ckptNextAt        = 25
	ckptNextOffsetAt  = 33
	ckptTermAt        = 41
	ckptSegBytesAt    = 49
	ckptCtlBytesAt    = 57
	CheckpointSize    = 65 // bytes of a marshalled Checkpoint
)

// AppendBinary appends the CheckpointSize bytes of c to b. The error is always nil.
func (c Checkpoint) AppendBinary(b []byte) ([]byte, error) {
	var p [CheckpointSize]byte
	p[ckptVersionAt] = checkpointVersion
	le := binary.LittleEndian
	le.PutUint64(p[ckptFirstAt:], uint64(c.First))
	le.PutUint64(p[ckptStartAt:], uint64(c.Start))
	le.PutUint64(p[ckptActiveAt:], uint64(c.Active))
	le.PutUint64(p[ckptNextAt:], uint64(c.Next))
	le.PutUint64(p[ckptNextOffsetAt:], uint64(c.NextOffset))
	le.PutUint64(p[ckptTermAt:], uint64(c.Term))
	le.PutUint64(p[ckptSegBytesAt:], uint64(c.SegBytes))
	le.PutUint64(p[ckptCtlBytesAt:], uint64(c.CtlBytes))
	return append(b, p[:]...), nil
}

// MarshalBinary returns c in CheckpointSize bytes. The error is always nil.
func (c Checkpoint) MarshalBinary() ([]byte, error) {
	return c.AppendBinary(make([]byte, 0, CheckpointSize))
}

// UnmarshalBinary reads what MarshalBinary wrote, and refuses what no Sync would have returned.
func (c *Checkpoint) UnmarshalBinary(b []byte) error {
	if len(b) != CheckpointSize {
		return fmt.Errorf("seglog: checkpoint of %d bytes; version %d has %d", len(b), checkpointVersion, CheckpointSize)
	}
	if b[ckptVersionAt] != checkpointVersion {
		return fmt.Errorf("seglog: checkpoint version %d; this program knows %d", b[ckptVersionAt], checkpointVersion)
	}
	le := binary.LittleEndian
	d := Checkpoint{
		First:      id.Index(le.Uint64(b[ckptFirstAt:])),
		Start:      id.Offset(le.Uint64(b[ckptStartAt:])),
		Active:     id.Index(le.Uint64(b[ckptActiveAt:])),
		Next:       id.Index(le.Uint64(b[ckptNextAt:])),
		NextOffset: id.Offset(le.Uint64(b[ckptNextOffsetAt:])),
		Term:       id.Term(le.Uint64(b[ckptTermAt:])),
		SegBytes:   int64(le.Uint64(b[ckptSegBytesAt:])),
		CtlBytes:   int64(le.Uint64(b[ckptCtlBytesAt:])),
	}
	if err := d.Validate(); err != nil {
		return err
	}
	*c = d
	return nil
}

// Validate reports a checkpoint that no Sync would have returned.
func (c Checkpoint) Validate() error {
	ok := true
	switch {
	case c.Next == 0:
		ok = c == Checkpoint{}
	case c.Start < 0 || c.Start > c.NextOffset || c.SegBytes < 0 || c.SegBytes > MaxSegBytes ||
		c.CtlBytes < 0 || c.CtlBytes > MaxCtlBytes:
		ok = false
	case c.Active == 0:
		ok = c.First == c.Next && c.Start == c.NextOffset && c.SegBytes == 0 && c.CtlBytes == 0
	default:
		ok = 0 < c.First && c.First <= c.Active && c.Active < c.Next && uint64(c.Next-c.Active) <= MaxRows
	}
	if !ok {
		return fmt.Errorf("seglog: impossible checkpoint %+v", c)
	}
	return nil
}
