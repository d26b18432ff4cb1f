package partition

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"ackline/broker/id"
	"ackline/broker/partition/rows"
	"ackline/broker/seglog"
)

// Base is a partition's state as of an index: what a checkpoint, a segment's start and a snapshot carry.
type Base struct {
	Index    id.Index
	Term     id.Term
	Next     id.Offset // the offset that the next record takes
	LogStart id.Offset
	// SegmentBytes is the size at which a segment is closed.
	SegmentBytes int64

	producers []byte
	conf      []byte // raft's configuration; empty when it stands elsewhere
	state     []byte // all but that
}

// A Base as bytes, little-endian:
//
//	offset  size  field
//	0       1     version, 2
//	1       8     index
//	9       8     term
//	17      8     next offset
//	25      8     log start
//	33      8     segment size in bytes; version 1 has none, and means DefaultSegmentBytes
//	41      ...   producers
//
// Where a segment starts, raft's configuration as of that index stands before it; a checkpoint has a place of its own for that:
//
//	offset  size  field
//	0       1     version, 3
//	1       4     length n of the configuration
//	5       n     configuration
//	5+n     ...   a Base of version 1 or 2
const (
	baseVersion   = 2
	baseIndexAt   = 1
	baseTermAt    = 9
	baseNextAt    = 17
	baseStartAt   = 25
	baseSegmentAt = 33
	baseFixedLen  = 41

	baseVersion1  = 1
	base1FixedLen = 33

	baseConfVersion  = 3
	baseConfLenAt    = 1
	baseConfFixedLen = 5
)

// encodeBase encodes the state as of the applied index.
func (p *Partition) encodeBase() []byte {
	le := binary.LittleEndian
	b := make([]byte, 1, baseFixedLen+4)
	b[0] = baseVersion
	b = le.AppendUint64(b, uint64(p.applied))
	b = le.AppendUint64(b, uint64(p.appliedTerm))
	b = le.AppendUint64(b, uint64(p.appliedNext))
	b = le.AppendUint64(b, uint64(p.logStart))
	b = le.AppendUint64(b, uint64(p.segmentBytes))
	return p.producers.encode(b, p.applied)
}

// withConf puts a configuration before an encoded Base.
func withConf(state, conf []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{baseConfVersion}, uint32(len(conf)))
	return append(append(b, conf...), state...)
}

// DecodeBase reads what a checkpoint or a segment's start stored.
func DecodeBase(b []byte) (Base, error) {
	if len(b) == 0 || b[0] != baseConfVersion {
		return decodeState(b)
	}
	if len(b) < baseConfFixedLen || uint64(binary.LittleEndian.Uint32(b[baseConfLenAt:])) > uint64(len(b)-baseConfFixedLen) {
		return Base{}, fmt.Errorf("partition: stored state of %d bytes ends within raft's configuration", len(b))
	}
	n := baseConfFixedLen + int(binary.LittleEndian.Uint32(b[baseConfLenAt:]))
	at, err := decodeState(b[n:])
	at.conf = b[baseConfFixedLen:n]
	return at, err
}

func decodeState(b []byte) (Base, error) {
	fixed := baseFixedLen
	if len(b) > 0 && b[0] == baseVersion1 {
		fixed = base1FixedLen
	}
	if len(b) < fixed {
		return Base{}, fmt.Errorf("partition: stored state of %d bytes; it has at least %d", len(b), fixed)
	}
	if b[0] != baseVersion && b[0] != baseVersion1 {
		return Base{}, fmt.Errorf("partition: stored state of version %d; this program knows %d to %d", b[0], baseVersion1, baseConfVersion)
	}
	le := binary.LittleEndian
	at := Base{
		Index:        id.Index(le.Uint64(b[baseIndexAt:])),
		Term:         id.Term(le.Uint64(b[baseTermAt:])),
		Next:         id.Offset(le.Uint64(b[baseNextAt:])),
		LogStart:     id.Offset(le.Uint64(b[baseStartAt:])),
		SegmentBytes: DefaultSegmentBytes,
		producers:    b[fixed:],
		state:        b,
	}
	if fixed > baseSegmentAt {
		at.SegmentBytes = int64(le.Uint64(b[baseSegmentAt:]))
	}
	if at.Next < 0 || at.LogStart < 0 || at.LogStart > at.Next || at.SegmentBytes < 1 {
		return Base{}, fmt.Errorf("partition: stored state with log start %d, next offset %d and segments of %d bytes",
			at.LogStart, at.Next, at.SegmentBytes)
	}
	var ps producers
	return at, ps.decode(at.producers)
}

// flushChunk is how much data one call to the segments takes, in bytes: enough for large writes, little enough that what
// was evicted from memory can be read back for it. And no more than rowsPerFlush entries.
const (
	flushChunk   = 4 << 20
	rowsPerFlush = 4096
)

// Pending is the bytes of applied records that no segment holds yet.
func (p *Partition) Pending() (rows int, bytes int64) {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	return p.rows.Len(), p.rowBytes
}

// Flush moves applied records into the segments, without making them durable there. It returns the bytes moved.
func (p *Partition) Flush() (int64, error) {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	if err := p.renew(); err != nil {
		return 0, err
	}
	p.cfg.Group.Lock()
	s, end, again := p.segs.Load(), p.applied, p.again
	p.cfg.Group.Unlock()
	if again != 0 || s.log == nil {
		return 0, nil
	}
	moved, err := p.flushTo(s, end)
	if err == errSuperseded {
		err = nil
	}
	return moved, err
}

// errSuperseded: a snapshot has come, and what was to be flushed is not needed any more.
var errSuperseded = errors.New("partition: a snapshot came")

// flushBuffers is what one chunk needs beside the data; the next chunk, of any partition, uses it again.
type flushBuffers struct {
	rows    []rows.Row
	entries []Entry
	records []seglog.Record
	rolls   [][]byte // of the rows that start a segment, in order
	first   []byte   // of the first row, if it is the first of all
}

var flushPool = sync.Pool{New: func() any { return new(flushBuffers) }}

// flushTo moves rows up to and including index end to s. flushing is held.
func (p *Partition) flushTo(s *segments, end id.Index) (int64, error) {
	total := int64(0)
	buf := flushPool.Get().(*flushBuffers)
	defer flushPool.Put(buf)
	for {
		p.cfg.Group.Lock()
		if p.segs.Load() != s {
			p.cfg.Group.Unlock()
			return total, errSuperseded
		}
		rows := p.rows.AppendFront(buf.rows[:0], end, rowsPerFlush, flushChunk)
		buf.rows = rows
		buf.entries, buf.rolls = buf.entries[:0], buf.rolls[:0]
		for i := range rows {
			if rows[i].Roll {
				buf.rolls = append(buf.rolls, withConf(p.rolls[rows[i].Index], p.confAt(rows[i].Index-1)))
			}
		}
		buf.first = nil
		if p.start != nil && p.start.index == s.log.LastIndex() {
			buf.first = p.start.base
		}
		if n := len(rows); n > 0 {
			buf.entries = p.cfg.Group.CachedLocked(buf.entries, rows[0].Index, rows[n-1].Index+1)
		}
		p.cfg.Group.Unlock()
		if len(rows) == 0 {
			return total, nil
		}
		moved, err := p.flushRows(s, rows, buf.entries, buf)
		clear(buf.entries)
		clear(buf.records)
		total += moved
		if err != nil {
			return total, err
		}
	}
}

// flushRows writes rows, whose first entries may be given, and then forgets them here: the segments hold them now.
func (p *Partition) flushRows(s *segments, rows []rows.Row, es []Entry, buf *flushBuffers) (int64, error) {
	if len(es) == 0 {
		var err error
		if es, err = p.cfg.Group.Entries(rows[0].Index, rows[len(rows)-1].Index+1, flushChunk); err != nil {
			if p.superseded(s) {
				return 0, errSuperseded
			}
			return 0, fmt.Errorf("partition: reading entry %d back to flush it: %w", rows[0].Index, err)
		}
	}
	rows = rows[:len(es)]
	recs := buf.records[:0]
	for i := range es {
		r := &rows[i]
		if es[i].Index != r.Index || es[i].Term != r.Term {
			panic(fmt.Sprintf("partition: entry %d of term %d where %d of term %d is applied", es[i].Index, es[i].Term, r.Index, r.Term))
		}
		var roll []byte
		if r.Roll {
			roll, buf.rolls = buf.rolls[0], buf.rolls[1:]
		} else if i == 0 {
			roll = buf.first
		}
		recs = append(recs, seglog.Record{Index: r.Index, Term: r.Term, Type: r.Type, Base: r.Base, LastDelta: r.Delta,
			MaxTimestamp: r.MaxMs, Data: es[i].Data, CRC: dataCRC(&es[i]), Roll: roll})
	}
	buf.records = recs
	err := s.log.Append(recs)
	taken := int(s.log.LastIndex() + 1 - rows[0].Index) // fewer than given when the disk is full
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if p.segs.Load() != s {
		return 0, cmp.Or(err, errSuperseded)
	}
	last := rows[0].Index + id.Index(taken) - 1
	p.cfg.Group.SpareLocked(last)
	return p.dropRows(last), err
}

// Checkpoint flushes everything applied, makes the segments durable and returns what a checkpoint of the group is to
// say: the flushed index and term and the state as of it. It returns 0 when nothing changed since the last one, or when a
// snapshot came meanwhile.
func (p *Partition) Checkpoint() (id.Index, id.Term, []byte, error) {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	if err := p.renew(); err != nil {
		return 0, 0, nil, err
	}
	p.cfg.Group.Lock()
	s, index, term := p.segs.Load(), p.applied, p.appliedTerm
	if index == p.flushed || p.again != 0 || s.log == nil {
		p.cfg.Group.Unlock()
		return 0, 0, nil, nil
	}
	state, conf := p.encodeBase(), p.confAt(index)
	p.cfg.Group.Unlock()
	if _, err := p.flushTo(s, index); err == errSuperseded {
		return 0, 0, nil, nil
	} else if err != nil {
		return 0, 0, nil, err
	}
	at, err := s.log.Sync()
	if err != nil {
		return 0, 0, nil, err
	}
	p.cfg.Group.Lock()
	if p.segs.Load() != s {
		p.cfg.Group.Unlock()
		return 0, 0, nil, nil
	}
	p.flushed = index
	logStart := p.logStart
	p.cfg.Group.Unlock()
	if before := s.log.FirstIndex(); logStart > s.log.StartOffset() {
		// The checkpoint on disk still names the segments that go; recovery takes a missing start for what it is.
		if err := s.log.DropBefore(logStart); err != nil {
			return 0, 0, nil, err
		}
		if s.log.FirstIndex() != before {
			p.restart(s)
		}
	}
	payload, err := encodePayload(at, conf, state)
	return index, term, payload, err
}

// A checkpoint's payload: u8 version 1, the segments' checkpoint, u32 length and bytes of raft's configuration, the Base.
const payloadVersion = 1

func encodePayload(at seglog.Checkpoint, conf, state []byte) ([]byte, error) {
	b, err := at.AppendBinary([]byte{payloadVersion})
	if err != nil {
		return nil, fmt.Errorf("partition: %w", err)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(conf)))
	return append(append(b, conf...), state...), nil
}

// DecodePayload reads a checkpoint's payload: where the segments are, raft's configuration, the state.
func DecodePayload(b []byte) (at seglog.Checkpoint, conf []byte, base Base, err error) {
	const fixed = 1 + seglog.CheckpointSize + 4
	if len(b) < fixed || b[0] != payloadVersion {
		return at, nil, base, fmt.Errorf("partition: a checkpoint of %d bytes that this program cannot read", len(b))
	}
	if err = at.UnmarshalBinary(b[1 : 1+seglog.CheckpointSize]); err != nil {
		return at, nil, base, err
	}
	n := int(binary.LittleEndian.Uint32(b[fixed-4:]))
	if n > len(b)-fixed {
		return at, nil, base, fmt.Errorf("partition: a checkpoint's configuration of %d bytes in %d", n, len(b)-fixed)
	}
	base, err = DecodeBase(b[fixed+n:])
	return at, b[fixed : fixed+n], base, err
}
