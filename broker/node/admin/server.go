package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"ackline/broker/httpapi"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/reassign"
	"ackline/broker/replica"
)

// Host is the node that a Server runs on.
type Host interface {
	// Catalog is the metadata as of what the node has applied; settled, that this includes all that was committed before it started.
	Catalog() *meta.Catalog
	Settled() bool
	// Leaderless says why nothing can be decided at the moment, "" if something can.
	Leaderless() string
	// Leading tells who leads a group, as far as the node knows.
	Leading(g id.GroupID) (id.NodeID, id.Term, bool)
	// Reached tells whether a node lives, and since when that is so.
	Reached(n id.NodeID) (alive bool, since time.Time)
	// RoundTrips is what the node measured of each that lives.
	RoundTrips() []RoundTrip
	// Group returns a group's replica on this node, nil if there is none.
	Group(g id.GroupID) *replica.Group
	// Founders are the nodes that the cluster began with.
	Founders() []id.NodeID
	// Propose carries a command to the metadata group.
	Propose(ctx context.Context, c meta.Command) (meta.Result, error)
	// Ask calls Answer on another node.
	Ask(ctx context.Context, n id.NodeID, question []byte) ([]byte, error)
}

// Server answers operators, and the Servers of other nodes.
type Server struct {
	self id.NodeID
	host Host
}

// New returns a node's server.
func New(self id.NodeID, h Host) *Server { return &Server{self: self, host: h} }

// askTimeout bounds how long another node is waited for where the answer can do without it.
const askTimeout = 2 * time.Second

// Actions are the requests, for httpapi.
func (s *Server) Actions() []httpapi.Action {
	return []httpapi.Action{
		{Method: http.MethodGet, Path: "/admin/status", Do: func(ctx context.Context, _ []byte) (any, error) { return s.status(ctx), nil }},
		{Method: http.MethodGet, Path: "/admin/leaders", Do: func(context.Context, []byte) (any, error) { return s.leaders(), nil }},
		{Method: http.MethodPost, Path: "/admin/transfer", Do: taking(s.transfer)},
		{Method: http.MethodPost, Path: "/admin/add", Do: taking(s.add)},
		{Method: http.MethodPost, Path: "/admin/remove", Do: taking(s.remove)},
	}
}

// taking decodes a request.
func taking[R, A any](do func(context.Context, R) (A, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		var r R
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, httpapi.Refuse(http.StatusBadRequest, "the request is not what is asked for: %v", err)
		}
		return do(ctx, r)
	}
}

// question is what one Server asks another; one of the fields is set. JSON, since it is asked by hand and a few times.
type question struct {
	Report bool                `json:"report,omitempty"` // how are the groups that you lead?
	Trips  bool                `json:"trips,omitempty"`  // how far are the others?
	Hand   []hand              `json:"hand,omitempty"`   // let others lead these
	Free   []meta.GroupReplica `json:"free,omitempty"`   // which of these do you know that their groups do not count on any more?
	Known  id.NodeID           `json:"known,omitempty"`  // do you know of this node?
	Join   *meta.Node          `json:"join,omitempty"`   // let me in
}

// hand is a lead that another replica is to have.
type hand struct {
	Group id.GroupID   `json:"group"`
	To    id.ReplicaID `json:"to"`
}

// reply is the answer to a question.
type reply struct {
	Behind []behind    `json:"behind,omitempty"`
	Trips  []RoundTrip `json:"trips,omitempty"`
	Errors []string    `json:"errors,omitempty"` // of Hand, one each, "" for what was begun
	Free   []freed     `json:"free,omitempty"`
	Known  bool        `json:"known,omitempty"`
	Joined *Joined     `json:"joined,omitempty"`
}

// Answer answers another node's Server.
func (s *Server) Answer(ctx context.Context, from id.NodeID, b []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(b, &q); err != nil {
		return nil, fmt.Errorf("admin: node %d: %w", from, err)
	}
	r := s.reply(q)
	if q.Join != nil {
		joined, err := s.letIn(ctx, from, *q.Join)
		if err != nil {
			return nil, err
		}
		r.Joined = &joined
	}
	return json.Marshal(r)
}

func (s *Server) reply(q question) (r reply) {
	if q.Report {
		r.Behind = s.behind()
	}
	if q.Trips {
		r.Trips = s.host.RoundTrips()
	}
	for _, h := range q.Hand {
		r.Errors = append(r.Errors, s.hand(h))
	}
	r.Free = s.free(q.Free)
	_, r.Known = s.host.Catalog().Node(q.Known)
	return r
}

// free returns which of some replicas this node, as the leader of their groups, knows to be out of these for good.
func (s *Server) free(list []meta.GroupReplica) (out []freed) {
	for _, r := range list {
		if term, gone := reassign.Gone(s.host.Group(r.Group), r.Replica); gone {
			out = append(out, freed{r, term})
		}
	}
	return out
}

// freed is a replica that is out of its group, as of a term.
type freed struct {
	meta.GroupReplica
	Term id.Term `json:"term"`
}

// Free asks whoever leads the groups of some replicas which of them are out of their groups, and calls gone for each.
func (s *Server) Free(ctx context.Context, list []meta.GroupReplica, gone func(meta.GroupReplica, id.Term)) {
	by := map[id.NodeID][]meta.GroupReplica{}
	for _, r := range list {
		if leader, _, ok := s.host.Leading(r.Group); ok {
			by[leader] = append(by[leader], r)
		}
	}
	replies, _ := s.askAll(ctx, func(n id.NodeID) (question, bool) { return question{Free: by[n]}, len(by[n]) > 0 })
	for _, r := range replies {
		for _, f := range r.Free {
			gone(f.GroupReplica, f.Term)
		}
	}
}

// ask puts a question to a node, which may be this one.
func (s *Server) ask(ctx context.Context, n id.NodeID, q question) (r reply, err error) {
	if n == s.self {
		return s.reply(q), nil
	}
	b, err := json.Marshal(q)
	if err != nil {
		return r, fmt.Errorf("admin: %w", err)
	}
	if b, err = s.host.Ask(ctx, n, b); err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// askAll puts a question to every node that lives, at the same time. failed has those that did not answer.
func (s *Server) askAll(ctx context.Context, q func(id.NodeID) (question, bool)) (all map[id.NodeID]reply, failed map[id.NodeID]error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all, failed = map[id.NodeID]reply{}, map[id.NodeID]error{}
	var mu sync.Mutex // guards both
	var wg sync.WaitGroup
	for _, n := range s.host.Catalog().Nodes() {
		alive, _ := s.host.Reached(n.ID)
		if !alive {
			continue
		}
		ask, wanted := q(n.ID)
		if !wanted {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := s.ask(ctx, n.ID, ask)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[n.ID] = err
			} else {
				all[n.ID] = r
			}
		}()
	}
	wg.Wait()
	return all, failed
}

// known refuses a node that is none. Who was started a moment ago cannot tell, and must not: whoever removes a node takes it for done
// when there is none.
func (s *Server) known(cat *meta.Catalog, n id.NodeID) (meta.Node, error) {
	node, ok := cat.Node(n)
	if ok {
		return node, nil
	}
	settled := s.host.Settled()
	now := s.host.Catalog() // as of when it was settled, if it is
	if _, late := now.Node(n); late || !settled {
		return node, httpapi.Refuse(http.StatusServiceUnavailable, "node %d, which answers here, was just started and has not heard yet whether there is "+
			"a node %d: ask again, or another node", s.self, n)
	}
	var ids []id.NodeID
	for _, x := range now.Nodes() {
		ids = append(ids, x.ID)
	}
	return node, httpapi.Refuse(http.StatusNotFound, "there is no node %d: the cluster has %v", n, ids)
}

// propose carries a command to the metadata group, and makes a refusal one for the operator.
func (s *Server) propose(ctx context.Context, c meta.Command) (meta.Result, error) {
	result, err := s.host.Propose(ctx, c)
	if err != nil {
		why := err.Error()
		if more := s.host.Leaderless(); more != "" {
			why = more
		}
		return result, httpapi.Refuse(http.StatusServiceUnavailable, "%s", why)
	}
	if result.Refused != nil {
		return result, httpapi.Refuse(http.StatusConflict, "%s", result.Refused.Message)
	}
	return result, nil
}

func nodesOf(list []meta.Replica) []id.NodeID {
	out := make([]id.NodeID, len(list))
	for i, r := range list {
		out[i] = r.Node
	}
	return out
}

func on(list []meta.Replica, n id.NodeID) (meta.Replica, bool) {
	i := slices.IndexFunc(list, func(r meta.Replica) bool { return r.Node == n })
	if i < 0 {
		return meta.Replica{}, false
	}
	return list[i], true
}
