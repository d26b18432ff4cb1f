package node

import (
	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/wal"
)

// replay is what the WAL's one pass leaves: for each partition group what its records add up to, for the metadata group the
// newest checkpoint. Nothing is opened or written while it runs, because a later record may supersede an earlier one.
type replay struct {
	make  func(g id.GroupID) *partition.Partition
	parts map[id.GroupID]*partition.Partition
	meta  []byte // payload of the metadata group's newest checkpoint
}

var _ wal.Visitor = (*replay)(nil)

func (r *replay) part(g id.GroupID) *partition.Partition {
	p := r.parts[g]
	if p == nil {
		p = r.make(g)
		r.parts[g] = p
	}
	return p
}

// Entries implements wal.Visitor. The metadata group's entries are few, and raft hands them out again.
func (r *replay) Entries(g id.GroupID, _ id.ReplicaID, es []wal.Entry) error {
	if g == id.MetadataGroup {
		return nil
	}
	return r.part(g).Recover(es)
}

// HardState implements wal.Visitor.
func (r *replay) HardState(g id.GroupID, _ id.ReplicaID, h wal.HardState) error {
	if g == id.MetadataGroup {
		return nil
	}
	return r.part(g).RecoverCommit(h.Commit)
}

// Checkpoint implements wal.Visitor.
func (r *replay) Checkpoint(g id.GroupID, _ id.ReplicaID, _ id.Index, _ id.Term, h wal.HardState, payload []byte) error {
	if g == id.MetadataGroup {
		r.meta = append(r.meta[:0], payload...)
		return nil
	}
	if err := r.part(g).RecoverCheckpoint(payload); err != nil {
		return err
	}
	return r.part(g).RecoverCommit(h.Commit)
}

// Snapshot implements wal.Visitor.
func (r *replay) Snapshot(g id.GroupID, _ id.ReplicaID, _ id.Index, _ id.Term, payload []byte) error {
	delete(r.parts, g)
	return r.part(g).RecoverCheckpoint(payload)
}

// Deleted implements wal.Visitor.
func (r *replay) Deleted(g id.GroupID) error {
	delete(r.parts, g)
	return nil
}
