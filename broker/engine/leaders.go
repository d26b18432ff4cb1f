package engine

import (
	"sync"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// maxAnnounced bounds the groups whose leaders peers have announced.
const maxAnnounced = 1 << 20

// announced are the leaders that peers announce: soft state. The highest term wins.
type announced struct {
	mu sync.RWMutex // guards m
	m  map[id.GroupID]announcement
}

type announcement struct {
	node    id.NodeID
	who     frame.Identity // the process that said so
	term    id.Term
	replica id.ReplicaID
}

func (a *announced) take(from id.NodeID, who frame.Identity, ls []frame.Leader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range ls {
		known, ok := a.m[l.Group]
		if ok && known.term > l.Term || !ok && len(a.m) >= maxAnnounced {
			continue
		}
		a.m[l.Group] = announcement{from, who, l.Term, l.Replica}
	}
}

func (a *announced) get(g id.GroupID) (announcement, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	l, ok := a.m[g]
	return l, ok
}

// Forget drops what peers announced of a group that exists nowhere any more.
func (e *Engine) Forget(g id.GroupID) {
	e.announced.mu.Lock()
	defer e.announced.mu.Unlock()
	delete(e.announced.m, g)
}

// Alive tells whether a node is not known to be dead.
func (e *Engine) Alive(n id.NodeID) bool { return !e.news.isDead(n) }

// Leader is who leads a group.
type Leader struct {
	Node    id.NodeID
	Replica id.ReplicaID
	Term    id.Term
}

// Leader tells who leads a group, here or elsewhere, as far as this node knows: what its own replica says and what peers
// announce, the higher term of both. It is false if nobody is known, or who is known is dead.
func (e *Engine) Leader(g id.GroupID) (Leader, bool) {
	var best Leader
	local := false
	if m := e.groups.get(g); m != nil {
		m.mu.Lock()
		best = Leader{Replica: m.leader, Term: m.term}
		m.mu.Unlock()
		switch {
		case best.Replica == m.self:
			best.Node, local = e.cfg.Node, true
		case best.Replica != 0:
			best.Node, local = m.nodeOf(best.Replica)
			local = local && !e.news.isDead(best.Node)
		}
	}
	said, ok := e.announced.get(g)
	if ok && (said.term > best.Term || said.term == best.Term && !local) && e.news.is(said.node, said.who) {
		return Leader{said.node, said.replica, said.term}, true
	}
	if ok && said.term > best.Term {
		return Leader{}, false // whoever was elected last is dead
	}
	return best, local
}
