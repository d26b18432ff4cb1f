package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// durable reads a group's entries from where they are on disk: up to flushed from the machine's segments, above it from
// the WAL. flushed is guarded by the group's lock, as the Log that uses it is.
type durable struct {
	wal     *wal.WAL
	group   id.GroupID
	history History // nil: nothing at or below flushed can be read
	flushed id.Index
	term    id.Term // of flushed
}

// FirstIndex implements Older.
func (d *durable) FirstIndex() id.Index {
	if d.history != nil {
		return d.history.FirstIndex()
	}
	return d.flushed + 1
}

// Range implements Older.
func (d *durable) Range(lo, hi id.Index, maxBytes uint64) ([]pb.Entry, error) {
	limit := int(min(maxBytes, 1<<30))
	var es []Entry
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
		return nil, err
	}
	if len(es) == 0 || es[0].Index != lo {
		panic(fmt.Sprintf("replica: group %d: asked for entries from %d, was given %d, first %v", d.group, lo, len(es), es))
	}
	out := make([]pb.Entry, len(es))
	for i, e := range es {
		out[i] = pb.Entry{Index: uint64(e.Index), Term: uint64(e.Term), Type: pb.EntryType(e.Type), Data: e.Data}
	}
	return out, nil
}

// Term implements Older.
func (d *durable) Term(i id.Index) (id.Term, error) {
	switch {
	case i == d.flushed:
		return d.term, nil
	case i > d.flushed:
		return d.wal.Term(d.group, i)
	case d.history == nil:
		return 0, fmt.Errorf("%w: %d < %d", ErrCompacted, i, d.flushed)
	}
	return d.history.Term(i)
}

// storage lets raft read a group's log. Its methods run inside RawNode calls, so the group's lock is held.
type storage struct{ g *Group }

func (s storage) InitialState() (pb.HardState, pb.ConfState, error) {
	h := s.g.hard
	return pb.HardState{Term: uint64(h.Term), Vote: uint64(h.Vote), Commit: uint64(h.Commit)}, s.g.conf, nil
}

func (s storage) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	es, err := s.g.log.Range(id.Index(lo), id.Index(hi), maxSize)
	return es, raftError(err)
}

func (s storage) Term(i uint64) (uint64, error) {
	t, err := s.g.log.Term(id.Index(i))
	return uint64(t), raftError(err)
}

func (s storage) LastIndex() (uint64, error)  { return uint64(s.g.log.LastIndex()), nil }
func (s storage) FirstIndex() (uint64, error) { return uint64(s.g.log.FirstIndex()), nil }

// Snapshot implements raft.Storage. Followers catch up from entries; a transport that can carry a snapshot does not exist
// on a node of its own.
func (s storage) Snapshot() (pb.Snapshot, error) {
	return pb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
}

func raftError(err error) error {
	switch {
	case errors.Is(err, ErrCompacted):
		return raft.ErrCompacted
	case errors.Is(err, ErrUnavailable):
		return raft.ErrUnavailable
	}
	return err
}

// OnWAL returns an Older that reads a group's entries from a WAL alone.
func OnWAL(w *wal.WAL, g id.GroupID) Older { return &durable{wal: w, group: g} }
