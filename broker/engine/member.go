package engine

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/transport/frame"
)

// maxLearned bounds the replicas of a group that are known only because they sent something.
const maxLearned = 64

// member is one group on this node. It is the group's Sender and Host, so most methods run with the group's lock held.
type member struct {
	e        *Engine
	id       id.GroupID
	self     id.ReplicaID
	group    *replica.Group
	host     replica.Host // may be nil
	store    func(replica.Snapshot, io.Reader) ([]byte, error)
	forwards bool

	// where is all that is known of where replicas are: placed, those before them that the configuration still names, and
	// those that were heard of. It is replaced, under mu, and never changed.
	where atomic.Pointer[[]Replica]
	leads atomic.Bool // written under the group's lock

	mu      sync.Mutex // guards the next five
	placed  []Replica
	members membership.Members
	term    id.Term
	leader  id.ReplicaID
	stopped bool

	dying    sync.Mutex // held while the group is told who is dead; guards informed
	informed uint64     // version of the deaths that the group was told last

	slot int  // in ticks.active, -1 when it is not there; guarded by ticks.mu
	gone bool // never to be ticked again; guarded by ticks.mu

	receiving sync.Mutex // held while a snapshot is received
}

// nodeOf returns where a replica is.
func (m *member) nodeOf(r id.ReplicaID) (id.NodeID, bool) {
	for _, w := range *m.where.Load() {
		if w.ID == r {
			return w.Node, true
		}
	}
	return 0, false
}

// on appends to dst the other replicas that are on a node.
func (m *member) on(dst []id.ReplicaID, n id.NodeID) []id.ReplicaID {
	for _, w := range *m.where.Load() {
		if w.Node == n && w.ID != m.self {
			dst = append(dst, w.ID)
		}
	}
	return dst
}

// from tells whether a replica may be on a node, and remembers it if it was not known.
func (m *member) from(n id.NodeID, r id.ReplicaID) bool {
	if at, ok := m.nodeOf(r); ok {
		return at == n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	where := *m.where.Load()
	if len(where) < len(m.placed)+maxLearned {
		where = append(slices.Clone(where), Replica{n, r})
		m.where.Store(&where)
	}
	return true
}

// setPlaced takes the metadata's word. Of those that were known and that it does not name, those in the configuration
// stay: they must hear of their removal.
func (m *member) setPlaced(placed []Replica) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.placed = slices.Clone(placed)
	m.join()
}

// join makes where anew. Needs mu.
func (m *member) join() {
	where := slices.Clone(m.placed)
	if before := m.where.Load(); before != nil {
		for _, w := range *before {
			named := slices.Contains(m.members.Voters, w.ID) || slices.Contains(m.members.Outgoing, w.ID) || slices.Contains(m.members.Learners, w.ID)
			if named && !slices.ContainsFunc(where, func(x Replica) bool { return x.ID == w.ID }) {
				where = append(where, w)
			}
		}
	}
	m.where.Store(&where)
}

// Send implements replica.Sender.
func (m *member) Send(_ id.GroupID, ms []pb.Message) {
	for i := 0; i < len(ms); {
		j := i + 1
		for j < len(ms) && ms[j].To == ms[i].To {
			j++
		}
		if n, ok := m.nodeOf(id.ReplicaID(ms[i].To)); ok && m.e.links != nil {
			m.e.links.Enqueue(n, m.id, ms[i:j])
		} else {
			m.e.counters.unroutable.Add(uint64(j - i))
		}
		i = j
	}
}

// Ticks implements replica.Host.
func (m *member) Ticks(g id.GroupID, needed bool) {
	m.e.ticks.set(m, needed, m.e.nudge)
	if m.host != nil {
		m.host.Ticks(g, needed)
	}
}

// Leader implements replica.Host.
func (m *member) Leader(g id.GroupID, s replica.Status) {
	m.mu.Lock()
	m.term, m.leader = s.Term, s.Leader
	if s.Stopped && !m.stopped {
		m.stopped = true
		m.e.counters.stopped.Add(1)
	}
	m.mu.Unlock()
	if led := m.leads.Swap(s.IsLead); led != s.IsLead {
		m.e.lead(m, s)
	}
	if m.host != nil {
		m.host.Leader(g, s)
	}
}

// lead announces that a member leads, or does so no more.
func (e *Engine) lead(m *member, s replica.Status) {
	if s.IsLead {
		e.counters.led.Add(1)
		if e.links != nil {
			e.links.Announce(frame.Leader{Group: m.id, Term: s.Term, Replica: m.self})
		}
		return
	}
	e.counters.led.Add(-1)
	if e.links != nil {
		e.links.Withdraw(m.id)
	}
	e.lookAgain()
}

// Configured implements replica.Host.
func (m *member) Configured(g id.GroupID, at id.Index, ms membership.Members) {
	m.mu.Lock()
	m.members = ms
	m.join()
	m.mu.Unlock()
	if m.host != nil {
		m.host.Configured(g, at, ms)
	}
}
