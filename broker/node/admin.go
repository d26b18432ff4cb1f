package node

import (
	"context"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/admin"
	"ackline/broker/replica"
)

// adminHost is the node as package admin sees it.
type adminHost struct {
	*Node
	began time.Time
}

var _ admin.Host = adminHost{}

// Catalog implements admin.Host.
func (h adminHost) Catalog() *meta.Catalog { return h.meta.Catalog() }

// Settled implements admin.Host.
func (h adminHost) Settled() bool { return h.settled.Load() }

// Leaderless implements admin.Host.
func (h adminHost) Leaderless() string { return h.leaderless() }

// Leading implements admin.Host.
func (h adminHost) Leading(g id.GroupID) (id.NodeID, id.Term, bool) {
	l, ok := h.engine.Leader(g)
	return l.Node, l.Term, ok
}

// Reached implements admin.Host.
func (h adminHost) Reached(n id.NodeID) (bool, time.Time) {
	if n == h.dir.Node || h.reach == nil {
		return n == h.dir.Node, h.began
	}
	reached, since, _ := h.reach.State(n)
	return reached, since
}

// RoundTrips implements admin.Host.
func (h adminHost) RoundTrips() (list []admin.RoundTrip) {
	if h.links == nil {
		return nil
	}
	for _, p := range h.links.Stats().Peers {
		if p.Up && p.RTT.Samples > 0 {
			list = append(list, admin.RoundTrip{From: h.dir.Node, To: p.Peer, SmoothedUs: p.RTT.Smoothed.Microseconds(),
				DeviationUs: p.RTT.Deviation.Microseconds(), LeastUs: p.RTT.Least.Microseconds()})
		}
	}
	return list
}

// Group implements admin.Host.
func (h adminHost) Group(g id.GroupID) *replica.Group { return h.engine.Group(g) }

// Founders implements admin.Host.
func (h adminHost) Founders() []id.NodeID {
	select {
	case <-h.formed:
		return h.firstNodes()
	default:
		return nil // nobody knows yet
	}
}

// Propose implements admin.Host.
func (h adminHost) Propose(ctx context.Context, c meta.Command) (meta.Result, error) {
	return h.meta.Propose(ctx, c)
}

// Ask implements admin.Host.
func (h adminHost) Ask(ctx context.Context, n id.NodeID, question []byte) ([]byte, error) {
	return h.links.Call(ctx, n, kindAdmin, question)
}
