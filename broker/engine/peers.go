package engine

import (
	"slices"
	"sync"

	"ackline/broker/id"
	"ackline/broker/transport"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
)

// news is what happened to peers and is still to be told the groups, in order: a node that died and is back leads nothing
// any more, and groups must hear of both.
type news struct {
	mu      sync.Mutex // guards all of it
	up      map[id.NodeID]frame.Identity
	dead    []id.NodeID // sorted; replaced and never changed
	version uint64      // of dead
	queue   []event
	lost    []link.Lost
}

type kind uint8

const (
	died kind = iota
	rose
	lost  // messages to it
	muted // heartbeats to it, and with them perhaps a word of quiet that is not repeated
)

type event struct {
	node    id.NodeID
	kind    kind
	dead    []id.NodeID // as of this event
	version uint64      // of dead
}

func (n *news) init() { n.up = map[id.NodeID]frame.Identity{} }

// add needs mu.
func (n *news) add(node id.NodeID, k kind) {
	i, known := slices.BinarySearch(n.dead, node)
	switch {
	case k == died && !known:
		n.dead = slices.Insert(slices.Clone(n.dead), i, node)
		n.version++
	case k == rose && known:
		n.dead = slices.Delete(slices.Clone(n.dead), i, i+1)
		n.version++
	}
	n.queue = append(n.queue, event{node, k, n.dead, n.version})
}

// deaths returns the nodes that are dead, and which state that is.
func (n *news) deaths() ([]id.NodeID, uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead, n.version
}

func (n *news) isDead(node id.NodeID) bool {
	dead, _ := n.deaths()
	_, yes := slices.BinarySearch(dead, node)
	return yes
}

// is tells whether a node is up, as that process.
func (n *news) is(node id.NodeID, who frame.Identity) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.up[node]
	return ok && at == who
}

// Callbacks are what the transport is to call. They note what happened, for Work, and return at once.
func (e *Engine) Callbacks() transport.Callbacks {
	return transport.Callbacks{
		PeerUp: func(n id.NodeID, who frame.Identity) {
			e.hear(func(w *news) {
				if at, ok := w.up[n]; ok && at != who {
					w.add(n, died) // as another process
				}
				w.up[n] = who
				w.add(n, rose)
			})
		},
		PeerDown:       func(n id.NodeID, _ frame.Identity, _ detect.Reason) { e.down(n) },
		NewIncarnation: func(n id.NodeID, _, _ frame.Identity) { e.down(n) },
		LinkLost: func(n id.NodeID, c frame.Class) {
			switch c {
			case frame.Bulk:
				e.hear(func(w *news) { w.add(n, lost) })
			case frame.Control:
				e.hear(func(w *news) { w.add(n, muted) })
			}
		},
		Unreachable: func(_ id.NodeID, ls []link.Lost) { e.hear(func(w *news) { w.lost = append(w.lost, ls...) }) },
	}
}

func (e *Engine) down(n id.NodeID) {
	e.hear(func(w *news) {
		delete(w.up, n)
		w.add(n, died)
	})
}

func (e *Engine) hear(f func(*news)) {
	e.news.mu.Lock()
	f(&e.news)
	e.news.mu.Unlock()
	e.nudge()
}

// pass is the news that groups are being told. Its members are those that there were when it began; later ones know.
type pass struct {
	events  []event
	lost    []link.Lost
	members []*member
	next    int // of members
}

// partGroups is how many groups Work tells at a time.
const partGroups = 256

// Work tells a part of the groups what happened to peers. more says that there is more to do. When all have been told, the
// WAL is driven once. One goroutine at a time.
func (e *Engine) Work() (more bool) {
	p := &e.pass
	if p.next == len(p.members) && len(p.lost) == 0 {
		n := &e.news
		n.mu.Lock()
		p.events, p.lost = n.queue, n.lost
		n.queue, n.lost = nil, nil
		n.mu.Unlock()
		if len(p.events) == 0 && len(p.lost) == 0 {
			return false
		}
		p.next, p.members = 0, p.members[:0]
		if len(p.events) > 0 {
			p.members = e.groups.all(p.members)
		}
	}
	for range min(partGroups, len(p.lost)) {
		l := p.lost[0]
		p.lost = p.lost[1:]
		if m := e.groups.get(l.Group); m != nil && m.leads.Load() {
			m.group.ReportUnreachable(l.Replica)
		}
	}
	for _, m := range p.members[p.next:min(p.next+partGroups, len(p.members))] {
		for i := range p.events {
			m.hear(&p.events[i])
		}
		p.next++
	}
	if p.next < len(p.members) || len(p.lost) > 0 {
		e.Flush()
		return true
	}
	if len(p.events) > 0 {
		e.counters.passes.Add(1)
	}
	clear(p.members)
	p.members, p.next, p.events, p.lost = p.members[:0], 0, nil, nil
	e.Drive()
	e.news.mu.Lock()
	defer e.news.mu.Unlock()
	return len(e.news.queue) > 0 || len(e.news.lost) > 0
}

// hear tells a group of an event, if it has a replica there.
func (m *member) hear(ev *event) {
	var there [4]id.ReplicaID
	on := m.on(there[:0], ev.node)
	if len(on) == 0 {
		return
	}
	switch ev.kind {
	case lost:
		if m.leads.Load() {
			for _, r := range on {
				m.group.ReportUnreachable(r)
			}
		}
	case rose:
		m.setDead(ev.dead, ev.version)
		if m.leads.Load() {
			m.group.Wake() // whoever was started again does not know its leader
		}
	case muted:
		if m.leads.Load() {
			m.group.Wake()
		}
	case died:
		m.setDead(ev.dead, ev.version)
	}
}

// setDead tells the group which of its replicas are dead, unless it knows something newer.
func (m *member) setDead(nodes []id.NodeID, version uint64) {
	m.dying.Lock()
	defer m.dying.Unlock()
	if version < m.informed || version == 0 {
		return
	}
	m.informed = version
	var dead []id.ReplicaID
	for _, n := range nodes {
		dead = m.on(dead, n)
	}
	m.group.PeersDown(dead)
}
