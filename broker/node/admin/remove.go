package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"ackline/broker/httpapi"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/placement"
)

// maxMoves bounds the replicas that one request gives another place; the next request goes on.
const maxMoves = 200

// maxNamed bounds the partitions that an answer names.
const maxNamed = 3

// remove does as much of a removal as can be done now. It is asked for again until the node is gone.
func (s *Server) remove(ctx context.Context, r RemoveRequest) (a RemoveAnswer, err error) {
	if why := s.host.Leaderless(); why != "" {
		return a, httpapi.Refuse(http.StatusServiceUnavailable, "%s", why)
	}
	cat := s.host.Catalog()
	if _, err := s.known(cat, r.Node); err != nil {
		return a, err
	}
	if r.Node == s.self && len(s.host.Founders()) > 1 {
		return a, httpapi.Refuse(http.StatusConflict, "node %d is the one that answers here: ask another node, which stays", r.Node)
	}
	moves, err := s.planMoves(cat, r)
	if err != nil {
		return a, err
	}
	for _, m := range moves[:min(len(moves), maxMoves)] {
		switch _, err := s.propose(ctx, m); {
		case err == nil:
			a.Moved++
		case !s.moved(m): // by the same request, said here or elsewhere before this one ended
			return a, err
		}
	}
	if a.Left = len(moves) - min(len(moves), maxMoves); a.Left > 0 {
		return a, nil
	}
	s.left(ctx, r.Node, &a)
	if a.Left > 0 {
		return a, nil
	}
	// The metadata's replica goes last: it is from there that the node hears what becomes of its others. Without it a node that
	// was dead meanwhile comes back, leads what it is to give up, and never learns that it is.
	if _, held := on(s.host.Catalog().MetadataReplicas(), r.Node); held {
		if _, err := s.propose(ctx, meta.SetMetadataNode{Node: r.Node}); err != nil {
			return a, err
		}
		a.Moved++
		s.left(ctx, r.Node, &a)
		if a.Left > 0 {
			return a, nil
		}
	}
	if _, err := s.propose(ctx, meta.RemoveNode{Node: r.Node}); err != nil {
		return a, err
	}
	a.Gone = true
	return a, nil
}

// planMoves gives every replica on a node another place, or says why that cannot be.
func (s *Server) planMoves(cat *meta.Catalog, r RemoveRequest) (moves []meta.ReplaceReplica, err error) {
	if err := s.checkTarget(cat, r); err != nil {
		return nil, err
	}
	if list := cat.MetadataReplicas(); len(list) == 1 && list[0].Node == r.Node {
		return nil, httpapi.Refuse(http.StatusConflict, "node %d is the last one that votes on the metadata: without it there is no cluster", r.Node)
	}
	all := slices.DeleteFunc(cat.Candidates(), func(c placement.Candidate) bool { return c.Node == r.Node })
	candidates := slices.DeleteFunc(slices.Clone(all), func(c placement.Candidate) bool {
		alive, _ := s.host.Reached(c.Node)
		return !alive
	})
	for _, t := range cat.Topics() {
		for i, p := range t.Partitions {
			old, held := on(p.Replicas, r.Node)
			if !held {
				continue
			}
			if _, _, ok := s.host.Leading(p.Group); !ok {
				return nil, httpapi.Refuse(http.StatusServiceUnavailable, "%s/%d has no leader, and without one its members cannot change: a majority of its "+
					"replicas, on nodes %v, has to be up; if their disks are lost so is what was in it, and the topic has to be deleted first",
					t.Name, i, nodesOf(p.Replicas))
			}
			to, err := choose(candidates, cat, p, r.To)
			if err != nil {
				if other, e := choose(all, cat, p, r.To); e == nil {
					return nil, httpapi.Refuse(http.StatusServiceUnavailable, "node %d could take %s/%d, and does not answer", other, t.Name, i)
				}
				return nil, httpapi.Refuse(http.StatusConflict, "%s/%d has %d replicas, on nodes %v, and %v", t.Name, i, len(p.Replicas), nodesOf(p.Replicas), err)
			}
			moves = append(moves, meta.ReplaceReplica{Group: p.Group, Old: old.ID, Node: to})
		}
	}
	return moves, nil
}

// moved tells whether a replica has another place, or its topic is gone, as of now.
func (s *Server) moved(m meta.ReplaceReplica) bool {
	return !slices.ContainsFunc(s.host.Catalog().Replicas(m.Group), func(r meta.Replica) bool { return r.ID == m.Old })
}

func (s *Server) checkTarget(cat *meta.Catalog, r RemoveRequest) error {
	if r.To == 0 {
		return nil
	}
	to, err := s.known(cat, r.To)
	if err != nil {
		return err
	}
	alive, _ := s.host.Reached(r.To)
	switch {
	case r.To == r.Node:
		return httpapi.Refuse(http.StatusBadRequest, "node %d cannot take its own place", r.Node)
	case to.Incarnation == 0:
		return httpapi.Refuse(http.StatusConflict, "node %d is expected and has not come yet: start it first, with \"broker cluster --join\"", r.To)
	case !alive:
		return httpapi.Refuse(http.StatusServiceUnavailable, "node %d does not answer: it cannot take the place of another", r.To)
	}
	return nil
}

// choose finds a place for the replica of a partition on a node that goes: on the one that was named, or where the partition has
// nothing yet, in a zone where it has nothing if there is one, with the fewest replicas.
func choose(candidates []placement.Candidate, cat *meta.Catalog, p meta.Partition, to id.NodeID) (id.NodeID, error) {
	taken := slices.Concat(p.Replicas, cat.Gone(p.Group))
	best := -1
	for i, c := range candidates {
		if _, there := on(taken, c.Node); there || to != 0 && c.Node != to {
			continue
		}
		if best < 0 || cost(c, cat, p) < cost(candidates[best], cat, p) {
			best = i
		}
	}
	switch {
	case best >= 0:
		candidates[best].Replicas++
		return candidates[best].Node, nil
	case to != 0:
		return 0, fmt.Errorf("node %d holds one of them already, or is about to give one up: remove the node instead of replacing it, so that each replica "+
			"goes where there is room", to)
	}
	return 0, errors.New("no other node that lives could hold the one that has to go: add a node first, or delete the topic")
}

// cost orders places, the best lowest.
func cost(c placement.Candidate, cat *meta.Catalog, p meta.Partition) int {
	cost := c.Replicas
	for _, r := range p.Replicas {
		if n, ok := cat.Node(r.Node); ok && n.Region == c.Region && n.Zone == c.Zone {
			cost += 1 << 32
		}
	}
	return cost
}

// left counts the replicas of a node that their groups still count on, as far as is known here.
func (s *Server) left(ctx context.Context, n id.NodeID, a *RemoveAnswer) {
	cat := s.host.Catalog()
	var there []meta.GroupReplica
	for _, t := range cat.Tombstones() {
		if t.Group != id.MetadataGroup && cat.Replicas(t.Group) == nil {
			continue // of a deleted topic
		}
		for _, r := range t.Replicas {
			if r.Node == n {
				there = append(there, meta.GroupReplica{Group: t.Group, Replica: r.ID})
			}
		}
	}
	free := map[meta.GroupReplica]bool{}
	if len(there) > 0 {
		s.Free(ctx, there, func(r meta.GroupReplica, _ id.Term) { free[r] = true })
	}
	for _, r := range there {
		if free[r] {
			continue
		}
		if a.Left++; len(a.Waiting) < maxNamed {
			name := "the metadata"
			if t, i := cat.Group(r.Group); t != nil {
				name = fmt.Sprintf("%s/%d", t.Name, i)
			}
			a.Waiting = append(a.Waiting, name)
		}
	}
}
