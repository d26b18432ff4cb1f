package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ackline/broker/engine"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/node/founding"
	"ackline/broker/node/reach"
	"ackline/broker/transport"
	"ackline/broker/transport/call"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
)

// What nodes ask each other. The numbers are what nodes of different versions have in common.
const (
	kindFounding call.Kind = 1 // what package founding makes nodes that form a cluster say
	kindAdmin    call.Kind = 2 // what package admin answers with on one node
	kindBarrier  call.Kind = 3 // whoever leads the metadata, how new it is
	kindForward  call.Kind = 4 // whoever leads a partition, to append batches
)

// leaderless says why nothing can be decided at the moment, empty if something can.
func (n *Node) leaderless() string {
	if n.links == nil {
		return ""
	}
	if waiting := n.founder.Waiting(); len(waiting) > 0 {
		if n.cfg.Cluster.Join {
			return "this node waits to be let in by one of: " + n.reach.List(waiting)
		}
		return "the first start waits until every node of the cluster has been here; missing: " + n.reach.List(waiting)
	}
	if _, ok := n.engine.Leader(id.MetadataGroup); ok {
		if missing := founding.Unregistered(n.meta.Catalog(), adminHost{Node: n}.Founders()); len(missing) > 0 {
			return "the first start waits until every node of the cluster is registered; missing: " + n.reach.List(missing)
		}
		return ""
	}
	why := "nobody leads the metadata: a majority of the nodes that the cluster began with has to be up and to reach one another"
	if list := n.reach.Missing(); list != "" {
		why += "; not reached: " + list
	}
	return why
}

// firstNodes are those that the cluster began with: what the data directory knows of it, and before it does what is configured.
func (n *Node) firstNodes() (nodes []id.NodeID) {
	for _, m := range n.dir.Roster {
		nodes = append(nodes, m.Node)
	}
	if n.dir.Joined != nil {
		nodes = slices.Clone(n.dir.Joined.Founders)
	}
	if len(nodes) == 0 {
		nodes = append(nodes, n.dir.Node)
		for _, p := range n.cfg.Cluster.Peers {
			nodes = append(nodes, id.NodeID(p.ID))
		}
	}
	slices.Sort(nodes)
	return nodes
}

// founders are the metadata group's first replicas.
func (n *Node) founders() []meta.Replica {
	nodes := n.firstNodes()
	list := make([]meta.Replica, len(nodes))
	for i, node := range nodes {
		list[i] = meta.Replica{Node: node, ID: id.ReplicaID(i + 1)}
	}
	return list
}

// openLinks makes the links to the other nodes; without peers there are none.
func (n *Node) openLinks() error {
	c := n.cfg.Cluster
	if len(c.Peers) == 0 {
		n.engine.Attach(n.wal, nil)
		return nil
	}
	n.founder = founding.New(founding.Config{Name: c.Name, Self: n.dir.Node, Incarnation: n.dir.Incarnation, Nodes: n.firstNodes(), Roster: n.dir.Roster,
		Cluster: n.dir.Cluster, Join: c.Join && n.dir.Cluster == "", Agree: n.dir.Agree, Expected: n.expected})
	addrs := map[id.NodeID]string{}
	for _, p := range c.Peers {
		addrs[id.NodeID(p.ID)] = p.RaftAddr
	}
	n.reach = reach.New(addrs)
	calls := n.engine.Callbacks()
	up, down := calls.PeerUp, calls.PeerDown
	calls.PeerUp = func(p id.NodeID, who frame.Identity) {
		up(p, who)
		n.reach.Set(p, true, time.Now())
		n.lookAgain()
	}
	calls.PeerDown = func(p id.NodeID, who frame.Identity, why detect.Reason) {
		down(p, who, why)
		n.reach.Set(p, false, time.Now())
		n.lookAgain()
		n.log.Warn("a node counts as dead", "node", p, "why", why)
	}
	calls.Refused = n.refused
	if n.keys != nil {
		n.log.Info("the links to other nodes are mutual TLS", "certificate_expires", n.keys.State().Expires)
	}
	var err error
	n.links, err = transport.New(transport.Config{
		Node: n.dir.Node, Identity: frame.Identity{Incarnation: n.dir.Incarnation, Boot: n.boot},
		Cluster: c.Name, Features: meta.MaxFeatureLevel,
		HeartbeatInterval: ms(c.HeartbeatIntervalMs), DeadAfter: ms(c.DeadAfterMs), SnapshotRate: c.SnapshotBytesPerSecond, LineRate: c.LinkBytesPerSecond,
		TLS: n.keys, Admit: n.admit, Seed: uint64(n.dir.Incarnation), Now: n.now, Log: n.log,
	}, n.engine, calls)
	if err != nil {
		return err
	}
	n.links.Answer(kindFounding, func(_ context.Context, from id.NodeID, b []byte) ([]byte, error) { return n.founder.Answer(from, b) })
	n.links.Answer(kindAdmin, n.admin.Answer)
	n.links.Answer(kindBarrier, n.meta.Answer)
	n.links.Answer(kindForward, func(c context.Context, from id.NodeID, b []byte) ([]byte, error) {
		return n.handler.Forwarded(c, from, b)
	})
	n.forget = func(p id.NodeID) {
		n.links.RemovePeer(p) // which tells nobody
		n.reach.Remove(p)
		down(p, frame.Identity{}, 0)
	}
	for _, p := range c.Peers {
		n.links.AddPeer(id.NodeID(p.ID), p.RaftAddr)
	}
	n.engine.Attach(n.wal, n.links)
	return nil
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// admit refuses a process under the id of a node whose data the cluster knows to be elsewhere.
func (n *Node) admit(peer id.NodeID, who frame.Identity) error {
	return founding.Admit(n.meta.Catalog(), n.settled.Load(), n.founder.Roster(), peer, who.Incarnation)
}

// expected is what the metadata knows of a node.
func (n *Node) expected(node id.NodeID) (known bool, with id.Incarnation) {
	at, ok := n.meta.Catalog().Node(node)
	return ok, at.Incarnation
}

// refused ends a node that the cluster will not have. Any other refusal may pass, and transport has logged it.
func (n *Node) refused(_ id.NodeID, err error) {
	var r *frame.RefusedError
	if !errors.As(err, &r) || r.By == n.dir.Node {
		return
	}
	end := func() { n.end(err, "the cluster refuses this node") }
	switch r.Reason {
	case frame.NotAdmitted:
		n.founder.Refused(r.By, r.Text)
		end()
	case frame.OtherCluster:
		end()
	case frame.NoMember:
		n.reach.Refused(r.By, n.expected, end)
	}
}

// form returns once the cluster is formed: a directory that has no cluster yet waits for all nodes.
func (n *Node) form(ctx context.Context) error {
	call := func(ctx context.Context, to id.NodeID, b []byte) ([]byte, error) {
		return n.links.Call(ctx, to, kindFounding, b)
	}
	err := n.founder.Run(ctx, call, founding.Pause, func(waiting []id.NodeID, last error) {
		n.log.Info("the first start waits until every node of the cluster has been here", "missing", n.reach.List(waiting), "last", last)
	})
	if err != nil {
		return err
	}
	cluster, roster, _ := n.founder.Formed()
	if n.cfg.Cluster.Join {
		var peers []id.NodeID
		for _, p := range n.cfg.Cluster.Peers {
			peers = append(peers, id.NodeID(p.ID))
		}
		joined, err := n.admin.Enlist(ctx, peers, n.registration(), founding.Pause, func(err error) {
			n.log.Info("this node waits to be let in", "last", err)
		})
		if err != nil {
			return err
		}
		n.dir.Joined = &datadir.Joined{Replica: joined.Replica, Founders: joined.Founders}
	}
	n.dir.Cluster, n.dir.Roster = cluster, roster
	return n.dir.Save()
}

// enrol goes on until the cluster is founded and knows this node under its present addresses. A node with peers says so at
// each start, even if its catalog has it already: that may be an old one, and is as new as this start once the command is applied.
func (n *Node) enrol(ctx context.Context) error {
	self := n.registration()
	said := n.links == nil
	for wait := enrolMin; ; wait = min(2*wait, enrolMax) {
		cat := n.meta.Catalog()
		known, ok := cat.Node(self.ID)
		var err error
		switch {
		case said && ok && known == self:
			return nil
		case cat.ClusterID() == "":
			err = n.tell(ctx, meta.Bootstrap{Level: meta.MaxFeatureLevel, ClusterID: n.dir.Cluster, Replicas: n.founders()})
		default:
			err = n.tell(ctx, meta.RegisterNode{Node: self})
			said = said || err == nil
		}
		var refused *meta.Refusal
		if errors.As(err, &refused) && cat.ClusterID() != "" {
			return fmt.Errorf("metadata: this node cannot be registered: %w", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("metadata: %w; the last attempt: %w", ctx.Err(), err)
		}
	}
}

// registration is what this node tells the cluster of itself.
func (n *Node) registration() meta.Node {
	return meta.Node{ID: n.dir.Node, Incarnation: n.dir.Incarnation, KafkaAddr: n.AdvertiseAddr(), RaftAddr: n.raftAddr(),
		Region: n.cfg.Node.Region, Zone: n.cfg.Node.Zone}
}

const enrolMin, enrolMax = 2 * time.Millisecond, 250 * time.Millisecond

// tell proposes a command whose result is of no interest.
func (n *Node) tell(ctx context.Context, c meta.Command) error {
	result, err := n.meta.Propose(ctx, c)
	if err == nil && result.Refused != nil {
		return result.Refused
	}
	return err
}

// raftAddr is where other nodes are told to reach this one.
func (n *Node) raftAddr() string {
	if n.raftLn == nil {
		return n.AdvertiseAddr()
	}
	return reach.Own(n.raftLn.Addr().String(), n.cfg.Cluster.RaftAddr, n.AdvertiseAddr())
}

// replicas translates the metadata's list.
func replicas(list []meta.Replica) []engine.Replica {
	out := make([]engine.Replica, len(list))
	for i, r := range list {
		out[i] = engine.Replica{Node: r.Node, ID: r.ID}
	}
	return out
}

func replicaIDs(list []meta.Replica) []id.ReplicaID {
	out := make([]id.ReplicaID, len(list))
	for i, r := range list {
		out[i] = r.ID
	}
	return out
}

// Cluster is what a node knows of its cluster.
type Cluster struct {
	ID    string
	Nodes int
}

// Cluster returns what this node knows; the ID is empty until it has met the others.
func (n *Node) Cluster() Cluster {
	cat := n.meta.Catalog()
	return Cluster{ID: cat.ClusterID(), Nodes: len(cat.Nodes())}
}

// Size is the number of nodes that the cluster began with.
func (n *Node) Size() int { return len(n.cfg.Cluster.Peers) + 1 }

// RaftAddr is where other nodes connect, empty on a node without peers.
func (n *Node) RaftAddr() string {
	if n.raftLn == nil {
		return ""
	}
	return n.raftLn.Addr().String()
}

// handOverTimeout bounds how long a node that stops waits for others to lead what it leads. Without a majority nobody can.
const handOverTimeout = 5 * time.Second

func (n *Node) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := n.engine.TransferAll(ctx); err != nil {
		n.log.Warn("not everything that this node leads could be handed over before it stops", "err", err)
	}
	n.handler.Redirect(ctx)
}

// awaited tells whether the metadata may yet say that a replica belongs here: ids are issued in order, so of those that were
// issued it says already where they are.
func (n *Node) awaited(g id.GroupID, r id.ReplicaID) bool {
	if g == id.MetadataGroup {
		return true
	}
	cat := n.meta.Catalog()
	if !cat.Issued(g, r) {
		return true
	}
	return replicaOn(cat.Replicas(g), n.dir.Node) == r
}
