package founding

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/transport/frame"
)

// Admit says why a node's process may not talk to this one, for what the metadata and the roster know; nil: it may. It is for
// the handshake of the links between nodes. settled: the metadata includes everything that was committed before this node started; if
// it does not, a node that it does not name may be new, and is let in. A single node that does not know of another may be behind, so
// that refusal has a reason of its own.
func Admit(c *meta.Catalog, settled bool, r datadir.Roster, n id.NodeID, inc id.Incarnation) error {
	registered, known := c.Node(n)
	voter := slices.ContainsFunc(c.MetadataReplicas(), func(m meta.Replica) bool { return m.Node == n })
	switch {
	case known && registered.Incarnation != 0:
		if registered.Incarnation != inc {
			return fmt.Errorf("%s", emptied(n))
		}
	case known: // expected, and here it is
	case c.ClusterID() != "" && !voter && settled:
		text := fmt.Sprintf("node %d is not a node of the cluster: it was removed, or never added (\"broker admin add\" does that; a node that was removed "+
			"needs an empty data directory then)", n)
		return &frame.RefusedError{Reason: frame.NoMember, Text: text}
	case len(r) > 0 && r.Incarnation(n) != 0 && r.Incarnation(n) != inc:
		return fmt.Errorf("%s", emptied(n))
	}
	return nil
}

// Unregistered lists the nodes with a replica of the metadata group that the catalog lacks: until it has them a topic cannot have as
// many replicas as there are nodes. A node of the first start registers then, for ever; one that comes later has such a replica only
// once it has registered, and one that was removed has none any more. first are the nodes of a cluster that is not founded yet.
func Unregistered(c *meta.Catalog, first []id.NodeID) (missing []id.NodeID) {
	if placed := c.MetadataReplicas(); len(placed) > 0 {
		first = nil
		for _, r := range placed {
			first = append(first, r.Node)
		}
	}
	for _, n := range first {
		if _, ok := c.Node(n); !ok {
			missing = append(missing, n)
		}
	}
	return missing
}

// Run asks until the cluster is formed, or ctx ends, or it cannot be. call sends a message to a node, whose Answer it returns;
// its errors are tried again. pause waits between rounds; tell hears, once for each change, who is waited for.
func (f *Founder) Run(ctx context.Context, call func(ctx context.Context, to id.NodeID, b []byte) ([]byte, error),
	pause func(ctx context.Context, round int), tell func(waiting []id.NodeID, last error)) error {
	var told []id.NodeID
	for round := 0; ; round++ {
		var last error
		for _, n := range f.Waiting() {
			b, err := call(ctx, n, f.Message())
			if err == nil {
				if err := f.Hear(n, b); err != nil {
					return err
				}
				continue
			}
			last = fmt.Errorf("node %d: %w", n, err)
		}
		waiting := f.Waiting()
		if len(waiting) == 0 {
			return nil
		}
		if err := f.final(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the cluster is not formed, all of its nodes must be up once: nodes %v did not answer (%w); last: %w", waiting, ctx.Err(), last)
		}
		if !slices.Equal(waiting, told) {
			told = waiting
			tell(waiting, last)
		}
		pause(ctx, round)
	}
}

// Pause waits longer from round to round, up to half a second.
func Pause(ctx context.Context, round int) {
	t := time.NewTimer(min(20*time.Millisecond<<min(round, 10), 500*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
