package reassign

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// Host is the node whose groups a Mover looks after.
type Host interface {
	Catalog() *meta.Catalog
	// Group returns a group's replica on this node, nil if there is none.
	Group(g id.GroupID) *replica.Group
	// Reached tells whether a node lives.
	Reached(n id.NodeID) (alive bool, since time.Time)
}

// Mover takes the steps for the groups that one node leads.
type Mover struct {
	self  id.NodeID
	host  Host
	log   *slog.Logger
	later map[id.GroupID]bool // led here, and not as they should be, when they were looked at last
}

// NewMover returns one that has not looked yet.
func NewMover(self id.NodeID, h Host, log *slog.Logger) *Mover {
	return &Mover{self: self, host: h, log: log, later: map[id.GroupID]bool{}}
}

// Pass looks at the groups that were not as they should be, or at all of them, and takes the next step of each. It tells whether
// there is more to do, so that it should be called again in a while. Drive the WAL afterwards. One goroutine at a time.
func (m *Mover) Pass(all bool) (more bool) {
	cat := m.host.Catalog()
	look := func(g id.GroupID, placed []meta.Replica, voters int) {
		if all || m.later[g] {
			if m.step(cat, g, placed, voters) {
				delete(m.later, g)
			} else {
				m.later[g] = true
			}
		}
	}
	if !all && len(m.later) == 0 {
		return false
	}
	if all {
		clear(m.later) // those of topics that are no more
	}
	placed := cat.MetadataReplicas()
	look(id.MetadataGroup, placed, MetadataVoters(len(placed)))
	if all {
		for _, t := range cat.Topics() {
			for _, p := range t.Partitions {
				look(p.Group, p.Replicas, len(p.Replicas))
			}
		}
		return len(m.later) > 0
	}
	for g := range m.later {
		if g == id.MetadataGroup {
			continue
		}
		if placed := cat.Replicas(g); placed != nil {
			look(g, placed, len(placed))
		} else {
			delete(m.later, g)
		}
	}
	return len(m.later) > 0
}

// step takes the next step for a group. It tells whether there is nothing more to do here.
func (m *Mover) step(cat *meta.Catalog, g id.GroupID, placed []meta.Replica, voters int) (done bool) {
	group := m.host.Group(g)
	if group == nil || len(placed) == 0 || !group.Status().IsLead {
		return true
	}
	now, ok := m.look(group, placed, cat.Gone(g))
	if !ok || newer(cat, g, now.Members) {
		return false
	}
	now.Voters = voters
	s, done := Next(now)
	var err error
	switch {
	case s.Transfer != 0:
		m.log.Info("a leader that is to go hands over", "group", g, "to_replica", s.Transfer)
		err = group.TransferLeadership(s.Transfer)
	case len(s.Change) > 0:
		m.log.Info("a group's members change", "group", g, "change", s.Change)
		_, _, err = group.Change(s.Change...)
	case !done:
		group.Wake() // a quiet group's leader hears nothing new of the others
	}
	if err != nil && !errors.Is(err, replica.ErrNotLeader) && !errors.Is(err, replica.ErrChanging) && !errors.Is(err, membership.ErrNotCaughtUp) {
		m.log.Warn("a group's members could not be changed", "group", g, "change", s, "err", err)
	}
	return done
}

// newer tells whether a configuration names a replica that this metadata has not heard of yet: it must not decide about it.
func newer(cat *meta.Catalog, g id.GroupID, m membership.Members) bool {
	for _, r := range slices.Concat(m.Voters, m.Outgoing, m.Learners, m.Next) {
		if !cat.Issued(g, r) {
			return true
		}
	}
	return false
}

// closeBehind is how many entries a replica may lack and count as caught up.
const closeBehind = 500

// look returns a group as this node, its leader, sees it.
func (m *Mover) look(group *replica.Group, placed, gone []meta.Replica) (g Group, ok bool) {
	members, st := Members(group)
	g = Group{Members: members, Peers: map[id.ReplicaID]Peer{}}
	for _, r := range placed {
		g.Want = append(g.Want, r.ID)
	}
	progress := map[id.ReplicaID]replica.Progress{}
	for _, p := range group.Progress() {
		progress[p.Replica] = p
	}
	for _, r := range slices.Concat(placed, gone) {
		alive, _ := m.host.Reached(r.Node)
		p, known := progress[r.ID]
		g.Peers[r.ID] = Peer{Alive: alive, CaughtUp: known && p.Active && !p.Snapshot && p.Match+closeBehind >= st.Last}
		if r.Node == m.self && st.Leader == r.ID {
			g.Self, g.Peers[r.ID] = r.ID, Peer{Alive: true, CaughtUp: true}
		}
	}
	return g, g.Self != 0 && st.IsLead
}

// Members returns a group's configuration as of what it has applied, and its status then.
func Members(g *replica.Group) (membership.Members, replica.Status) {
	g.Lock()
	conf, st := g.ConfLocked(), g.StatusLocked()
	g.Unlock()
	m, err := conf.Members()
	if err != nil {
		panic("reassign: a configuration that was encoded does not decode: " + err.Error())
	}
	return m, st
}

// Gone tells what a leader knows of a replica that does not belong to its group any more: it is out of the configuration for good,
// whatever becomes of this leader. It is false if the node does not lead the group.
func Gone(group *replica.Group, r id.ReplicaID) (term id.Term, gone bool) {
	if group == nil {
		return 0, false
	}
	m, st := Members(group)
	if !st.IsLead || m.Joint() || m.Has(r) {
		return st.Term, false
	}
	group.Lock()
	defer group.Unlock()
	return st.Term, group.StatusLocked().Term == st.Term && group.SettledLocked()
}

// Watch is a replica.Host that has whoever moves look again when a group's leader or members change.
type Watch struct{ Look func() }

var _ replica.Host = Watch{}

// Ticks implements replica.Host.
func (Watch) Ticks(id.GroupID, bool) {}

// Leader implements replica.Host.
func (w Watch) Leader(id.GroupID, replica.Status) { w.Look() }

// Configured implements replica.Host.
func (w Watch) Configured(id.GroupID, id.Index, membership.Members) { w.Look() }
