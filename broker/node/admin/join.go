package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ackline/broker/httpapi"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/address"
)

// Joined is what a node that joins must know before it has heard of the metadata: which replica of that group it is, and where the
// log of that group began.
type Joined struct {
	Replica  id.ReplicaID `json:"replica"`
	Founders []id.NodeID  `json:"founders"`
}

// knownTimeout bounds how long an addition waits until all nodes that live have heard of it, knownPoll is how often they are asked.
const (
	knownTimeout = 5 * time.Second
	knownPoll    = 20 * time.Millisecond
)

// add makes the cluster expect a node.
func (s *Server) add(ctx context.Context, r AddRequest) (a AddAnswer, err error) {
	if r.Node < 1 {
		return a, httpapi.Refuse(http.StatusBadRequest, "node %d: ids are at least 1", r.Node)
	}
	if _, _, err := address.Split(r.RaftAddr); err != nil {
		return a, httpapi.Refuse(http.StatusBadRequest, "where do the others reach node %d? %v; give host:port, such as node%d:5001", r.Node, err, r.Node)
	}
	if why := s.host.Leaderless(); why != "" {
		return a, httpapi.Refuse(http.StatusServiceUnavailable, "%s", why)
	}
	if len(s.host.Founders()) < 2 {
		return a, httpapi.Refuse(http.StatusConflict, "this is a single node, made by \"broker start\": it has no links to others and cannot get them")
	}
	n, known := s.host.Catalog().Node(r.Node)
	if known && n.Incarnation != 0 {
		return a, httpapi.Refuse(http.StatusConflict, "node %d is a node of the cluster already, at %s: choose another id, or remove that one first",
			r.Node, n.RaftAddr)
	}
	if _, err := s.propose(ctx, meta.RegisterNode{Node: meta.Node{ID: r.Node, RaftAddr: r.RaftAddr}}); err != nil {
		return a, err
	}
	// A node that does not know of it yet would refuse it, and it would end.
	s.awaitKnown(ctx, r.Node)
	var peers []string
	for _, x := range s.host.Catalog().Nodes() {
		if x.ID != r.Node && x.Incarnation != 0 {
			peers = append(peers, fmt.Sprintf("%d@%s", x.ID, x.RaftAddr))
		}
	}
	a.Node = describe(meta.Node{ID: r.Node, RaftAddr: r.RaftAddr})
	a.Next = fmt.Sprintf("start it there, with an empty data directory: broker cluster --join --node-id %d --raft-addr %s --peers %s --data-dir DIR --listen-addr ADDR",
		r.Node, r.RaftAddr, strings.Join(peers, ","))
	return a, nil
}

func (s *Server) awaitKnown(ctx context.Context, n id.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	ticker := time.NewTicker(knownPoll)
	defer ticker.Stop()
	for {
		all := true
		replies, failed := s.askAll(ctx, func(x id.NodeID) (question, bool) { return question{Known: n}, x != n })
		for _, r := range replies {
			all = all && r.Known
		}
		if all && len(failed) == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// letIn registers a node that joins, and gives it a replica of the metadata group, without which it would know nothing.
func (s *Server) letIn(ctx context.Context, from id.NodeID, n meta.Node) (j Joined, err error) {
	if n.ID != from {
		return j, fmt.Errorf("node %d asks to let node %d in", from, n.ID)
	}
	if _, known := s.host.Catalog().Node(n.ID); !known {
		return j, fmt.Errorf("the cluster does not expect a node %d: add it first", n.ID)
	}
	if _, err := s.propose(ctx, meta.RegisterNode{Node: n}); err != nil {
		return j, err
	}
	if _, err := s.propose(ctx, meta.SetMetadataNode{Node: n.ID, Member: true}); err != nil {
		return j, err
	}
	r, ok := on(s.host.Catalog().MetadataReplicas(), n.ID)
	if !ok {
		return j, fmt.Errorf("node %d was removed while it joined", n.ID)
	}
	return Joined{Replica: r.ID, Founders: s.host.Founders()}, nil
}

// Enlist asks the others to let this node in, until one has done it or ctx ends. tell hears what keeps it from it, once for each
// change.
func (s *Server) Enlist(ctx context.Context, peers []id.NodeID, self meta.Node, pause func(context.Context, int), tell func(error)) (Joined, error) {
	said := ""
	for round := 0; ; round++ {
		var last error
		for _, p := range peers {
			r, err := s.ask(ctx, p, question{Join: &self})
			if err == nil && r.Joined != nil {
				return *r.Joined, nil
			}
			last = err
		}
		if ctx.Err() != nil {
			return Joined{}, fmt.Errorf("no node lets this one in: %w; last: %w", ctx.Err(), last)
		}
		if now := fmt.Sprint(last); now != said {
			said = now
			tell(last)
		}
		pause(ctx, round)
	}
}
