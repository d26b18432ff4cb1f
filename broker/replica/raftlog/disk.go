package raftlog

import (
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// History reads what the log no longer holds in memory or in the WAL: a partition's committed segments. Indexes are those
// from FirstIndex to the flushed index.
type History interface {
	Entries(lo, hi id.Index, maxBytes int) ([]wal.Entry, error)
	Term(i id.Index) (id.Term, error)
	FirstIndex() id.Index
}

// Disk is an Older that reads a group's entries from where they are on disk: up to the flushed index from the machine's own
// files, above it from the WAL. It is guarded by the group's lock, as the Log that uses it is.
type Disk struct {
	wal     *wal.WAL
	group   id.GroupID
	history History // nil: nothing at or below flushed can be read
	flushed id.Index
	term    id.Term // of flushed
}

// NewDisk returns a Disk for a group whose last checkpoint covers entries up to flushed, which is of term. history may be nil.
func NewDisk(w *wal.WAL, g id.GroupID, history History, flushed id.Index, term id.Term) *Disk {
	return &Disk{w, g, history, flushed, term}
}

// Flushed is the last entry that is read from the history and not from the WAL.
func (d *Disk) Flushed() id.Index { return d.flushed }

// Flush moves that entry: to a checkpoint's, or to where a snapshot stands for what was there.
func (d *Disk) Flush(i id.Index, term id.Term) { d.flushed, d.term = i, term }

// FirstIndex implements Older.
func (d *Disk) FirstIndex() id.Index {
	if d.history != nil {
		return d.history.FirstIndex()
	}
	return d.flushed + 1
}

// Range implements Older.
func (d *Disk) Range(lo, hi id.Index, maxBytes uint64) ([]pb.Entry, error) {
	limit := int(min(maxBytes, 1<<30))
	var es []wal.Entry
	var err error
	switch {
	case lo > d.flushed:
		es, err = d.wal.Entries(d.group, lo, hi, limit)
	case d.history == nil:
		return nil, fmt.Errorf("%w: %d <= %d", ErrCompacted, lo, d.flushed)
	default:
		es, err = d.history.Entries(lo, min(hi, d.flushed+1), limit)
	}
	if err != nil {
		return nil, d.sort(lo, err)
	}
	if len(es) == 0 || es[0].Index != lo {
		panic(fmt.Sprintf("raftlog: group %d: asked for entries from %d, was given %d, first %v", d.group, lo, len(es), es))
	}
	out := make([]pb.Entry, len(es))
	for i, e := range es {
		out[i] = pb.Entry{Index: uint64(e.Index), Term: uint64(e.Term), Type: pb.EntryType(e.Type), Data: e.Data}
	}
	return out, nil
}

// Term implements Older.
func (d *Disk) Term(i id.Index) (id.Term, error) {
	switch {
	case i == d.flushed:
		return d.term, nil
	case i > d.flushed:
		return d.wal.Term(d.group, i)
	case d.history == nil:
		return 0, fmt.Errorf("%w: %d < %d", ErrCompacted, i, d.flushed)
	}
	t, err := d.history.Term(i)
	if err != nil {
		err = d.sort(i+1, err) // the term before the first entry is known
	}
	return t, err
}

// sort tells a failure to read entry i from its absence: retention takes a history's oldest entries without the group's lock.
func (d *Disk) sort(i id.Index, err error) error {
	if first := d.FirstIndex(); i < first {
		return fmt.Errorf("%w: %d < %d: %w", ErrCompacted, i, first, err)
	}
	return err
}
