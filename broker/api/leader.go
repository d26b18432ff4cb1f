package api

import (
	"cmp"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
)

// Leader is who leads a partition, as this node knows it.
type Leader struct {
	Node id.NodeID
	Term id.Term
}

// leader returns who leads a partition and the epoch; -1 when nobody is known to.
func (h *Handler) leader(t *meta.Topic, number int32) (node, epoch int32) {
	if l, ok := h.cfg.Hosts.Leader(t.Partitions[number].Group); ok {
		return int32(l.Node), int32(l.Term)
	}
	return -1, -1
}

// controller is whom clients are to ask for topics: any node takes that, so it is this one, as soon as the cluster knows it; -1
// before, since no broker that a client is told of has its id.
func (h *Handler) controller(c *meta.Catalog) int32 {
	if _, ok := c.Node(h.cfg.Self); !ok {
		return -1
	}
	return int32(h.cfg.Self)
}

// placeOf is where a node is, by the name of its zone, or its region if it has none.
func (h *Handler) placeOf(n id.NodeID) string {
	at, _ := h.cfg.Cluster.Catalog().Node(n)
	return cmp.Or(at.Zone, at.Region)
}

// successor tells a client that asked the wrong node whom to ask, so that it need not ask for metadata first (KIP-951). It is
// false if nobody is known, or this node: then it is about to lead, or stops to, and its name would send the client around
// in a circle, unless it waited here for that to be over.
func (h *Handler) successor(t *meta.Topic, number int32, waited bool) (l Leader, at kwire.Endpoint, ok bool) {
	if t == nil || number < 0 || int(number) >= len(t.Partitions) {
		return l, at, false
	}
	l, ok = h.cfg.Hosts.Leader(t.Partitions[number].Group)
	if !ok || l.Node == h.cfg.Self && !waited {
		return l, at, false
	}
	n, ok := h.cfg.Cluster.Catalog().Node(l.Node)
	if !ok {
		return l, at, false
	}
	host, port := n.KafkaHostPort()
	return l, kwire.Endpoint{Node: int32(n.ID), Host: host, Port: port, Rack: n.Zone}, true
}
