// Package check reads back what a system acknowledged.
//
// The problem: a system that loses, repeats, reorders or damages a record in ten million is fast and worthless, and no
// latency shows it. So every operation that was acknowledged is entered into a Ledger, and after the measured window
// Verify reads the partitions in full and compares: each acknowledged record must be there once, in order, at the
// offset that it was acknowledged with, with the bytes that were sent. Records that were sent and never acknowledged may be
// there or not, but at most once and in order. A run that fails this publishes no latency.
package check

import (
	"encoding/binary"
	"fmt"
)

// Ledger holds what was acknowledged: for every stream, sequence number → offset, in order of sequence number. It is
// compact enough to stay in memory for the longest run: neighbours that got neighbouring offsets cost nothing, and any
// other acknowledgement about four bytes.
//
// Each stream is written by the one thread that owns it, and read after all of them have ended.
type Ledger struct {
	streams []streamLedger
}

// streamLedger is a row of runs. A run is encoded as three varints: sequence numbers skipped since the end of the run
// before, length, offset less the end of the run before (signed).
type streamLedger struct {
	partition int32
	chunks    [][]byte
	open      run // not yet encoded
	last      run // the last one encoded
	acked     int64
	_         [64]byte // keeps the counters of two threads' streams on different cache lines
}

// run is a row of records that lie one behind the other.
type run struct {
	seq    uint64
	n      uint64
	offset int64
}

const (
	chunkBytes = 64 << 10
	maxRunLen  = 3 * binary.MaxVarintLen64
)

// NewLedger returns an empty ledger of streams; partitions[i] is where stream i writes.
func NewLedger(partitions []int32) *Ledger {
	l := &Ledger{streams: make([]streamLedger, len(partitions))}
	for i, p := range partitions {
		l.streams[i].partition = p
	}
	return l
}

// Acked enters records seq … seq+n-1 of a stream, acknowledged at offset and those after it. Acknowledgements of a
// stream come in order.
func (l *Ledger) Acked(stream uint32, seq uint64, n int32, offset int64) {
	s := &l.streams[stream]
	s.acked += int64(n)
	end := s.open.seq + s.open.n
	switch {
	case s.open.n > 0 && seq < end:
		panic(fmt.Sprintf("check: stream %d: record %d acknowledged after record %d", stream, seq, end-1))
	case s.open.n > 0 && seq == end && offset == s.open.offset+int64(s.open.n):
		s.open.n += uint64(n)
	default:
		s.close()
		s.open = run{seq: seq, n: uint64(n), offset: offset}
	}
}

// close encodes the open run.
func (s *streamLedger) close() {
	if s.open.n == 0 {
		return
	}
	if n := len(s.chunks); n == 0 || cap(s.chunks[n-1])-len(s.chunks[n-1]) < maxRunLen {
		s.chunks = append(s.chunks, make([]byte, 0, chunkBytes))
	}
	c := &s.chunks[len(s.chunks)-1]
	*c = binary.AppendUvarint(*c, s.open.seq-(s.last.seq+s.last.n))
	*c = binary.AppendUvarint(*c, s.open.n)
	*c = binary.AppendVarint(*c, s.open.offset-(s.last.offset+int64(s.last.n)))
	s.last, s.open = s.open, run{}
}

// Count is the number of acknowledged records.
func (l *Ledger) Count() (n int64) {
	for i := range l.streams {
		n += l.streams[i].acked
	}
	return n
}

// Bytes is the memory that the ledger takes.
func (l *Ledger) Bytes() (n int64) {
	for i := range l.streams {
		n += int64(len(l.streams[i].chunks)) * chunkBytes
	}
	return n
}

// cursor walks over a stream's runs.
type cursor struct {
	s     *streamLedger
	chunk int
	at    int
	cur   run // what is left of the current run; n is 0 when there is nothing more
}

func (s *streamLedger) cursor() *cursor {
	s.close()
	c := &cursor{s: s}
	c.load(run{})
	return c
}

// load reads the run behind before.
func (c *cursor) load(before run) {
	for c.chunk < len(c.s.chunks) && c.at == len(c.s.chunks[c.chunk]) {
		c.chunk, c.at = c.chunk+1, 0
	}
	c.cur = run{}
	if c.chunk == len(c.s.chunks) {
		return
	}
	b := c.s.chunks[c.chunk]
	skip, n1 := binary.Uvarint(b[c.at:])
	n, n2 := binary.Uvarint(b[c.at+n1:])
	delta, n3 := binary.Varint(b[c.at+n1+n2:])
	if n1 <= 0 || n2 <= 0 || n3 <= 0 {
		panic(fmt.Sprintf("check: chunk %d of the ledger is cut short at byte %d of %d", c.chunk, c.at, len(b)))
	}
	c.at += n1 + n2 + n3
	c.cur = run{seq: before.seq + before.n + skip, n: n, offset: before.offset + int64(before.n) + delta}
}

// more reports whether an acknowledged record is left.
func (c *cursor) more() bool { return c.cur.n > 0 }

// next returns the next acknowledged record.
func (c *cursor) next() (seq uint64, offset int64) {
	seq, offset = c.cur.seq, c.cur.offset
	if c.cur.n == 1 {
		c.load(c.cur)
		return seq, offset
	}
	c.cur = run{seq: seq + 1, n: c.cur.n - 1, offset: offset + 1}
	return seq, offset
}
