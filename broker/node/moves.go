package node

import (
	"context"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
)

// moveEvery lies between two looks at what does not follow the metadata yet. A leader's death gives a thousand groups others at once:
// they are looked at together.
const moveEvery = 50 * time.Millisecond

// lookAgain has moveLoop look at everything. It may be called with any lock held.
func (n *Node) lookAgain() {
	select {
	case n.look <- struct{}{}:
	default:
	}
}

// moveLoop makes the links, and the members of the groups that this node leads, follow the metadata. It sleeps while they do.
func (n *Node) moveLoop() {
	defer n.loops.Done()
	ctx, cancel := n.running()
	defer cancel()
	var due, balance <-chan time.Time
	all, after := false, time.Duration(n.cfg.Cluster.BalanceAfterS)*time.Second
	if n.placer != nil {
		after = 0
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.look:
			if all = true; due == nil {
				due = time.After(moveEvery)
			}
			if balance == nil && after > 0 {
				balance = time.After(after)
			}
			continue
		case now := <-balance:
			balance = nil
			if again := n.mover.Balance(after, now); again > 0 {
				balance = time.After(again)
			}
			n.engine.Drive()
			continue
		case trips := <-n.placer.measured():
			n.mover.Place(n.placer.decider, time.Now(), trips, n.placer.origins.Take())
			n.engine.Drive()
			continue
		case <-due:
		}
		n.meet()
		more := n.mover.Pass(all)
		all, due = false, nil
		if n.release(ctx) || more {
			due = time.After(moveEvery)
		}
		n.engine.Drive()
	}
}

// release finds out which of this node's replicas that belong elsewhere by now their groups do without. more: some do not yet.
func (n *Node) release(ctx context.Context) (more bool) {
	var list []meta.GroupReplica
	for _, r := range n.hosts.All() {
		if r.Going.Load() && !r.Free.Load() {
			list = append(list, meta.GroupReplica{Group: r.ID, Replica: r.Self})
		}
	}
	left := len(list)
	if left > 0 {
		n.admin.Free(ctx, list, func(x meta.GroupReplica, term id.Term) {
			if r := n.hosts.Get(x.Group); r != nil && r.Self == x.Replica && term >= r.Group.Status().Term {
				r.Free.Store(true)
				n.events.Add(r.ID)
				left--
			}
		})
	}
	return left > 0
}

// meet makes the peers those nodes that the metadata names. Where one of the first start is reached, its configuration says.
func (n *Node) meet() {
	if n.links == nil {
		return
	}
	cat, known := n.meta.Catalog(), n.reach.All()
	configured := map[id.NodeID]bool{}
	for _, p := range n.cfg.Cluster.Peers {
		configured[id.NodeID(p.ID)] = true
	}
	for _, p := range cat.Nodes() {
		if _, ok := known[p.ID]; p.ID != n.dir.Node && (!ok || !configured[p.ID]) {
			n.reach.Add(p.ID, p.RaftAddr)
			n.links.AddPeer(p.ID, p.RaftAddr)
		}
	}
	if !n.settled.Load() {
		return // who is not named may be new
	}
	for p := range known {
		if _, ok := cat.Node(p); !ok && replicaOn(cat.MetadataReplicas(), p) == 0 {
			n.log.Info("a node was removed from the cluster", "node", p)
			n.forget(p)
		}
	}
}
