package reassign

import (
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/placing"
	"ackline/broker/replica"
)

// perBalance is how many leaderships one call of Balance hands over: each holds its producers for a few milliseconds.
const perBalance = 8

const (
	balanceEvery = 50 * time.Millisecond // between two calls that hand over
	balanceRetry = time.Second           // what could not be handed over is tried again
)

// Balance hands leaderships back. The first replica of a placement is meant to lead, or the first in the topic's leader.region, and
// placements spread these over the nodes; but
// who was elected when a node died leads on when it is back, and after each node was restarted once the last one leads next to
// nothing. A group is handed over when the node that is meant to lead it has been reached for so long, and its replica has what
// this one has. It returns after how long it should be called again; 0: not before something changes. Drive the WAL afterwards.
func (m *Mover) Balance(reached time.Duration, now time.Time) (again time.Duration) {
	begun := 0
	in := func(d time.Duration) {
		if again == 0 || d < again {
			again = d
		}
	}
	for _, t := range m.host.Catalog().Topics() {
		for _, p := range t.Partitions {
			first, why := m.meant(t, p)
			if first.Node == m.self || m.later[p.Group] {
				continue
			}
			group := m.host.Group(p.Group)
			if group == nil || !group.Status().IsLead {
				continue
			}
			alive, since := m.host.Reached(first.Node)
			switch left := reached - now.Sub(since); {
			case !alive: // its coming back is a change
			case left > 0:
				in(left)
			case begun == perBalance:
				in(balanceEvery)
				return again
			case m.handBack(group, p.Group, first, "why", why):
				begun++
				in(balanceEvery)
			default:
				in(balanceRetry)
			}
		}
	}
	return again
}

// meant returns who is meant to lead a partition: the first of its replicas that is in the topic's region and lives, else the first.
func (m *Mover) meant(t *meta.Topic, p meta.Partition) (r meta.Replica, why string) {
	for _, r := range p.Replicas {
		n, _ := m.host.Catalog().Node(r.Node)
		if alive, _ := m.host.Reached(r.Node); alive && (placing.Place{Region: n.Region, Zone: n.Zone}).In(t.Settings.LeaderRegion) {
			return r, placing.Home
		}
	}
	return p.Replicas[0], "the placement names it first"
}

// handBack tells whether it began to. why is what the log says of it, as slog takes it.
func (m *Mover) handBack(group *replica.Group, g id.GroupID, to meta.Replica, why ...any) bool {
	members, st := Members(group)
	progress := group.Progress()
	i := slices.IndexFunc(progress, func(p replica.Progress) bool { return p.Replica == to.ID })
	if i < 0 || members.Joint() || !slices.Contains(members.Voters, to.ID) || progress[i].Snapshot || progress[i].Match+closeBehind < st.Last {
		return false
	}
	if err := group.TransferLeadership(to.ID); err != nil {
		return false
	}
	m.log.Info("a leadership goes to another node", append([]any{"group", g, "node", to.Node}, why...)...)
	return true
}
