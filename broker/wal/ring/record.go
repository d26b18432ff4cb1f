package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"ackline/broker/id"
)

// A record begins at a multiple of 8 bytes from its batch's beginning and is padded with zeros to the next:
//
//	 0  8  group
//	 8  8  replica, 0 in a tombstone
//	16  4  payload length, without header and padding
//	20  1  kind
//	21  3  zero
//	24  8  index: of the first entry; the checkpoint's flushed index; the snapshot's index; else 0
//	32     payload
//
// Payloads, by kind:
//
//	1 entries      4 count, 4 zero, then each entry: 8 term, 4 length, 4 CRC-32C of the data, 1 type, 7 zero, data, zeros
//	               to a multiple of 8
//	2 hard state   8 term, 8 vote, 8 commit
//	3 checkpoint   8 flushed entry's term, 24 hard state, the caller's payload
//	4 snapshot     8 term, the caller's payload
//	5 deleted      nothing
//
// An entry has a CRC of its own because it is read back alone, long after the batch's CRC was checked.
const (
	RecordHeaderSize = 32
	EntryHeaderSize  = 24

	entriesHeadSize = 8
	hardStateSize   = 24
	termSize        = 8
)

// Kind is what a record says.
type Kind uint8

// The kinds of record.
const (
	Entries    Kind = 1
	Hard       Kind = 2
	Checkpoint Kind = 3
	Snapshot   Kind = 4
	Deleted    Kind = 5
)

var kindNames = [...]string{Entries: "entries", Hard: "hard state", Checkpoint: "checkpoint", Snapshot: "snapshot", Deleted: "deleted"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Entry is one raft entry.
type Entry struct {
	Index id.Index
	Term  id.Term
	Type  uint8 // raft's EntryType; the WAL does not look at it
	Data  []byte
	CRC   uint32 // DataCRC(Data), if the caller knows it; 0: to be computed. Not set by reads
}

// HardState is what raft must not forget beside its entries.
type HardState struct {
	Term   id.Term
	Vote   id.ReplicaID
	Commit id.Index
}

// Merge returns the newer of two hard states of one replica. Terms and commit indexes never go back, and a vote is not
// taken back within a term.
func (h HardState) Merge(o HardState) HardState {
	switch {
	case o.Term > h.Term:
		h.Term, h.Vote = o.Term, o.Vote
	case o.Term == h.Term && o.Vote != 0:
		h.Vote = o.Vote
	}
	h.Commit = max(h.Commit, o.Commit)
	return h
}

func (h HardState) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b, uint64(h.Term))
	le.PutUint64(b[8:], uint64(h.Vote))
	le.PutUint64(b[16:], uint64(h.Commit))
}

func parseHardState(b []byte) HardState {
	le := binary.LittleEndian
	return HardState{
		Term:   id.Term(le.Uint64(b)),
		Vote:   id.ReplicaID(le.Uint64(b[8:])),
		Commit: id.Index(le.Uint64(b[16:])),
	}
}

func pad8(n int) int { return (n + 7) &^ 7 }

// DataCRC is the checksum that is kept with an entry.
func DataCRC(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Record is one decoded record. Its payload refers to the batch's bytes.
type Record struct {
	Group   id.GroupID
	Replica id.ReplicaID
	Kind    Kind
	Index   id.Index

	off     int // of the record's first byte in its batch
	payload []byte
}

// Term is that of a checkpoint's or snapshot's index.
func (r *Record) Term() id.Term { return id.Term(binary.LittleEndian.Uint64(r.payload)) }

// HardState is that of a hard state or checkpoint record.
func (r *Record) HardState() HardState {
	if r.Kind == Checkpoint {
		return parseHardState(r.payload[termSize:])
	}
	return parseHardState(r.payload)
}

// State is the caller's payload of a checkpoint or snapshot.
func (r *Record) State() []byte {
	if r.Kind == Checkpoint {
		return r.payload[termSize+hardStateSize:]
	}
	return r.payload[termSize:]
}

// Count is the number of entries of an entries record.
func (r *Record) Count() int { return int(binary.LittleEndian.Uint32(r.payload)) }

// check tells whether the payload is long enough for its kind, so that the accessors need not.
func (r *Record) check() error {
	least := 0
	switch r.Kind {
	case Entries:
		least = entriesHeadSize
	case Hard:
		least = hardStateSize
	case Checkpoint:
		least = termSize + hardStateSize
	case Snapshot:
		least = termSize
	case Deleted:
	default:
		return fmt.Errorf("%v is not known", r.Kind)
	}
	if len(r.payload) < least {
		return fmt.Errorf("%v of %d bytes, needs %d", r.Kind, len(r.payload), least)
	}
	if r.Kind == Entries && r.Count() == 0 {
		return errors.New("no entries")
	}
	return nil
}

// Walker goes through the records of a batch. It never reads beyond the batch, whatever that holds.
type Walker struct {
	batch []byte
	off   int
	left  uint32
}

// Walk begins with the first of a batch's records. batch holds the header too and ends with the payload.
func Walk(batch []byte, records uint32) Walker {
	return Walker{batch: batch, off: HeaderSize, left: records}
}

// Next returns the next record; ok is false at the end and on error.
func (w *Walker) Next() (r Record, ok bool, err error) {
	if w.left == 0 {
		if w.off != len(w.batch) {
			return r, false, fmt.Errorf("%d bytes follow the last record", len(w.batch)-w.off)
		}
		return r, false, nil
	}
	b, le := w.batch[w.off:], binary.LittleEndian
	if len(b) < RecordHeaderSize {
		return r, false, fmt.Errorf("a record's header at %d in a batch of %d bytes", w.off, len(w.batch))
	}
	r = Record{
		Group:   id.GroupID(le.Uint64(b)),
		Replica: id.ReplicaID(le.Uint64(b[8:])),
		Kind:    Kind(b[20]),
		Index:   id.Index(le.Uint64(b[24:])),
		off:     w.off,
	}
	n := int64(le.Uint32(b[16:]))
	if n > int64(len(b)-RecordHeaderSize) {
		return r, false, fmt.Errorf("the record at %d has %d bytes of payload, %d are left", w.off, n, len(b)-RecordHeaderSize)
	}
	r.payload = b[RecordHeaderSize : RecordHeaderSize+int(n)]
	if err := r.check(); err != nil {
		return r, false, fmt.Errorf("the record at %d, of group %d: %w", w.off, r.Group, err)
	}
	w.off += min(RecordHeaderSize+pad8(int(n)), len(b))
	w.left--
	return r, true, nil
}

// EntryAt is one entry of an entries record and where its data lies.
type EntryAt struct {
	Entry
	Off int // of the data, in the batch
	CRC uint32
}

// EntryWalker goes through the entries of one record.
type EntryWalker struct {
	r    *Record
	off  int // in the payload
	left int
	at   id.Index
}

// Entries begins with the record's first entry.
func (r *Record) Entries() EntryWalker {
	return EntryWalker{r: r, off: entriesHeadSize, left: r.Count(), at: r.Index}
}

// Next returns the next entry, whose data refers to the batch's bytes; ok is false at the end and on error.
func (w *EntryWalker) Next() (e EntryAt, ok bool, err error) {
	if w.left == 0 {
		return e, false, nil
	}
	b, le := w.r.payload[w.off:], binary.LittleEndian
	if len(b) < EntryHeaderSize {
		return e, false, fmt.Errorf("group %d: entry %d's header with %d bytes left", w.r.Group, w.at, len(b))
	}
	n := int64(le.Uint32(b[8:]))
	if n > int64(len(b)-EntryHeaderSize) {
		return e, false, fmt.Errorf("group %d: entry %d has %d bytes, %d are left", w.r.Group, w.at, n, len(b)-EntryHeaderSize)
	}
	e.Index, e.Term, e.Type = w.at, id.Term(le.Uint64(b)), b[16]
	e.Data = b[EntryHeaderSize : EntryHeaderSize+int(n) : EntryHeaderSize+int(n)]
	e.CRC = le.Uint32(b[12:])
	e.Off = w.r.off + RecordHeaderSize + w.off + EntryHeaderSize
	w.off += min(EntryHeaderSize+pad8(int(n)), len(b))
	w.left--
	w.at++
	return e, true, nil
}
