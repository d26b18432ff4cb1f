package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// Cluster is about the links to other nodes, and raft's times.
type Cluster struct {
	// Name tells clusters apart: nodes of another name are refused. It is fixed when the data directory is made. Empty, with
	// other nodes: "ackline".
	Name string `toml:"name"`
	// RaftAddr is where the other nodes connect, host:port. Required with other nodes.
	RaftAddr string `toml:"raft_addr"`

	// TickMs is the unit of raft's time, in milliseconds: a group that lost its leader elects another after one to a few. Groups
	// without work are not ticked. 0: 10.
	TickMs int `toml:"tick_ms"`
	// ElectionMs is how long a group that hears nothing of its leader waits before it elects another, at most twice as long, and at
	// least 4.75 measured round trips to the farthest node that lives: where that is more, ticks become longer. The
	// death of a process is noticed sooner, when its connections close. 0: 1000.
	ElectionMs int `toml:"election_ms"`
	// HeartbeatIntervalMs lies between two heartbeats to each node. 0: 100.
	HeartbeatIntervalMs int `toml:"heartbeat_interval_ms"`
	// DeadAfterMs in which nothing is heard of a node, or it hears nothing, and at least four round trips to it, mean that it is dead. 0: 700, seven
	// heartbeats.
	DeadAfterMs int `toml:"dead_after_ms"`
	// QuietMs is how long a group does nothing before it sends no heartbeats of its own, if a replica has not agreed at once. 0: 1000.
	QuietMs int `toml:"quiet_ms"`
	// BalanceAfterS is how long a node must have been back before it is handed what it is meant to lead, in seconds. 0: 300, as
	// Kafka's leader.imbalance.check.interval.seconds; -1: never.
	BalanceAfterS int `toml:"balance_after_s"`
	// LeaderPlacement is who is to lead a partition. "spread": the first of its replicas, as placements spread these over the nodes.
	// "latency": whoever is nearest to its producers and to a majority of the replicas, by measured round trips; where a producer is,
	// its client id says behind the last "@", by the name of a region or a zone ("billing@frankfurt"). The same on all nodes. A topic's
	// leader.region wins over both. Empty: spread.
	LeaderPlacement string `toml:"leader_placement"`
	// LeaderGainMs is how many milliseconds a request must gain, and a tenth of what it takes at least, for a leader to be moved. 0: 2.
	LeaderGainMs int `toml:"leader_gain_ms"`
	// LeaderHoldS is for how long that must have been so, in seconds. 0: 30.
	LeaderHoldS int `toml:"leader_hold_s"`
	// LeaderEveryS lies between two moves of one partition, in seconds. 0: 120.
	LeaderEveryS int `toml:"leader_every_s"`
	// SnapshotBytesPerSecond bounds all snapshots that this node sends. 0: no bound.
	SnapshotBytesPerSecond int64 `toml:"snapshot_bytes_per_s"`

	// LinkBytesPerSecond is what the line between two nodes carries, for nodes that are far from each other: a connection for records has
	// buffers for two round trips' worth of it then, as far as the system allows; the log says if it does not. 0: the kernel decides,
	// which carries about 10 MB/s over 200 ms with Linux's defaults.
	LinkBytesPerSecond int64 `toml:"link_bytes_per_s"`

	// CatchUpBytesPerSecond, if not 0, has a leader send what a replica lacks that was away no faster than this once the writes
	// slow down that users wait for, and faster as long as they do not. 0: as fast as it goes, whatever users feel.
	CatchUpBytesPerSecond int64 `toml:"catch_up_bytes_per_s"`

	// ForwardProduce has a node pass batches on to the node that leads their partition, with the same guarantee, instead of telling
	// the producer which that is. It serves clients that cannot reach every node, and costs a round trip more.
	ForwardProduce bool `toml:"forward_produce"`

	// TLS is how the links to the other nodes are secured. Empty: not at all.
	TLS TLS `toml:"tls"`

	// Join: the cluster is there already and expects this node ("broker admin add"). It asks the nodes that are listed to let it
	// in, when its data directory is empty; afterwards it makes no difference.
	Join bool `toml:"join"`

	// Peers are the other nodes. Config.Nodes says it in a file, for all machines alike.
	Peers []Peer `toml:"-"`
}

// Peer is another node.
type Peer struct {
	ID       int32
	RaftAddr string
}

// ClusterNode is one row of the list of nodes.
type ClusterNode struct {
	// ID is the node's, at least 1.
	ID int32 `toml:"id"`
	// KafkaAddr is where clients reach it, RaftAddr where the other nodes do, host:port. Each node listens there, unless its
	// own settings say otherwise.
	KafkaAddr string `toml:"kafka_addr"`
	RaftAddr  string `toml:"raft_addr"`
	// Region and Zone are where it is. May be empty.
	Region string `toml:"region"`
	Zone   string `toml:"zone"`
}

// DefaultClusterName is the name of a cluster whose nodes are given none.
const DefaultClusterName = "ackline"

// What leader_placement may be.
const (
	Spread  = "spread"
	Latency = "latency"
)

func (c Cluster) withDefaults() Cluster {
	setDefault(&c.TickMs, 10)
	setDefault(&c.ElectionMs, 1000)
	setDefault(&c.HeartbeatIntervalMs, 100)
	setDefault(&c.DeadAfterMs, 700)
	setDefault(&c.QuietMs, 1000)
	setDefault(&c.BalanceAfterS, 300)
	setDefault(&c.LeaderPlacement, Spread)
	setDefault(&c.LeaderGainMs, 2)
	setDefault(&c.LeaderHoldS, 30)
	setDefault(&c.LeaderEveryS, 120)
	return c
}

// fromNodes takes from the list of nodes what this node's own settings leave open.
func (c Config) fromNodes() Config {
	i := slices.IndexFunc(c.Nodes, func(n ClusterNode) bool { return n.ID == c.Node.ID })
	if i >= 0 {
		self := c.Nodes[i]
		if c.Node.ListenAddr == Default().Node.ListenAddr {
			setDefault(&self.KafkaAddr, c.Node.ListenAddr)
			c.Node.ListenAddr = self.KafkaAddr
		}
		if self.KafkaAddr != c.Node.ListenAddr {
			setDefault(&c.Node.AdvertiseAddr, self.KafkaAddr)
		}
		setDefault(&c.Cluster.RaftAddr, self.RaftAddr)
		setDefault(&c.Node.Region, self.Region)
		setDefault(&c.Node.Zone, self.Zone)
	}
	if len(c.Cluster.Peers) == 0 {
		for _, n := range c.Nodes {
			if n.ID != c.Node.ID {
				c.Cluster.Peers = append(c.Cluster.Peers, Peer{ID: n.ID, RaftAddr: n.RaftAddr})
			}
		}
	}
	if len(c.Cluster.Peers) > 0 {
		setDefault(&c.Cluster.Name, DefaultClusterName)
	}
	return c
}

// checkCluster refuses a list of nodes that could not become one cluster.
func (c Config) checkCluster() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name string
		v    int
	}{
		{"tick_ms", c.Cluster.TickMs}, {"election_ms", c.Cluster.ElectionMs}, {"heartbeat_interval_ms", c.Cluster.HeartbeatIntervalMs},
		{"dead_after_ms", c.Cluster.DeadAfterMs}, {"quiet_ms", c.Cluster.QuietMs},
		{"leader_gain_ms", c.Cluster.LeaderGainMs}, {"leader_hold_s", c.Cluster.LeaderHoldS}, {"leader_every_s", c.Cluster.LeaderEveryS},
	} {
		if f.v < 1 {
			wrong("cluster.%s is %d, it must be at least 1", f.name, f.v)
		}
	}
	if p := c.Cluster.LeaderPlacement; p != Spread && p != Latency {
		wrong("cluster.leader_placement (--leader-placement) is %q, it must be %q or %q", p, Spread, Latency)
	}
	if c.Cluster.SnapshotBytesPerSecond < 0 {
		wrong("cluster.snapshot_bytes_per_s is %d, it must not be negative; 0 is no bound", c.Cluster.SnapshotBytesPerSecond)
	}
	if v := c.Cluster.CatchUpBytesPerSecond; v < 0 {
		wrong("cluster.catch_up_bytes_per_s is %d, it must not be negative; 0 is no pace", v)
	}
	if v := c.Cluster.LinkBytesPerSecond; v < 0 {
		wrong("cluster.link_bytes_per_s is %d, it must not be negative; 0 leaves buffers to the kernel", v)
	}
	if e, t := c.Cluster.ElectionMs, c.Cluster.TickMs; e < 5*t {
		wrong("cluster.election_ms is %d, it must be at least five ticks of cluster.tick_ms, which is %d", e, t)
	}
	if d, h := c.Cluster.DeadAfterMs, c.Cluster.HeartbeatIntervalMs; d < 2*h {
		wrong("cluster.dead_after_ms is %d, it must be at least twice cluster.heartbeat_interval_ms, which is %d", d, h)
	}
	if len(c.Nodes) > 0 && !c.Cluster.Join && !slices.ContainsFunc(c.Nodes, func(n ClusterNode) bool { return n.ID == c.Node.ID }) {
		wrong("this is node %d (node.id, --node-id), and [[nodes]] does not list it; one that comes later is started with --join", c.Node.ID)
		return errors.Join(errs...) // what else is missing would be in its row
	}
	errs = append(errs, c.Cluster.TLS.check(len(c.Cluster.Peers)))
	if len(c.Cluster.Peers) == 0 {
		return errors.Join(errs...)
	}
	if err := reachable(c.Cluster.RaftAddr, true); err != nil {
		wrong("cluster.raft_addr (--raft-addr): %w", err)
	}
	addrs := map[string]string{c.Cluster.RaftAddr: "this node"}
	ids := map[int32]bool{c.Node.ID: true}
	for _, p := range c.Cluster.Peers {
		who := fmt.Sprintf("node %d", p.ID)
		switch {
		case p.ID < 1:
			wrong("the list of nodes (--peers) names node %d; ids are at least 1", p.ID)
		case p.ID == c.Node.ID:
			wrong("--peers lists node %d, which is this node (--node-id): list the others only", p.ID)
		case ids[p.ID]:
			wrong("the list of nodes (--peers) names node %d twice", p.ID)
		}
		ids[p.ID] = true
		if err := reachable(p.RaftAddr, false); err != nil {
			wrong("%s in the list of nodes (--peers): %w", who, err)
		} else if other, taken := addrs[p.RaftAddr]; taken {
			wrong("%s and %s have the one address %s: each node needs its own", who, other, p.RaftAddr)
		}
		addrs[p.RaftAddr] = who
	}
	return errors.Join(errs...)
}

// reachable checks an address of the peer links. One that is listened on may be a wildcard, and port 0 for tests.
func reachable(addr string, listens bool) error {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case addr == "":
		return errors.New("is not set: nodes reach one another at host:port, such as node1:5001")
	case err != nil:
		return fmt.Errorf("%q is not host:port: %w", addr, err)
	case !listens && (host == "" || net.ParseIP(host).IsUnspecified()):
		return fmt.Errorf("%s is no address that this node could connect to: name a host", addr)
	case !listens && port == "0":
		return fmt.Errorf("%s has port 0: name the port that the node listens on", addr)
	}
	return nil
}
