// Package replay is what the WAL's one pass at start leaves for those who open groups behind it. The problem is that nothing may be
// opened or written while it runs, because a later record may supersede an earlier one.
package replay

import (
	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/wal"
)

// Replay collects, for each partition group, what its records add up to, and for the metadata group the newest checkpoint or
// snapshot. It is a wal.Visitor.
type Replay struct {
	Meta []byte // payload of the metadata group's newest checkpoint or snapshot

	make     func(g id.GroupID) *partition.Partition
	parts    map[id.GroupID]*partition.Partition
	replicas map[id.GroupID]id.ReplicaID // whose records came last
}

// New returns an empty one. empty makes a partition to be fed.
func New(empty func(g id.GroupID) *partition.Partition) *Replay {
	return &Replay{make: empty, parts: map[id.GroupID]*partition.Partition{}, replicas: map[id.GroupID]id.ReplicaID{}}
}

// Take returns what there is of a partition, an empty one if there is nothing, and forgets it.
func (r *Replay) Take(g id.GroupID) *partition.Partition {
	p := r.Part(g)
	delete(r.parts, g)
	return p
}

// Drop forgets what there is of a group.
func (r *Replay) Drop(g id.GroupID) { delete(r.parts, g) }

var _ wal.Visitor = (*Replay)(nil)

// of says whose record comes. What another replica of the group left here is void.
func (r *Replay) of(g id.GroupID, self id.ReplicaID) {
	if before, ok := r.replicas[g]; ok && before != self {
		r.forget(g)
	}
	r.replicas[g] = self
}

func (r *Replay) forget(g id.GroupID) {
	delete(r.parts, g)
	delete(r.replicas, g)
	if g == id.MetadataGroup {
		r.Meta = nil
	}
}

// Part returns what there is of a partition, and makes it if there is nothing.
func (r *Replay) Part(g id.GroupID) *partition.Partition {
	p := r.parts[g]
	if p == nil {
		p = r.make(g)
		r.parts[g] = p
	}
	return p
}

// Entries implements wal.Visitor. The metadata group's entries are few, and raft hands them out again.
func (r *Replay) Entries(g id.GroupID, self id.ReplicaID, es []wal.Entry) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		return nil
	}
	return r.Part(g).Recover(es)
}

// HardState implements wal.Visitor.
func (r *Replay) HardState(g id.GroupID, self id.ReplicaID, h wal.HardState) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		return nil
	}
	return r.Part(g).RecoverCommit(h.Commit)
}

// Checkpoint implements wal.Visitor.
func (r *Replay) Checkpoint(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, h wal.HardState, payload []byte) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		r.Meta = append(r.Meta[:0], payload...)
		return nil
	}
	if err := r.Part(g).RecoverCheckpoint(payload); err != nil {
		return err
	}
	return r.Part(g).RecoverCommit(h.Commit)
}

// Snapshot implements wal.Visitor. It takes the place of everything before.
func (r *Replay) Snapshot(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, payload []byte) error {
	r.of(g, self)
	if g == id.MetadataGroup {
		r.Meta = append(r.Meta[:0], payload...)
		return nil
	}
	delete(r.parts, g)
	return r.Part(g).RecoverCheckpoint(payload)
}

// Deleted implements wal.Visitor.
func (r *Replay) Deleted(g id.GroupID) error {
	r.forget(g)
	return nil
}
