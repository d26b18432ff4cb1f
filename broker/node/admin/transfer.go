package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"ackline/broker/httpapi"
	"ackline/broker/id"
	"ackline/broker/meta"
)

// transferTimeout bounds how long a transfer is waited for, transferPoll lies between two looks whether it has happened: who leads is
// announced with the nodes' heartbeats.
const (
	transferTimeout = 10 * time.Second
	transferPoll    = 5 * time.Millisecond
)

// move is one lead that is to go to another replica.
type move struct {
	topic *meta.Topic
	part  int32
	from  id.NodeID
	to    meta.Replica
	epoch id.Term
}

func (s *Server) transfer(ctx context.Context, r TransferRequest) (TransferAnswer, error) {
	out := TransferAnswer{Moved: []Partition{}, Failed: []Failed{}}
	moves, err := s.planTransfer(r, &out)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	by := map[id.NodeID][]move{}
	for _, m := range moves {
		by[m.from] = append(by[m.from], m)
	}
	var begun []move
	for from, list := range by {
		q := question{}
		for _, m := range list {
			q.Hand = append(q.Hand, hand{m.topic.Partitions[m.part].Group, m.to.ID})
		}
		r, err := s.ask(ctx, from, q)
		for i, m := range list {
			switch {
			case err != nil:
				out.fail(m.topic.Name, m.part, err.Error())
			case i >= len(r.Errors):
				out.fail(m.topic.Name, m.part, fmt.Sprintf("node %d, which leads it, does not say what became of it", from))
			case r.Errors[i] != "":
				out.fail(m.topic.Name, m.part, r.Errors[i])
			default:
				begun = append(begun, m)
			}
		}
	}
	s.await(ctx, begun, &out)
	return out, nil
}

func (a *TransferAnswer) fail(topic string, part int32, why string) {
	a.Failed = append(a.Failed, Failed{topic, part, why})
}

// planTransfer says which leads go where. What is wrong with the request is the error, what is with one of many partitions in out.
func (s *Server) planTransfer(r TransferRequest, out *TransferAnswer) ([]move, error) {
	cat := s.host.Catalog()
	if r.To != 0 {
		if _, err := s.known(cat, r.To); err != nil {
			return nil, err
		}
		if alive, _ := s.host.Reached(r.To); !alive {
			return nil, httpapi.Refuse(http.StatusConflict, "node %d does not answer: it cannot lead", r.To)
		}
	}
	if r.AllFrom != 0 {
		return s.planAll(cat, r, out)
	}
	t := cat.TopicNamed(r.Topic)
	switch {
	case t == nil:
		return nil, httpapi.Refuse(http.StatusNotFound, "there is no topic %q", r.Topic)
	case r.Partition < 0 || int(r.Partition) >= len(t.Partitions):
		return nil, httpapi.Refuse(http.StatusNotFound, "topic %q has partitions 0 to %d, and no %d", r.Topic, len(t.Partitions)-1, r.Partition)
	case r.To == 0:
		return nil, httpapi.Refuse(http.StatusBadRequest, "to which node? Only with all_from may that be left open")
	}
	p := s.partition(t, r.Partition)
	to, holds := on(t.Partitions[r.Partition].Replicas, r.To)
	switch {
	case !holds:
		return nil, httpapi.Refuse(http.StatusConflict, "node %d holds no replica of %s/%d: its replicas are on nodes %v", r.To, r.Topic, r.Partition, p.Replicas)
	case p.Leader == 0:
		return nil, httpapi.Refuse(http.StatusConflict, "%s/%d has no leader at the moment, so nobody can hand it over", r.Topic, r.Partition)
	case p.Leader == r.To:
		out.Moved = append(out.Moved, p)
		return nil, nil
	}
	return []move{{t, r.Partition, p.Leader, to, p.Epoch}}, nil
}

func (s *Server) planAll(cat *meta.Catalog, r TransferRequest, out *TransferAnswer) (moves []move, err error) {
	if _, err := s.known(cat, r.AllFrom); err != nil {
		return nil, err
	}
	if r.AllFrom == r.To {
		return nil, httpapi.Refuse(http.StatusBadRequest, "from node %d to node %d: name another one", r.AllFrom, r.To)
	}
	load := s.leaders().Nodes
	for _, t := range cat.Topics() {
		for i := range t.Partitions {
			p := s.partition(t, int32(i))
			if p.Leader != r.AllFrom {
				continue
			}
			to, ok := s.successor(t.Partitions[i].Replicas, r, load)
			if !ok {
				out.fail(t.Name, int32(i), "no other node that lives, or not the one that was named, holds a replica of it")
				continue
			}
			load[to.Node]++
			moves = append(moves, move{t, int32(i), p.Leader, to, p.Epoch})
		}
	}
	return moves, nil
}

// successor is who is to lead instead of AllFrom.
func (s *Server) successor(list []meta.Replica, r TransferRequest, load map[id.NodeID]int) (best meta.Replica, ok bool) {
	for _, x := range list {
		alive, _ := s.host.Reached(x.Node)
		if x.Node == r.AllFrom || !alive || r.To != 0 && x.Node != r.To {
			continue
		}
		if !ok || load[x.Node] < load[best.Node] {
			best, ok = x, true
		}
	}
	return best, ok
}

// hand begins to hand over a lead that this node has. It returns what is wrong, "" if nothing is.
func (s *Server) hand(h hand) string {
	g := s.host.Group(h.Group)
	if g == nil {
		return "its leader has changed meanwhile: ask again"
	}
	if err := g.TransferLeadership(h.To); err != nil {
		return err.Error()
	}
	return ""
}

// await waits until others lead, or it is clear that they will not.
func (s *Server) await(ctx context.Context, moves []move, out *TransferAnswer) {
	ticker := time.NewTicker(transferPoll)
	defer ticker.Stop()
	for len(moves) > 0 {
		moves = slices.DeleteFunc(moves, func(m move) bool {
			p := s.partition(m.topic, m.part)
			switch {
			case p.Leader == m.to.Node:
				out.Moved = append(out.Moved, p)
			case p.Leader != 0 && p.Leader != m.from && p.Epoch > m.epoch:
				out.fail(m.topic.Name, m.part, "another node than the one that was meant leads it now")
			case ctx.Err() != nil:
				out.fail(m.topic.Name, m.part, "the replica there did not take it in time: it may lack too much")
			default:
				return false
			}
			return true
		})
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
