package replica

import (
	"errors"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/raftlog"
)

// storage lets raft read a group's log. Its methods run inside RawNode calls, so the group's lock is held.
type storage struct{ g *Group }

func (s storage) InitialState() (pb.HardState, pb.ConfState, error) {
	h := s.g.stores.Hard()
	return pb.HardState{Term: uint64(h.Term), Vote: uint64(h.Vote), Commit: uint64(h.Commit)}, s.g.conf, nil
}

func (s storage) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	es, err := s.g.log.Range(id.Index(lo), id.Index(hi), maxSize)
	return es, s.raftError(err)
}

func (s storage) Term(i uint64) (uint64, error) {
	t, err := s.g.log.Term(id.Index(i))
	return uint64(t), s.raftError(err)
}

func (s storage) LastIndex() (uint64, error)  { return uint64(s.g.log.LastIndex()), nil }
func (s storage) FirstIndex() (uint64, error) { return uint64(s.g.log.FirstIndex()), nil }

// Snapshot implements raft.Storage.
func (s storage) Snapshot() (pb.Snapshot, error) { return s.g.offer() }

// raftError turns an error into raft's words. Raft panics at any but these two, and with it the node: so what cannot be
// read counts as compacted until raft returns, and then it stops the group (handleReady).
func (s storage) raftError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raftlog.ErrUnavailable):
		return raft.ErrUnavailable
	case !errors.Is(err, raftlog.ErrCompacted):
		s.g.broken = err
	}
	return raft.ErrCompacted
}
