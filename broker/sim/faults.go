package sim

import (
	"errors"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// disturb does what operators, kernels, power supplies and networks do.
func (c *Cluster) disturb() {
	n := c.nodes[c.r.IntN(len(c.nodes))]
	switch c.r.IntN(26) {
	case 0:
		c.powerCut(n)
	case 1:
		if c.r.IntN(4) == 0 {
			c.note("the power goes everywhere")
			for _, n := range c.nodes {
				c.powerCut(n)
			}
		}
	case 2:
		if n.up && n.cut == 0 {
			n.cut = 1 + c.r.IntN(12)
		}
	case 3, 4:
		if n.up && n.paused == 0 {
			n.paused = c.now + 20 + c.r.Int64N(400)
			c.did.pauses++
			c.note("node %d is paused until %d", n.n, n.paused)
		}
	case 5:
		n.owed += 1 + c.r.IntN(40) // the clock jumps
	case 6, 7, 8:
		c.partition(n)
	case 9, 10, 11:
		c.netHeals()
	case 12:
		if o := c.nodes[c.r.IntN(len(c.nodes))]; o != n {
			c.net.Break(n.n, o.n)
		}
	case 13:
		c.rumour(n, c.r.IntN(3) == 0)
	case 14, 15:
		c.transfer()
	case 16:
		if n.up && n.paused <= c.now {
			c.save(n)
		}
	case 17, 18, 19:
		c.retain()
	default:
		c.change(c.r.IntN(groups))
	}
	c.reap(n)
}

func (c *Cluster) powerCut(n *node) {
	if !n.up {
		return
	}
	kill := c.r.IntN(3) == 0
	c.note("node %d crashes, process only: %v", n.n, kill)
	n.crash(kill)
	n.back = c.now + c.r.Int64N(400)
	c.rumour(n, true)
}

// partition cuts a node off from some others, in one direction or both.
func (c *Cluster) partition(n *node) {
	c.did.cuts++
	way := c.r.IntN(3)
	for _, o := range c.nodes {
		if o == n || c.r.IntN(3) == 0 {
			continue
		}
		if way != 1 {
			c.net.SetDown(n.n, o.n, true)
		}
		if way != 2 {
			c.net.SetDown(o.n, n.n, true)
		}
		c.note("node %d and %d are cut off, way %d", n.n, o.n, way)
	}
}

func (c *Cluster) netHeals() {
	for i := range c.nodes {
		for j := range c.nodes {
			if i != j {
				c.net.SetDown(i, j, false)
			}
		}
	}
}

func (c *Cluster) transfer() {
	m := c.believed(c.r.IntN(groups))
	if m == nil || len(m.members.Voters) < 2 {
		return
	}
	to := m.members.Voters[c.r.IntN(len(m.members.Voters))]
	err := m.group.TransferLeadership(to)
	c.note("group %d is handed from %d to %d: %v", m.g, m.id, to, err)
	if err == nil {
		c.did.transfers++
	}
}

func (c *Cluster) retain() {
	m := c.believed(c.r.IntN(groups))
	if m == nil {
		return
	}
	before := m.part.Bounds().Start
	err := m.retain(c.r.IntN(3))
	c.note("group %d: retention from %d on: %v", m.g, before, err)
	if err == nil {
		c.did.retained++
	} else if !errors.Is(err, replica.ErrMoving) && !errors.Is(err, replica.ErrBusy) && !errors.Is(err, replica.ErrNotLeader) {
		c.checkOn(m.node, err)
	}
}

// change changes a group's configuration: a learner where there is none, a voter of the learner, sometimes for another.
func (c *Cluster) change(g int) {
	m := c.believed(g)
	if m == nil || m.members.Joint() {
		return
	}
	ms := m.members
	var cs []membership.Change
	if len(ms.Learners) > 0 {
		cs = append(cs, membership.Change{Replica: ms.Learners[0], To: membership.Voter})
		if old := ms.Voters[c.r.IntN(len(ms.Voters))]; len(ms.Voters) >= 3 {
			cs = append(cs, membership.Change{Replica: old})
		}
	} else if r := c.spare(g, m); r != 0 {
		cs = append(cs, membership.Change{Replica: r, To: membership.Learner})
	} else {
		return
	}
	_, _, err := m.group.Change(cs...)
	c.note("group %d, replica %d changes %+v to %+v: %v", g, m.id, ms, cs, err)
	switch {
	case err == nil:
		c.did.changes++
	case !errors.Is(err, replica.ErrChanging) && !errors.Is(err, membership.ErrNotCaughtUp) && !errors.Is(err, replica.ErrNotLeader) &&
		!errors.Is(err, replica.ErrBusy) && !errors.Is(err, membership.ErrConfiguration):
		c.checkOn(m.node, err)
	}
}

// spare returns a replica that is hosted and is not part of the group, one on a node that has none if need be, or 0.
func (c *Cluster) spare(g int, m *member) id.ReplicaID {
	p := c.parts[g]
	for _, r := range p.hosted {
		if r != 0 && !m.belongs(r) && !p.gone(r) {
			return r
		}
	}
	for _, n := range c.nodes {
		if n.up && !n.dead && p.hosted[n.n] == 0 {
			if _, ok := n.wal.State(groupID(g)); ok {
				continue
			}
			r := p.host(n.n)
			c.note("node %d gets replica %d of group %d", n.n, r, g)
			c.checkOn(n, n.open(g, r, nil))
			return r
		}
	}
	return 0
}

// gone tells whether a replica was part of the group by a committed configuration and by a later one is not.
func (p *part) gone(r id.ReplicaID) bool {
	last, was := id.Index(0), false
	for at, ms := range p.confs {
		last, was = max(last, at), was || named(ms, r)
	}
	return was && !named(p.confs[last], r)
}

// sweep removes replicas that were removed from their groups from the nodes that had them.
func (c *Cluster) sweep() {
	for g, p := range c.parts {
		for i, r := range p.hosted {
			n := c.nodes[i]
			if r == 0 || !n.up || n.dead || n.paused > c.now || !p.gone(r) || !c.calm && c.r.IntN(4) > 0 {
				continue
			}
			c.note("node %d loses replica %d of group %d", i, r, g)
			p.hosted[i] = 0
			c.did.removed++
			c.checkOn(n, n.erase(g))
			c.reap(n)
		}
	}
}
