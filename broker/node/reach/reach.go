// Package reach keeps which of a node's peers it reaches at the moment, to tell people whom a cluster without a majority lacks.
package reach

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"ackline/broker/id"
)

// Peers are the other nodes. Safe for concurrent use.
type Peers struct {
	addrs map[id.NodeID]string
	mu    sync.Mutex // guards away
	away  map[id.NodeID]bool
}

// New returns peers by where they listen, none of whom is reached yet.
func New(addrs map[id.NodeID]string) *Peers {
	p := &Peers{addrs: addrs, away: map[id.NodeID]bool{}}
	for n := range addrs {
		p.away[n] = true
	}
	return p
}

// Set notes whether a peer is reached. Whoever is no peer is passed over.
func (p *Peers) Set(n id.NodeID, reached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.addrs[n]; !known {
		return
	}
	if reached {
		delete(p.away, n)
	} else {
		p.away[n] = true
	}
}

// Missing lists who is not reached, empty if everybody is.
func (p *Peers) Missing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.List(slices.Sorted(maps.Keys(p.away)))
}

// List names nodes and where they listen.
func (p *Peers) List(nodes []id.NodeID) string {
	var list []string
	for _, n := range nodes {
		list = append(list, fmt.Sprintf("%d at %s", n, p.addrs[n]))
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
