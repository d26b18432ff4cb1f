package hosting

import (
	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// Snapshots lets a partition be caught up by snapshots: they are small, and carry no records.
type Snapshots struct{ Part *partition.Partition }

var _ replica.Snapshotter = Snapshots{}

// Snapshot implements replica.Snapshotter.
func (s Snapshots) Snapshot() (replica.Snapshot, bool) {
	at, ok := s.Part.SnapshotLocked()
	return replica.Snapshot{Index: at.Index, Term: at.Term, Conf: at.Conf, Payload: at.Payload}, ok
}

// Restore implements replica.Snapshotter.
func (s Snapshots) Restore(at replica.Snapshot) error {
	return s.Part.RestoreLocked(at.Index, at.Term, at.Conf, at.Payload)
}

// Watch tells a partition of its group's configurations: it stores with each segment the one as of its start.
type Watch struct {
	Part *partition.Partition
	Look func() // who leads, or who is a member, has changed

	group *replica.Group // nil until Join
}

var _ replica.Host = (*Watch)(nil)

// Join gives the partition its group. Nothing may have been stepped yet.
func (h *Watch) Join(g *replica.Group) {
	h.group = g
	h.Part.Join(g)
	g.Lock()
	defer g.Unlock()
	h.Part.Configured(g.StatusLocked().Applied, g.ConfLocked())
}

// Ticks implements replica.Host.
func (h *Watch) Ticks(id.GroupID, bool) {}

// Leader implements replica.Host.
func (h *Watch) Leader(_ id.GroupID, s replica.Status) {
	if s.IsLead {
		h.Look()
	}
}

// Configured implements replica.Host.
func (h *Watch) Configured(_ id.GroupID, at id.Index, _ membership.Members) {
	if h.group != nil {
		h.Part.Configured(at, h.group.ConfLocked())
		h.Look()
	}
}
