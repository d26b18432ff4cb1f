package sim

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/sim/model"
)

// healing is how many units of time a cluster has to become whole once all trouble is over.
const healing = 6000

// Run goes through the whole run. The error is the first broken promise.
func (c *Cluster) Run() error {
	for range c.cfg.Steps {
		c.step()
		if c.r.IntN(20) == 0 {
			c.disturb()
		}
		if c.cfg.Full {
			c.flood()
		}
		if c.r.IntN(100) == 0 {
			c.sweep()
		}
		if c.err != nil {
			return c.err
		}
	}
	return c.settle()
}

// settle ends all trouble, waits until the cluster is whole, and compares.
func (c *Cluster) settle() error {
	c.heal()
	for range healing {
		c.step()
		if c.now%50 == 0 {
			c.sweep()
		}
		if c.err != nil {
			return c.err
		}
		if c.now%20 == 0 && c.whole() == "" {
			c.verify()
			return c.err
		}
	}
	c.fail("not whole after %d units of time without trouble: %s", healing, c.whole())
	return c.err
}

func (c *Cluster) heal() {
	c.note("all trouble ends")
	c.calm = true
	c.net.Heal()
	for _, n := range c.nodes {
		n.cut, n.back = 0, 0
		n.paused = min(n.paused, c.now)
		if !n.up {
			c.boot(n)
		}
		c.checkOn(n, n.drain())
		for _, m := range n.members {
			if m != nil {
				m.group.PeersDown(nil)
				m.group.Wake()
			}
		}
	}
}

// leader returns who leads a group in the newest term.
func (c *Cluster) leader(g int) (l *member) {
	for _, n := range c.nodes {
		if m := n.members[g]; m != nil && n.up && m.group.Status().IsLead && (l == nil || m.group.Status().Term > l.group.Status().Term) {
			l = m
		}
	}
	return l
}

// whole says what is not as it should be yet, "" if nothing is.
func (c *Cluster) whole() string {
	for _, p := range c.producers {
		if !p.Idle() || p.Done < 10 {
			return fmt.Sprintf("producer %d has %d batches acknowledged and waits", p.ID, p.Done)
		}
	}
	for g, p := range c.parts {
		l := c.leader(g)
		if l == nil {
			return fmt.Sprintf("group %d has no leader", g)
		}
		want := l.group.Status()
		for i, n := range c.nodes {
			m := n.members[g]
			if m == nil || !l.belongs(p.hosted[i]) {
				continue
			}
			if s := m.group.Status(); s.Applied != want.Last || s.Leader != l.id {
				return fmt.Sprintf("group %d: replica %d has applied %d of %d and follows %d, %d leads", g, m.id, s.Applied, want.Last, s.Leader, l.id)
			}
		}
		if l.members.Joint() {
			return fmt.Sprintf("group %d is in a joint configuration", g)
		}
	}
	return ""
}

// verify compares everything that is left with the truth.
func (c *Cluster) verify() {
	for _, p := range c.parts {
		_, err := p.truth.Settle()
		c.check(err)
	}
	for _, n := range c.nodes {
		c.save(n)
	}
	for g, p := range c.parts {
		l := c.leader(g)
		start := l.part.Bounds().Start
		if high := int64(l.part.Bounds().High); high != p.truth.End() {
			c.fail("group %d: the high watermark is %d, the log ends at %d", g, high, p.truth.End())
		}
		c.readAll(l, start)
		for i, n := range c.nodes {
			if m := n.members[g]; m != nil && l.belongs(p.hosted[i]) {
				c.compare(m, start)
			}
		}
	}
}

// readAll reads a whole partition as a consumer.
func (c *Cluster) readAll(m *member, at id.Offset) {
	end := id.Offset(c.parts[m.g].truth.End())
	for at < end && c.err == nil {
		data, _, err := m.part.Read(nil, at, 1<<12, false, partition.Leader)
		c.check(err)
		next, err := c.parts[m.g].truth.Read(int64(at), data)
		c.check(err)
		if next <= int64(at) && c.err == nil {
			c.fail("group %d: nothing to read at %d, the log ends at %d", m.g, at, end)
		}
		at = id.Offset(next)
	}
}

// compare reads a replica's segments, entry by entry.
func (c *Cluster) compare(m *member, start id.Offset) {
	h, at, read := m.part.History(), int64(-1), 0
	for lo, end := h.FirstIndex(), h.LastIndex()+1; lo < end; {
		es, err := h.Entries(lo, end, 1<<20)
		if err != nil || len(es) == 0 {
			c.fail("node %d, group %d: the segments have %d entries from %d, they end at %d: %v", m.node.n, m.g, len(es), lo, end-1, err)
			return
		}
		for i := range es {
			if es[i].Type != replica.EntryNormal || len(es[i].Data) < kwire.BatchHeaderBytes {
				continue // no records
			}
			if at < 0 {
				at = kwire.PeekBatch(es[i].Data).Base
			}
			if at, err = c.parts[m.g].truth.Read(at, es[i].Data); err != nil {
				c.fail("node %d: %v", m.node.n, err)
				return
			}
			read += len(es[i].Data)
		}
		lo += id.Index(len(es))
	}
	if end := int64(c.parts[m.g].truth.End()); at != end && end > int64(start) {
		c.fail("node %d, group %d: the segments end at offset %d after %d bytes, the log at %d", m.node.n, m.g, at, read, end)
	}
}

// Hash is of everything that happened.
func (c *Cluster) Hash() uint64 { return c.trace.Sum64() }

// Counts are of all batches.
func (c *Cluster) Counts() (all model.Counts) {
	for _, p := range c.parts {
		n, _ := p.truth.Settle()
		all.Made, all.Acked, all.Void, all.Unknown = all.Made+n.Made, all.Acked+n.Acked, all.Void+n.Void, all.Unknown+n.Unknown
	}
	return all
}
