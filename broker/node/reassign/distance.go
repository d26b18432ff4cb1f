package reassign

import (
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/placing"
	"ackline/broker/replica"
)

// perPlace is how many leaderships one call of Place hands over.
const perPlace = 64

// Place hands leaderships to whom a decider wants to have them, instead of Balance. trips are the nodes' measurements, produced what
// producers sent since the last call, by partition and place. One goroutine at a time, that of Pass. Drive the WAL afterwards.
func (m *Mover) Place(d *placing.Decider, now time.Time, trips map[[2]id.NodeID]time.Duration, produced map[id.GroupID]map[string]uint64) {
	cat := m.host.Catalog()
	world := placing.Map{Places: map[id.NodeID]placing.Place{}, Trips: trips}
	for _, n := range cat.Nodes() {
		world.Places[n.ID] = placing.Place{Region: n.Region, Zone: n.Zone}
	}
	groups := map[id.GroupID]*replica.Group{}
	var list []placing.Partition
	for _, t := range cat.Topics() {
		for _, p := range t.Partitions {
			group := m.host.Group(p.Group)
			if group == nil || m.later[p.Group] || !group.Status().IsLead {
				continue
			}
			if x, ok := m.placed(cat, group, p); ok {
				x.Region = t.Settings.LeaderRegion
				x.Produced = produced[p.Group]
				groups[p.Group], list = group, append(list, x)
			}
		}
	}
	moves, begun := d.Look(now, world, list), 0
	for _, p := range list {
		move, ok := moves[p.Group]
		if !ok || begun == perPlace {
			continue
		}
		to, ok := replicaOn(cat.Replicas(p.Group), move.To)
		if ok && m.handBack(groups[p.Group], p.Group, to, "why", move.Why(), "cost_now", move.Now, "cost_then", move.Then) {
			begun++
		}
	}
}

// placed describes a partition that this node leads.
func (m *Mover) placed(cat *meta.Catalog, group *replica.Group, p meta.Partition) (x placing.Partition, ok bool) {
	gone := cat.Gone(p.Group)
	g, ok := m.look(group, p.Replicas, gone)
	if !ok || g.Members.Joint() {
		return x, false
	}
	x = placing.Partition{Group: p.Group, Leader: m.self}
	for _, r := range slices.Concat(p.Replicas, gone) {
		if slices.Contains(g.Members.Voters, r.ID) {
			x.Voters = append(x.Voters, r.Node)
		}
	}
	for _, r := range p.Replicas {
		if peer := g.Peers[r.ID]; peer.Alive && peer.CaughtUp && slices.Contains(x.Voters, r.Node) {
			x.Able = append(x.Able, r.Node)
		}
	}
	return x, slices.Contains(x.Able, m.self)
}

func replicaOn(list []meta.Replica, n id.NodeID) (meta.Replica, bool) {
	i := slices.IndexFunc(list, func(r meta.Replica) bool { return r.Node == n })
	if i < 0 {
		return meta.Replica{}, false
	}
	return list[i], true
}

// Nearest returns another node than this one, which leads a group, whose replica serves consumers in a rack better: it is in that zone,
// or at least in that region and this one is not; it lives and has about all there is. May be called from any goroutine.
func (m *Mover) Nearest(g id.GroupID, rack string) (best id.NodeID, ok bool) {
	cat, group := m.host.Catalog(), m.host.Group(g)
	if group == nil {
		return 0, false
	}
	closeness := func(n id.NodeID) int {
		switch at, _ := cat.Node(n); rack {
		case at.Zone:
			return 2
		case at.Region:
			return 1
		}
		return 0
	}
	near, progress, last := closeness(m.self), group.Progress(), group.Status().Last
	for _, r := range cat.Replicas(g) {
		if c := closeness(r.Node); c > near {
			i := slices.IndexFunc(progress, func(p replica.Progress) bool { return p.Replica == r.ID })
			alive, _ := m.host.Reached(r.Node)
			if alive && i >= 0 && !progress[i].Snapshot && progress[i].Match+closeBehind >= last {
				best, near, ok = r.Node, c, true
			}
		}
	}
	return best, ok
}
