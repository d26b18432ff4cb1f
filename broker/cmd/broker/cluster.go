package main

import (
	"fmt"
	"strconv"
	"strings"

	"ackline/broker/node/config"
)

// clusterCmd runs one node of several. What the flags say and what a file's [[nodes]] says is the same.
type clusterCmd struct {
	nodeFlags
	RaftAddr    string   `help:"Where the other nodes connect, host:port." placeholder:"ADDR"`
	Peers       []string `help:"The other nodes that the cluster begins with, the same on every start: each an id and where it is connected to." placeholder:"ID@HOST:PORT"`
	Join        bool     `help:"Join a cluster that is there already and expects this node (\"broker admin add\"); --peers are some of its nodes. Without effect once it has joined."`
	ClusterName string   `help:"Nodes of another name are refused; fixed when the directory is made (default ackline)." placeholder:"NAME"`
	Zone        string   `help:"Where the node is: replicas are spread over zones, and clients see it as the rack." placeholder:"NAME"`
	Region      string   `help:"The region that the zone is in." placeholder:"NAME"`
	Forward     bool     `name:"forward-produce" help:"Pass produces on to the node that leads their partition, for clients that cannot reach every node; without it they are told which it is."`
	Placement   string   `name:"leader-placement" help:"Who is to lead a partition: \"spread\", so that each node leads about as many; or \"latency\", whoever is nearest to its producers and to a majority of the replicas. A producer says where it is behind the last @ of its client id, by a region or a zone (default spread)." placeholder:"NAME"`
	TLSCert     string   `name:"tls-cert" help:"PEM file of this node's certificate, for the DNS name node-ID: links between nodes are mutual TLS. Read again for each new connection." placeholder:"FILE"`
	TLSKey      string   `name:"tls-key" help:"PEM file of its private key." placeholder:"FILE"`
	TLSCA       string   `name:"tls-ca" help:"PEM file of the CA that signs the nodes' certificates." placeholder:"FILE"`
}

func (c *clusterCmd) config() (config.Config, error) {
	cfg, err := c.settings()
	if err != nil {
		return cfg, err
	}
	override(&cfg.Cluster.RaftAddr, c.RaftAddr)
	override(&cfg.Cluster.Name, c.ClusterName)
	override(&cfg.Cluster.TLS.CertFile, c.TLSCert)
	override(&cfg.Cluster.TLS.KeyFile, c.TLSKey)
	override(&cfg.Cluster.TLS.CAFile, c.TLSCA)
	override(&cfg.Cluster.Join, c.Join)
	override(&cfg.Cluster.ForwardProduce, c.Forward)
	override(&cfg.Cluster.LeaderPlacement, c.Placement)
	override(&cfg.Node.Zone, c.Zone)
	override(&cfg.Node.Region, c.Region)
	for _, text := range c.Peers {
		p, err := parsePeer(text)
		if err != nil {
			return cfg, err
		}
		cfg.Cluster.Peers = append(cfg.Cluster.Peers, p)
	}
	if len(cfg.Cluster.Peers) == 0 && len(cfg.Nodes) == 0 {
		return cfg, fmt.Errorf("which nodes does the cluster have? Give the others with --peers 2@host:port,3@host:port, or all of them as [[nodes]] " +
			"in a --config file; \"broker start\" runs a single node")
	}
	return cfg, cfg.Validate()
}

// parsePeer reads ID@HOST:PORT.
func parsePeer(text string) (config.Peer, error) {
	number, addr, ok := strings.Cut(text, "@")
	n, err := strconv.ParseInt(number, 10, 32)
	if !ok || err != nil {
		return config.Peer{}, fmt.Errorf("--peers: %q is not ID@HOST:PORT, such as 2@node2:5001", text)
	}
	return config.Peer{ID: int32(n), RaftAddr: addr}, nil
}
