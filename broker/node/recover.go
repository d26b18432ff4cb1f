package node

import (
	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/wal"
)

// replay is what the WAL's one pass leaves: for each partition group what its records add up to, for the metadata group the
// newest checkpoint or snapshot. Nothing is opened or written while it runs, because a later record may supersede an earlier
// one.
type replay struct {
	make     func(g id.GroupID) *partition.Partition
	parts    map[id.GroupID]*partition.Partition
	replicas map[id.GroupID]id.ReplicaID // whose records came last
	meta     []byte                      // payload of the metadata group's newest checkpoint or snapshot
}

var _ wal.Visitor = (*replay)(nil)

// of says whose record comes. What another replica of the group left here is void.
func (r *replay) of(g id.GroupID, self id.ReplicaID) {
	if r.replicas == nil {
		r.replicas = map[id.GroupID]id.ReplicaID{}
	}
	if before, ok := r.replicas[g]; ok && before != self {
		r.forget(g)
	}
	r.replicas[g] = self
}

func (r *replay) forget(g id.GroupID) {
	delete(r.parts, g)
	delete(r.replicas, g)
	if g == id.MetadataGroup {
		r.meta = nil
	}
}

func (r *replay) part(g id.GroupID) *partition.Partition {
	p := r.parts[g]
	if p == nil {
		p = r.make(g)
		r.parts[g] = p
	}
	return p
}

// Entries implements wal.Visitor. The metadata group's entries are few, and raft hands them out again.
func (r *replay) Entries(g id.GroupID, self id.ReplicaID, es []wal.Entry) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		return nil
	}
	return r.part(g).Recover(es)
}

// HardState implements wal.Visitor.
func (r *replay) HardState(g id.GroupID, self id.ReplicaID, h wal.HardState) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		return nil
	}
	return r.part(g).RecoverCommit(h.Commit)
}

// Checkpoint implements wal.Visitor.
func (r *replay) Checkpoint(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, h wal.HardState, payload []byte) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		r.meta = append(r.meta[:0], payload...)
		return nil
	}
	if err := r.part(g).RecoverCheckpoint(payload); err != nil {
		return err
	}
	return r.part(g).RecoverCommit(h.Commit)
}

// Snapshot implements wal.Visitor. It takes the place of everything before.
func (r *replay) Snapshot(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, payload []byte) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		r.meta = append(r.meta[:0], payload...)
		return nil
	}
	delete(r.parts, g)
	return r.part(g).RecoverCheckpoint(payload)
}

// Deleted implements wal.Visitor.
func (r *replay) Deleted(g id.GroupID) error {
	r.forget(g)
	return nil
}
