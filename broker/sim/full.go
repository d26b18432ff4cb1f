package sim

import (
	"ackline/broker/id"
	"ackline/broker/wal"
)

// What fills a ring, beside the groups whose promises are checked, is one that is never led: its entries are never
// committed, so no checkpoint frees them.
const unled id.GroupID = 99

// unledEntry is the size of its entries, of which each batch takes one.
const unledEntry = batchBytes - 1<<10

// filler adds entries of that group.
type filler struct{ at id.Index }

func (f *filler) Collect(b *wal.Batch) {
	b.Entries(unled, 1, []wal.Entry{{Index: f.at, Term: 1, Data: make([]byte, unledEntry)}})
}
func (f *filler) Durable(id.LSN) {}

// fill makes the ring too full for entries.
func (n *node) fill() {
	for used, usable := n.wal.Usage(); used <= usable && !n.dead; used, usable = n.wal.Usage() {
		n.wal.Signal(&filler{n.wal.Last(unled) + 1})
		n.wal.Drive()
	}
	n.c.did.filled++
	n.c.note("the ring of node %d is full", n.n)
}

// drain ends that.
func (n *node) drain() error {
	if _, ok := n.wal.State(unled); !ok {
		return nil
	}
	n.wal.SignalCheckpoint(tombstone(unled))
	n.wal.Drive()
	n.wal.Forget(unled)
	n.c.note("the ring of node %d is not full any more", n.n)
	return n.wal.Reclaim()
}

// full tells whether entries have to wait.
func (n *node) full() bool {
	used, usable := n.wal.Usage()
	return used > usable
}

// flood fills and drains rings.
func (c *Cluster) flood() {
	n := c.nodes[c.floods.IntN(len(c.nodes))]
	if c.floods.IntN(40) > 0 || !n.up || n.dead || n.paused > c.now {
		return
	}
	if _, is := n.wal.State(unled); is {
		c.checkOn(n, n.drain())
	} else {
		n.fill()
	}
	c.reap(n)
}
