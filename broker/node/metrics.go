package node

import (
	"ackline/broker/metric/histogram"
	"ackline/broker/node/measures"
	"ackline/broker/server"
	"ackline/broker/wal"
)

// counters are what metrics are read from.
func (n *Node) counters() measures.Sources {
	return measures.Sources{API: &n.handler.Counters, Stages: n.stages, Server: n.server, WAL: n.wal, Method: string(n.method),
		RingBytes: n.Recovery.RingBytes, Hosts: n.hosts, Metadata: n.meta.group.Load, Links: n.links, Election: n.election, Budget: n.budget, Checkpoints: n.checkpoints, Flushes: n.flushes,
		Flushed: &n.flushedBytes, CheckpointErrors: &n.checkpointErrors, InflightLimit: n.cfg.Limits.InflightBytes}
}

// WALStats counts what the WAL did.
func (n *Node) WALStats() *wal.Stats { return n.wal.Stats() }

// ServerCounters counts what the server did.
func (n *Node) ServerCounters() *server.Counters { return &n.server.Counters }

// newLatency is a histogram of the node's own background work.
func newLatency() *histogram.Histogram { return histogram.New(histogram.Latency) }
