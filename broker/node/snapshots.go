package node

import (
	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// partSnapshots lets a partition be caught up by snapshots: they are small, and carry no records.
type partSnapshots struct{ part *partition.Partition }

var _ replica.Snapshotter = partSnapshots{}

// Snapshot implements replica.Snapshotter.
func (s partSnapshots) Snapshot() (replica.Snapshot, bool) {
	at, ok := s.part.SnapshotLocked()
	return replica.Snapshot{Index: at.Index, Term: at.Term, Conf: at.Conf, Payload: at.Payload}, ok
}

// Restore implements replica.Snapshotter.
func (s partSnapshots) Restore(at replica.Snapshot) error {
	return s.part.RestoreLocked(at.Index, at.Term, at.Conf, at.Payload)
}

// partHost tells a partition of its group's configurations: it stores with each segment the one as of its start.
type partHost struct {
	part  *partition.Partition
	group *replica.Group // nil until join
}

var _ replica.Host = (*partHost)(nil)

// join gives the partition its group. Nothing may have been stepped yet.
func (h *partHost) join(g *replica.Group) {
	h.group = g
	h.part.Join(g)
	g.Lock()
	defer g.Unlock()
	h.part.Configured(g.StatusLocked().Applied, g.ConfLocked())
}

// Ticks implements replica.Host.
func (h *partHost) Ticks(id.GroupID, bool) {}

// Leader implements replica.Host.
func (h *partHost) Leader(id.GroupID, replica.Status) {}

// Configured implements replica.Host.
func (h *partHost) Configured(_ id.GroupID, at id.Index, _ membership.Members) {
	if h.group != nil {
		h.part.Configured(at, h.group.ConfLocked())
	}
}
