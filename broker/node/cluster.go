package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"ackline/broker/engine"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/config"
	"ackline/broker/transport"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
)

// How several nodes become one cluster, once.
//
// Every node is given the same list of nodes. The metadata group's first voters are these, with ReplicaIDs that follow from
// the order of their node ids, so all nodes agree on them without asking. A node whose directory is fresh adds its replica
// of the group only when it has met every other node of the list in this life: a node that voted before, and lost its disk
// since, would otherwise vote again, together with one that never was there, for a cluster that begins anew beside the one
// that there is. Once the cluster is formed a majority is enough.
//
// The metadata records each node's incarnation, which is drawn with its data directory. A node that comes back with an
// emptied directory has another, and whoever knows the recorded one refuses its connections (admit); it hears why, and
// ends (refused). Its place is to be given to it anew: under new ReplicaIDs, which have never voted.

// formation is which peers a fresh node has still to meet, and which any node does not reach at the moment.
type formation struct {
	addrs   map[id.NodeID]string
	mu      sync.Mutex // guards missing and away
	missing map[id.NodeID]bool
	away    map[id.NodeID]bool
	met     chan struct{} // closed when none is missing
}

func newFormation(peers []config.Peer) *formation {
	f := &formation{addrs: map[id.NodeID]string{}, missing: map[id.NodeID]bool{}, away: map[id.NodeID]bool{}, met: make(chan struct{})}
	for _, p := range peers {
		n := id.NodeID(p.ID)
		f.addrs[n], f.missing[n], f.away[n] = p.RaftAddr, true, true
	}
	if len(peers) == 0 {
		close(f.met)
	}
	return f
}

func (f *formation) meet(n id.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.away, n)
	if !f.missing[n] {
		return
	}
	delete(f.missing, n)
	if len(f.missing) == 0 {
		close(f.met)
	}
}

func (f *formation) lose(n id.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.addrs[n]; known {
		f.away[n] = true
	}
}

// unmet lists who is missing, unreached who is not reached.
func (f *formation) unmet() string     { return f.list(f.missing) }
func (f *formation) unreached() string { return f.list(f.away) }

func (f *formation) list(of map[id.NodeID]bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, n := range slices.Sorted(maps.Keys(of)) {
		list = append(list, fmt.Sprintf("%d at %s", n, f.addrs[n]))
	}
	return strings.Join(list, ", ")
}

// leaderless says why nothing can be decided at the moment, empty if something can.
func (n *Node) leaderless() string {
	if n.links == nil {
		return ""
	}
	if list := n.formation.unmet(); n.dir.Fresh && list != "" {
		return "the first start waits until every node of the cluster has been here; missing: " + list
	}
	if _, ok := n.engine.Leader(id.MetadataGroup); ok {
		return ""
	}
	why := "nobody leads the metadata: a majority of the nodes that the cluster began with has to be up and to reach one another"
	if list := n.formation.unreached(); list != "" {
		why += "; not reached: " + list
	}
	return why
}

// founders are the metadata group's first replicas.
func (n *Node) founders() []meta.Replica {
	nodes := []id.NodeID{n.dir.Node}
	for _, p := range n.cfg.Cluster.Peers {
		nodes = append(nodes, id.NodeID(p.ID))
	}
	slices.Sort(nodes)
	list := make([]meta.Replica, len(nodes))
	for i, node := range nodes {
		list[i] = meta.Replica{Node: node, ID: id.ReplicaID(i + 1)}
	}
	return list
}

// openLinks makes the links to the other nodes; without peers there are none.
func (n *Node) openLinks() error {
	c := n.cfg.Cluster
	n.formation = newFormation(c.Peers)
	if len(c.Peers) == 0 {
		n.engine.Attach(n.wal, nil)
		return nil
	}
	calls := n.engine.Callbacks()
	up, down := calls.PeerUp, calls.PeerDown
	calls.PeerUp = func(p id.NodeID, who frame.Identity) {
		up(p, who)
		n.formation.meet(p)
	}
	calls.PeerDown = func(p id.NodeID, who frame.Identity, why detect.Reason) {
		down(p, who, why)
		n.formation.lose(p)
		n.log.Warn("a node counts as dead", "node", p, "why", why)
	}
	calls.Refused = n.refused
	var err error
	n.links, err = transport.New(transport.Config{
		Node: n.dir.Node, Identity: frame.Identity{Incarnation: n.dir.Incarnation, Boot: n.boot},
		Cluster: n.dir.Cluster, Features: meta.MaxFeatureLevel,
		HeartbeatInterval: ms(c.HeartbeatIntervalMs), DeadAfter: ms(c.DeadAfterMs), SnapshotRate: c.SnapshotBytesPerSecond,
		Admit: n.admit, Seed: uint64(n.dir.Incarnation), Now: n.now, Log: n.log,
	}, n.engine, calls)
	if err != nil {
		return err
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
	known, ok := n.meta.Catalog().Node(peer)
	if ok && known.Incarnation != who.Incarnation {
		return fmt.Errorf("the cluster knows node %d with another data directory: give it that one back, or replace the node", peer)
	}
	return nil
}

// refused ends a node that the cluster will not have. Any other refusal may pass, and transport has logged it.
func (n *Node) refused(_ id.NodeID, err error) {
	var r *frame.RefusedError
	if errors.As(err, &r) && r.By != n.dir.Node && (r.Reason == frame.NotAdmitted || r.Reason == frame.OtherCluster) {
		n.end(err, "the cluster refuses this node")
	}
}

// sayMissing is how often a fresh node says whom it waits for.
const sayMissing = 5 * time.Second

// awaitFormation returns once a fresh node has met all others. False: the node stops.
func (n *Node) awaitFormation() bool {
	ticker := time.NewTicker(sayMissing)
	defer ticker.Stop()
	for {
		select {
		case <-n.formation.met:
			return true
		case <-ticker.C:
			n.log.Info("the first start waits until every node of the cluster has been here", "missing", n.formation.unmet())
		case <-n.stopping:
			return false
		case <-n.ended:
			return false
		}
	}
}

// enrol goes on until the cluster is founded and knows this node under its present addresses. A node with peers says so at
// each start, even if its catalog has it already: that may be an old one, and is as new as this start once the command is applied.
func (n *Node) enrol(ctx context.Context) error {
	self := meta.Node{ID: n.dir.Node, Incarnation: n.dir.Incarnation, KafkaAddr: n.AdvertiseAddr(), RaftAddr: n.raftAddr(),
		Region: n.cfg.Node.Region, Zone: n.cfg.Node.Zone}
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

const (
	enrolMin = 2 * time.Millisecond
	enrolMax = 250 * time.Millisecond
)

// tell proposes a command whose result is of no interest.
func (n *Node) tell(ctx context.Context, c meta.Command) error {
	result, err := n.meta.Propose(ctx, c)
	if err == nil && result.Refused != nil {
		return result.Refused
	}
	return err
}

// raftAddr is where other nodes are told to reach this one: where it listens, on the host that clients are told if it listens
// on all of them.
func (n *Node) raftAddr() string {
	if n.raftLn == nil {
		return n.AdvertiseAddr()
	}
	host, port, err := net.SplitHostPort(n.raftLn.Addr().String())
	if configured, _, e := net.SplitHostPort(n.cfg.Cluster.RaftAddr); e == nil && configured != "" && err == nil {
		host = configured
	}
	if net.ParseIP(host).IsUnspecified() {
		host, _, _ = net.SplitHostPort(n.AdvertiseAddr())
	}
	return net.JoinHostPort(host, port)
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
