package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/reassign"
	"ackline/broker/replica"
)

// maxListed bounds the partitions that a status lists; it counts all of them.
const maxListed = 100

// lagging is how many entries a replica may lack and still count as one that has everything: about what is on its way under load.
const lagging = 1000

// behind is a group that is not as it should be, as its leader knows it.
type behind struct {
	Group id.GroupID `json:"group"`
	Lacks []Lack     `json:"lacks"`
}

func (s *Server) status(ctx context.Context) Status {
	cat := s.host.Catalog()
	out := Status{ClusterID: cat.ClusterID(), Asked: s.self, Current: s.host.Settled(), Leaderless: []Partition{}, UnderReplicated: []Partition{},
		Warnings: []string{}, RoundTrips: []RoundTrip{}}
	if why := s.host.Leaderless(); why != "" {
		out.Warnings = append(out.Warnings, why)
	}
	if !out.Current {
		out.Warnings = append(out.Warnings, fmt.Sprintf("node %d may not have heard of the newest changes of nodes and topics", s.self))
	}
	out.Nodes = s.nodes(cat)
	out.Metadata = s.metadata(cat)
	replies, failed := s.askAll(ctx, func(id.NodeID) (question, bool) { return question{Report: true, Trips: true}, true })
	for _, n := range slices.Sorted(maps.Keys(failed)) {
		out.Warnings = append(out.Warnings, fmt.Sprintf("node %d does not say how the partitions that it leads are: %v", n, failed[n]))
	}
	out.RoundTrips = append(out.RoundTrips, tripsOf(replies)...)
	lacks := map[id.GroupID][]Lack{}
	for n, r := range replies {
		for _, b := range r.Behind {
			if leader, _, ok := s.host.Leading(b.Group); ok && leader == n { // and nobody who led it before
				lacks[b.Group] = b.Lacks
			}
		}
	}
	s.partitions(cat, &out, lacks, func(n id.NodeID) bool { _, heard := replies[n]; return heard })
	for _, t := range cat.Tombstones() {
		if t.Group != id.MetadataGroup {
			out.Counts.Going += len(t.Replicas)
		}
	}
	return out
}

// tripsOf puts the rows of the nodes that answered together.
func tripsOf(replies map[id.NodeID]reply) (list []RoundTrip) {
	for _, n := range slices.Sorted(maps.Keys(replies)) {
		list = append(list, replies[n].Trips...)
	}
	return list
}

// RoundTrips asks every node that lives how far it is from the others.
func (s *Server) RoundTrips(ctx context.Context) []RoundTrip {
	replies, _ := s.askAll(ctx, func(id.NodeID) (question, bool) { return question{Trips: true}, true })
	return tripsOf(replies)
}

// partitions goes through all partitions for what is wrong with them.
func (s *Server) partitions(cat *meta.Catalog, out *Status, lacks map[id.GroupID][]Lack, heard func(id.NodeID) bool) {
	at := map[id.NodeID]*Node{}
	for i := range out.Nodes {
		at[out.Nodes[i].ID] = &out.Nodes[i]
	}
	for _, t := range cat.Topics() {
		out.Counts.Topics++
		for i := range t.Partitions {
			p := s.partition(t, int32(i))
			out.Counts.Partitions++
			for _, n := range p.Replicas {
				if at[n] != nil {
					at[n].Replicas++
				}
			}
			if at[p.Leader] != nil {
				at[p.Leader].Leads++
			}
			if p.Lacks = lacks[t.Partitions[i].Group]; p.Leader == 0 || !heard(p.Leader) {
				p.Unsure, p.Lacks = true, s.dead(t.Partitions[i].Replicas)
			}
			if p.Leader == 0 {
				if out.Counts.Leaderless++; len(out.Leaderless) < maxListed {
					out.Leaderless = append(out.Leaderless, p)
				}
			}
			if len(p.Lacks) > 0 {
				if out.Counts.UnderReplicated++; len(out.UnderReplicated) < maxListed {
					out.UnderReplicated = append(out.UnderReplicated, p)
				}
			}
		}
	}
}

// dead lists the replicas on nodes that do not answer.
func (s *Server) dead(list []meta.Replica) (out []Lack) {
	for _, r := range list {
		if alive, _ := s.host.Reached(r.Node); !alive {
			out = append(out, Lack{r.Node, r.ID, "its node does not answer"})
		}
	}
	return out
}

func (s *Server) nodes(cat *meta.Catalog) []Node {
	list := []Node{}
	for _, n := range cat.Nodes() {
		x := describe(n)
		if alive, since := s.host.Reached(n.ID); n.Incarnation != 0 {
			x.Since = since
			if x.State = Dead; alive {
				x.State = Alive
			}
		}
		list = append(list, x)
	}
	return list
}

func describe(n meta.Node) Node {
	x := Node{ID: n.ID, State: Expected, KafkaAddr: n.KafkaAddr, RaftAddr: n.RaftAddr, Region: n.Region, Zone: n.Zone}
	if n.Incarnation != 0 {
		x.State, x.Incarnation = Alive, fmt.Sprintf("%016x", uint64(n.Incarnation))
	} else {
		x.KafkaAddr = ""
	}
	return x
}

func (s *Server) metadata(cat *meta.Catalog) (m Metadata) {
	placed := cat.MetadataReplicas()
	m.Nodes, m.Voters = nodesOf(placed), []id.NodeID{}
	if n, term, ok := s.host.Leading(id.MetadataGroup); ok {
		m.Leader, m.Epoch = n, term
	}
	g := s.host.Group(id.MetadataGroup)
	if g == nil {
		return m
	}
	known := slices.Concat(placed, cat.Gone(id.MetadataGroup))
	members, _ := reassign.Members(g)
	for _, r := range known {
		switch {
		case slices.Contains(members.Voters, r.ID):
			m.Voters = append(m.Voters, r.Node)
		case slices.Contains(members.Learners, r.ID):
			m.Learners = append(m.Learners, r.Node)
		}
	}
	return m
}

// partition is what this node knows of one.
func (s *Server) partition(t *meta.Topic, i int32) Partition {
	p := Partition{Topic: t.Name, Partition: i, Replicas: nodesOf(t.Partitions[i].Replicas)}
	if n, term, ok := s.host.Leading(t.Partitions[i].Group); ok {
		p.Leader, p.Epoch = n, term
	}
	return p
}

func (s *Server) leaders() Leaders {
	cat := s.host.Catalog()
	out := Leaders{Asked: s.self, Current: s.host.Settled(), Nodes: map[id.NodeID]int{}, Partitions: []Partition{}}
	for _, n := range cat.Nodes() {
		out.Nodes[n.ID] = 0
	}
	for _, t := range cat.Topics() {
		for i := range t.Partitions {
			p := s.partition(t, int32(i))
			if p.Leader == 0 {
				out.Leaderless++
			} else {
				out.Nodes[p.Leader]++
			}
			out.Partitions = append(out.Partitions, p)
		}
	}
	return out
}

// behind lists the partitions that this node leads and that are not as they should be.
func (s *Server) behind() (list []behind) {
	for _, t := range s.host.Catalog().Topics() {
		for _, p := range t.Partitions {
			g := s.host.Group(p.Group)
			if g == nil || !g.Status().IsLead {
				continue
			}
			if lacks := s.lacks(g, p.Replicas); len(lacks) > 0 {
				list = append(list, behind{p.Group, lacks})
			}
		}
	}
	return list
}

// lacks compares what a group that this node leads should have with what it has.
func (s *Server) lacks(g *replica.Group, placed []meta.Replica) (list []Lack) {
	members, st := reassign.Members(g)
	progress := map[id.ReplicaID]replica.Progress{}
	for _, p := range g.Progress() {
		progress[p.Replica] = p
	}
	for _, r := range placed {
		p, known := progress[r.ID]
		alive, _ := s.host.Reached(r.Node)
		why := ""
		switch {
		case !alive:
			why = "its node does not answer"
		case r.Node == s.self && slices.Contains(members.Voters, r.ID):
		case !known:
			why = "it is not part of the group yet"
		case p.Snapshot:
			why = "a snapshot is on its way to it"
		case p.Match+lagging < st.Last:
			why = fmt.Sprintf("it lacks %d entries of %d", st.Last-p.Match, st.Last)
		case p.Learner:
			why = "it has everything and does not vote yet"
		}
		if why != "" {
			list = append(list, Lack{r.Node, r.ID, why})
		}
	}
	return list
}
