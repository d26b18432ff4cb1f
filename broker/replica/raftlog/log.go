// Package raftlog keeps the log of one raft group where raft reads it: the newest entries in memory, within a budget that
// all groups of a node share, the older ones wherever they are durable.
//
// Raft reads its log all the time and mostly its end: what it appended last, it sends and applies next. So the end stays in
// memory, and what falls out of the budget is read again from the WAL or, below the last checkpoint, from the machine's own
// files (Disk). Eviction therefore never loses anything, and recovery needs no memory for a log of any length.
//
// A Log has no lock: its group's lock guards it, as it guards the raft node that reads it.
package raftlog

import (
	"errors"
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// Errors of reading. Everything else that a read returns is a failure of what is below.
var (
	// ErrCompacted: the asked-for entries are below the log's first index.
	ErrCompacted = errors.New("raftlog: entries are below the first index")
	// ErrUnavailable: the asked-for entries are beyond the last index.
	ErrUnavailable = errors.New("raftlog: entries are beyond the last index")
)

// LogStorage is one group's log as its replica sees it; logtest is its conformance suite. Indexes are contiguous from FirstIndex to LastIndex. Not safe for
// concurrent use: the group's lock guards it.
type LogStorage interface {
	// Append adds entries. The first may be at most LastIndex+1; it replaces every entry from its index on.
	Append(es []pb.Entry) error
	// Get returns one entry.
	Get(i id.Index) (pb.Entry, error)
	// Range returns entries lo to hi-1, cut after maxBytes of data but never to none. The slice must not be changed.
	Range(lo, hi id.Index, maxBytes uint64) ([]pb.Entry, error)
	FirstIndex() id.Index
	LastIndex() id.Index
	// Term returns the term of entry i, from FirstIndex-1 to LastIndex.
	Term(i id.Index) (id.Term, error)
	// TruncateAfter forgets every entry above i.
	TruncateAfter(i id.Index) error
}

// Budget is the bytes of entry data that all logs of a node together keep in memory.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used is the number of bytes that logs keep now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Over tells whether logs keep more than the limit, so that they should let go of what they can read again.
func (b *Budget) Over() bool { return b.used.Load() > b.limit }

// Older reads entries that a log no longer keeps in memory.
type Older interface {
	Range(lo, hi id.Index, maxBytes uint64) ([]pb.Entry, error)
	Term(i id.Index) (id.Term, error)
	FirstIndex() id.Index
}

// Log is a LogStorage that keeps the newest entries in memory and reads older ones from where they are durable. With no
// Older it is the in-memory log.
type Log struct {
	older  Older
	budget *Budget

	// base is the entry before cache[0]; its term is kept for raft's matching.
	base     id.Index
	baseTerm id.Term
	cache    []pb.Entry
	bytes    int64 // of cache's data, as charged to budget

	spare id.Index // cached entries up to it are in the machine's files, too
}

// New returns a log whose entries above base are to come through Append and whose others, if any, older reads.
func New(older Older, budget *Budget, base id.Index, baseTerm id.Term) *Log {
	return &Log{older: older, budget: budget, base: base, baseTerm: baseTerm}
}

// Append implements LogStorage.
func (l *Log) Append(es []pb.Entry) error {
	if len(es) == 0 {
		return nil
	}
	first, last := id.Index(es[0].Index), l.LastIndex()
	if first > last+1 {
		return fmt.Errorf("raftlog: append at index %d leaves a gap behind %d", first, last)
	}
	if first <= last {
		if err := l.TruncateAfter(first - 1); err != nil {
			return err
		}
	}
	l.cache = append(l.cache, es...)
	n := int64(0)
	for i := range es {
		n += int64(len(es[i].Data))
	}
	l.charge(n)
	return nil
}

// Get implements LogStorage.
func (l *Log) Get(i id.Index) (pb.Entry, error) {
	es, err := l.Range(i, i+1, 1)
	if err != nil {
		return pb.Entry{}, err
	}
	return es[0], nil
}

// Range implements LogStorage.
func (l *Log) Range(lo, hi id.Index, maxBytes uint64) ([]pb.Entry, error) {
	if lo < l.FirstIndex() {
		return nil, fmt.Errorf("%w: %d < %d", ErrCompacted, lo, l.FirstIndex())
	}
	if hi > l.LastIndex()+1 || lo >= hi {
		return nil, fmt.Errorf("%w: [%d, %d) of a log that ends at %d", ErrUnavailable, lo, hi, l.LastIndex())
	}
	if lo <= l.base {
		return l.older.Range(lo, min(hi, l.base+1), maxBytes)
	}
	// A full slice expression: raft may append to what it is given.
	es := l.cache[lo-l.base-1 : hi-l.base-1 : hi-l.base-1]
	return limitBytes(es, maxBytes), nil
}

func limitBytes(es []pb.Entry, maxBytes uint64) []pb.Entry {
	size := uint64(0)
	for i := range es {
		size += uint64(len(es[i].Data))
		if size > maxBytes && i > 0 {
			return es[:i:i]
		}
	}
	return es
}

// FirstIndex implements LogStorage.
func (l *Log) FirstIndex() id.Index {
	if l.older != nil {
		return l.older.FirstIndex()
	}
	return l.base + 1
}

// LastIndex implements LogStorage.
func (l *Log) LastIndex() id.Index { return l.base + id.Index(len(l.cache)) }

// Term implements LogStorage.
func (l *Log) Term(i id.Index) (id.Term, error) {
	switch {
	case i == l.base:
		return l.baseTerm, nil
	case i > l.LastIndex():
		return 0, fmt.Errorf("%w: %d > %d", ErrUnavailable, i, l.LastIndex())
	case i > l.base:
		return id.Term(l.cache[i-l.base-1].Term), nil
	case l.older != nil:
		return l.older.Term(i)
	}
	return 0, fmt.Errorf("%w: %d < %d", ErrCompacted, i, l.base)
}

// TruncateAfter implements LogStorage.
func (l *Log) TruncateAfter(i id.Index) error {
	if i < l.base {
		t, err := l.Term(i)
		if err != nil {
			return fmt.Errorf("raftlog: truncate after %d: %w", i, err)
		}
		l.drop(len(l.cache))
		l.base, l.baseTerm = i, t
		return nil
	}
	keep := int(i - l.base)
	if keep >= len(l.cache) {
		return nil
	}
	n := int64(0)
	for _, e := range l.cache[keep:] {
		n += int64(len(e.Data))
	}
	// The array's tail may be shared with slices that raft was given: leave it, and let the next append copy.
	l.cache = l.cache[:keep:keep]
	l.charge(-n)
	return nil
}

// Reset makes the log begin, empty, behind entry i of term t: a snapshot stands for what was there.
func (l *Log) Reset(i id.Index, t id.Term) {
	l.drop(len(l.cache))
	l.base, l.baseTerm = i, t
}

// Evict lets go of entries up to i, which must be readable from Older or never be asked for again.
func (l *Log) Evict(i id.Index) {
	i = min(i, l.LastIndex())
	if i <= l.base {
		return
	}
	t, n := l.cache[i-l.base-1].Term, int(i-l.base)
	l.drop(n)
	l.base, l.baseTerm = i, id.Term(t)
}

// Spare says that the machine's own files hold the entries up to i, which must be readable from Older: memory keeps them only
// for a follower that is a little behind. They go once all logs together keep more than half of the budget, since what
// nobody has written to a file yet would have to be read back from the WAL for it.
func (l *Log) Spare(i id.Index) {
	l.spare = max(l.spare, i)
	if l.budget.Used() > l.budget.limit/2 {
		l.Evict(l.spare)
	}
}

// Halve lets go of cached entries up to stable, which must be readable from Older, if all logs together keep too many: what is
// spare first, and if that was not enough the older half. Half stays, so that a follower a little behind is still served
// from memory.
func (l *Log) Halve(stable id.Index) {
	if l.budget.Over() {
		l.Evict(min(l.spare, stable))
	}
	if l.budget.Over() && stable > l.base {
		l.Evict(l.base + (stable-l.base+1)/2)
	}
}

// drop removes the first n cached entries. What stays is copied once less than half of the array is in use, or the
// array would keep the dropped data alive.
func (l *Log) drop(n int) {
	freed := int64(0)
	for i := range l.cache[:n] {
		freed += int64(len(l.cache[i].Data))
	}
	rest := l.cache[n:]
	if cap(rest) > 64 && len(rest) < cap(rest)/2 || len(rest) == 0 {
		rest = append(make([]pb.Entry, 0, max(len(rest)*2, 16)), rest...)
	}
	l.cache = rest
	l.charge(-freed)
}

func (l *Log) charge(n int64) {
	l.bytes += n
	l.budget.used.Add(n)
}

// Cached returns the cached entries of [lo, hi), which may be fewer than asked for, from lo on; none when lo is not cached.
func (l *Log) Cached(lo, hi id.Index) []pb.Entry {
	hi = min(hi, l.LastIndex()+1)
	if lo <= l.base || lo >= hi {
		return nil
	}
	return l.cache[lo-l.base-1 : hi-l.base-1 : hi-l.base-1]
}

// AppendEntries appends raft's entries to dst in the form that the WAL and the machines take. Data is shared.
func AppendEntries(dst []wal.Entry, es []pb.Entry) []wal.Entry {
	for i := range es {
		e := &es[i]
		dst = append(dst, wal.Entry{Index: id.Index(e.Index), Term: id.Term(e.Term), Type: uint8(e.Type), Data: e.Data})
	}
	return dst
}

// Fitting is how many of some entries, one at least if there are any, one part of a WAL batch takes that has room for so many bytes.
func Fitting(es []pb.Entry, room int64) (n int) {
	for ; n < len(es) && (n == 0 || room >= int64(len(es[n].Data))); n++ {
		room -= int64(len(es[n].Data)) + entryOverhead
	}
	return n
}

// entryOverhead is at least what an entry takes in the WAL beside its data.
const entryOverhead = 64
