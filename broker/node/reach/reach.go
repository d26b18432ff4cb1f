// Package reach keeps which of a node's peers it reaches at the moment, and since when: to tell people whom a cluster without a
// majority lacks, and how its nodes are.
package reach

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"ackline/broker/id"
)

// Peers are the other nodes. Safe for concurrent use.
type Peers struct {
	mu      sync.Mutex // guards all that follows
	m       map[id.NodeID]state
	unknown time.Time // when it began that a node whose metadata names nobody is refused by most; zero: it is not
}

// hearsay is how long that may last for a node that was let in a moment ago: whoever let it in has told the others, and they have not
// all heard.
const hearsay = 3 * time.Second

type state struct {
	addr    string
	reached bool
	since   time.Time // zero: it was not reached yet
	refused bool      // by it, since it was reached last
}

// New returns peers by where they listen, none of whom is reached yet.
func New(addrs map[id.NodeID]string) *Peers {
	p := &Peers{m: map[id.NodeID]state{}}
	for n, addr := range addrs {
		p.Add(n, addr)
	}
	return p
}

// Add makes a node a peer, or corrects where it listens.
func (p *Peers) Add(n id.NodeID, addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.m[n]
	s.addr = addr
	p.m[n] = s
}

// Remove forgets a peer.
func (p *Peers) Remove(n id.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, n)
}

// Set notes whether a peer is reached, from now on. Whoever is no peer is passed over.
func (p *Peers) Set(n id.NodeID, reached bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, known := p.m[n]; known {
		p.m[n] = state{s.addr, reached, now, s.refused && !reached}
		if reached {
			p.unknown = time.Time{}
		}
	}
}

// Refused notes that a peer does not know this node as a member of the cluster, and calls end once it is sure that it is none. It is
// told of the same refusal once.
func (p *Peers) Refused(by id.NodeID, expected func(id.NodeID) (known bool, with id.Incarnation), end func()) {
	p.refusedBy(by)
	p.judge(expected, end)
}

func (p *Peers) judge(expected func(id.NodeID) (known bool, with id.Incarnation), end func()) {
	switch most, again := p.denied(expected, time.Now()); {
	case most:
		end()
	case again > 0:
		time.AfterFunc(again, func() { p.judge(expected, end) })
	}
}

func (p *Peers) refusedBy(by id.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, known := p.m[by]; known {
		s.refused = true
		p.m[by] = s
	}
}

// denied tells whether most peers say that this node is no member, without having been reached since. Of peers that are configured the
// cluster may have done without for long, and their silence says nothing: those that this node's own metadata names are asked for, or
// all if it names none. expected says whom it names. A node whose metadata names none may be about to join, and most have to say so
// for a while; again, if not 0, is when to ask once more.
func (p *Peers) denied(expected func(id.NodeID) (known bool, with id.Incarnation), now time.Time) (most bool, again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all, named tally
	for n, s := range p.m {
		all.add(s.refused)
		if known, _ := expected(n); known {
			named.add(s.refused)
		}
	}
	switch {
	case named.of > 0:
		return named.most(), 0
	case !all.most():
		p.unknown = time.Time{}
		return false, 0
	case p.unknown.IsZero():
		p.unknown = now
	}
	again = max(0, hearsay-now.Sub(p.unknown))
	return again == 0, again
}

// tally counts peers, and how many of them refuse.
type tally struct{ refuse, of int }

func (t *tally) add(refuses bool) {
	t.of++
	if refuses {
		t.refuse++
	}
}

func (t *tally) most() bool { return 2*t.refuse > t.of }

// State tells whether a peer is reached, and since when that is so; the zero time for one that never was. It is false for whoever
// is no peer.
func (p *Peers) State(n id.NodeID) (reached bool, since time.Time, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.m[n]
	return s.reached, s.since, known
}

// All lists the peers and where they listen.
func (p *Peers) All() map[id.NodeID]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[id.NodeID]string, len(p.m))
	for n, s := range p.m {
		all[n] = s.addr
	}
	return all
}

// Missing lists who is not reached, empty if everybody is.
func (p *Peers) Missing() string {
	p.mu.Lock()
	var away []id.NodeID
	for n, s := range p.m {
		if !s.reached {
			away = append(away, n)
		}
	}
	p.mu.Unlock()
	slices.Sort(away)
	return p.List(away)
}

// List names nodes and where they listen.
func (p *Peers) List(nodes []id.NodeID) string {
	all := p.All()
	var list []string
	for _, n := range nodes {
		list = append(list, fmt.Sprintf("%d at %s", n, all[n]))
	}
	return strings.Join(list, ", ")
}

// Own is where other nodes are told to reach a node: at the port that it has got, on the host that was configured; on the host that
// clients are told if it listens on all of them.
func Own(listened, configured, advertised string) string {
	host, port, err := net.SplitHostPort(listened)
	if name, _, e := net.SplitHostPort(configured); e == nil && name != "" && err == nil {
		host = name
	}
	if net.ParseIP(host).IsUnspecified() {
		host, _, _ = net.SplitHostPort(advertised)
	}
	return net.JoinHostPort(host, port)
}
