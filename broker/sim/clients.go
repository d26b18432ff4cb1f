package sim

import (
	"errors"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/sim/model"
)

// ackTimeout is how long a producer waits, in units of time.
const ackTimeout = 150

// deliver takes acks that a partition has finished.
func (c *Cluster) deliver(n *node, head *partition.Ack) {
	if n.dead {
		return // its clients never hear of it
	}
	for a := head; a != nil; a = a.Next {
		t := a.Owner.(*try)
		switch {
		case a.Err == nil:
			c.ended(t, model.Acked)
		case errors.Is(a.Err, partition.ErrNotLeader):
			c.ended(t, model.Failed)
		case errors.Is(a.Err, partition.ErrUnknown), errors.Is(a.Err, partition.ErrTimedOut):
			c.ended(t, model.Unknown)
		default:
			c.fail("%s: %v", t.batch.Name, a.Err)
		}
	}
}

// ended takes the outcome of a try, once.
func (c *Cluster) ended(t *try, o model.Outcome) {
	if t.over {
		return
	}
	t.over = true
	switch o {
	case model.Acked:
		c.did.acked++
	case model.Failed:
		c.did.failed++
	case model.Unknown:
		c.did.unknown++
	}
	c.note("%s: outcome %d, offset %d: %v", t.batch.Name, o, t.ack.Base, t.ack.Err)
	c.check(t.producer.Ended(t.batch, o, int64(t.ack.Base)))
}

// believed returns a node that thinks that it leads a group; which, if several do, chance decides.
func (c *Cluster) believed(g int) *member {
	var all []*member
	for _, n := range c.nodes {
		if m := n.members[g]; m != nil && n.up && !n.dead && n.paused <= c.now && m.group.Status().IsLead {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[c.r.IntN(len(all))]
}

// clients gives every client its unit of time.
func (c *Cluster) clients() {
	for i, p := range c.producers {
		if !c.calm && c.r.IntN(4) > 0 {
			continue
		}
		if m := c.believed(i % groups); m != nil {
			c.produce(p, m)
		}
	}
	for g := range groups {
		if m := c.believed(g); m != nil && c.r.IntN(8) == 0 {
			c.fetch(m)
			c.did.reads++
			// Whoever is told of an index by now must find there what was acknowledged by now.
			if err := m.group.ReadIndex(uint64(c.parts[g].truth.AckedEnd())); err != nil {
				c.checkOn(m.node, m.group.Err())
			}
		}
	}
	for _, n := range c.nodes {
		if !n.up || n.dead || n.paused > c.now {
			continue
		}
		for _, m := range n.members {
			if m != nil && !n.dead && c.r.IntN(16) == 0 {
				c.fetch(m) // as a consumer that is near to it
			}
			if m != nil && !n.dead {
				m.part.Expire(c.now)
				c.answer(m)
			}
		}
	}
}

func (c *Cluster) produce(p *model.Producer, m *member) {
	b, err := p.Next(!c.calm || p.Done < 10)
	c.check(err)
	if b == nil {
		return
	}
	n := m.node
	n.sent = append(n.sent, &try{producer: p, batch: b})
	t := n.sent[len(n.sent)-1]
	t.ack.Owner, t.ack.Deadline = t, c.now+ackTimeout
	if err := m.part.Append(b.Bytes(), b.Info, segmentBytes, &t.ack); err != nil && !n.dead {
		t.ack.Err = err
		c.ended(t, model.Failed)
	}
	if len(n.sent) > 64 {
		kept := n.sent[:0]
		for _, t := range n.sent {
			if !t.over {
				kept = append(kept, t)
			}
		}
		clear(n.sent[len(kept):])
		n.sent = kept
	}
}

// fetch reads from a random offset, as a consumer would. A follower is read from too, as long as it knows of a leader: what it gives
// must stay, whoever leads next.
func (c *Cluster) fetch(m *member) {
	b := m.part.Bounds()
	if !b.Leading && b.Leader == 0 || !b.Ready {
		return
	}
	if !b.Leading {
		c.did.followed++
	}
	from := b.Start + id.Offset(c.r.Int64N(int64(b.High-b.Start)+1))
	data, _, err := m.part.Read(nil, from, 1+c.r.IntN(2000), false, partition.Follower)
	if err != nil && !m.node.dead {
		c.fail("node %d, group %d: reading at %d within [%d, %d]: %v", m.node.n, m.g, from, b.Start, b.High, err)
		return
	}
	if m.node.dead {
		return
	}
	c.did.fetches++
	c.check(c.parts[m.g].truth.Shown(int64(from), data))
}

// answer answers linearizable reads whose entries are applied.
func (c *Cluster) answer(m *member) {
	applied, high := m.group.Status().Applied, int64(m.part.Bounds().High)
	kept := m.readies[:0]
	for _, r := range m.readies {
		switch {
		case r.index > applied:
			kept = append(kept, r)
		case high < r.want:
			c.fail("node %d, group %d: a read that began when everything below %d was acknowledged sees what is below %d",
				m.node.n, m.g, r.want, high)
		}
	}
	m.readies = kept
}

// watch looks at what replicas say of themselves.
func (c *Cluster) watch() {
	for _, n := range c.nodes {
		if !n.up || n.dead {
			continue
		}
		for g, m := range n.members {
			if m == nil {
				continue
			}
			c.checkOn(n, m.group.Err())
			if b := m.part.Bounds(); b.Leading {
				c.check(c.parts[g].truth.Leads(m.id, b.Term, int64(b.High), b.Ready))
			}
		}
	}
}
