// Package harm does to a node what leaves its process running: it is paused, cut off from the others, or its disk gets slow.
//
// A process that is gone is noticed by the kernel, which resets its connections. These are the failures that nobody announces: the
// connections stay open, and only the silence tells, or not even that.
package harm

import (
	"errors"
	"fmt"

	"ackline/tools/bench/disk"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/netlab/line"
	"ackline/tools/netlab/relay"
)

// Cluster is the nodes of one cluster and what lies between them.
type Cluster struct {
	target.Nodes
	Links *relay.Network // nil: nothing, so that nobody can be cut off
	Disk  disk.Slow      // how a disk gets slow
}

// Between is links between so many nodes that take as long as a relay takes, and can be cut.
func Between(nodes int) (*relay.Network, error) {
	return relay.New(nodes, func(int, int) line.Quality { return line.Quality{} }, 0)
}

// Harm does it to node i. What it returns undoes it.
func (c *Cluster) Harm(s record.IncidentSort, i int) (undo func() error, err error) {
	switch s {
	case record.Pause:
		return c.Nodes.Nodes[i].Resume, c.Nodes.Nodes[i].Pause()
	case record.Cut:
		return c.cut(i, true, true)
	case record.Mute:
		return c.cut(i, true, false)
	case record.Deaf:
		return c.cut(i, false, true)
	case record.Slow:
		return c.Disk.Down(c.Nodes.Nodes[i].PID())
	}
	return nil, fmt.Errorf("a node that is harmed by %q goes on running: want %v", s, record.IncidentSorts)
}

// cut stops what a node says, what it hears, or both.
func (c *Cluster) cut(i int, out, in bool) (func() error, error) {
	if c.Links == nil {
		return nil, errors.New("the nodes find one another directly: nothing between them can be cut")
	}
	set := func(on bool) {
		for j := range c.Nodes.Nodes {
			if j == i {
				continue
			}
			if out {
				c.Links.Cut(i, j, on)
			}
			if in {
				c.Links.Cut(j, i, on)
			}
		}
	}
	set(true)
	return func() error { set(false); return nil }, nil
}
