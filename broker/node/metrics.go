package node

import (
	"ackline/broker/metric"
	"ackline/broker/metric/histogram"
	"ackline/broker/server"
	"ackline/broker/stage"
	"ackline/broker/transport"
	"ackline/broker/wal"
	"ackline/tools/version"
)

// metrics says where each metric of the table is read. Reading is done when somebody scrapes; nothing here is on the write
// path.
func (n *Node) metrics() *metric.Set {
	s := metric.New()
	s.Gauge(metric.BuildInfo, func() int64 { return 1 }, version.Commit())
	n.apiMetrics(s)
	n.walMetrics(s)
	n.groupMetrics(s)
	n.serverMetrics(s)
	return s
}

// WALStats counts what the WAL did.
func (n *Node) WALStats() *wal.Stats { return n.wal.Stats() }

// ServerCounters counts what the server did.
func (n *Node) ServerCounters() *server.Counters { return &n.server.Counters }

func (n *Node) apiMetrics(s *metric.Set) {
	c := &n.handler.Counters
	s.Counter(metric.ProduceRequests, c.Requests[0].Load)
	s.Counter(metric.ProduceBytes, c.ProduceBytes.Load)
	s.Counter(metric.ProduceRecords, c.ProduceRecords.Load)
	s.Counters(metric.ProduceErrors, func(emit func(uint64, ...string)) { c.ProduceErrors.Each(emit) })
	s.Histogram(metric.ProduceThrottle, c.ProduceThrottle.Snapshot)
	s.Counter(metric.ProduceDetours, c.ProduceHeld.Load, "held")
	s.Counter(metric.ProduceDetours, c.ProduceForwarded.Load, "forwarded")
	s.Counter(metric.MetadataHeld, c.MetadataHeld.Load)
	for i := stage.Decode; i < stage.Count; i++ {
		s.Histogram(metric.ProduceStage, n.stages.Stage(i).Snapshot, i.String())
	}
	s.Histogram(metric.ProduceTotal, n.stages.Total().Snapshot)
	s.Counter(metric.FetchRequests, c.FetchRequests.Load)
	s.Counter(metric.FetchBytes, c.FetchBytes.Load)
	s.Counters(metric.FetchErrors, func(emit func(uint64, ...string)) { c.FetchErrors.Each(emit) })
	s.Histogram(metric.FetchDuration, c.FetchDuration.Snapshot)
}

func (n *Node) walMetrics(s *metric.Set) {
	st, method := n.wal.Stats(), string(n.method)
	s.Counter(metric.WALBatches, st.Batches.Load, method)
	s.Counter(metric.WALBytes, st.Bytes.Load, method)
	s.Histogram(metric.WALSync, st.Sync.Snapshot, method)
	s.Histogram(metric.WALBatchRecords, st.Entries.Snapshot, method)
	s.Counter(metric.WALHandOvers, st.HandOvers.Load)
	s.Counter(metric.WALReclaimed, st.Reclaimed.Load)
	s.Gauge(metric.WALRingUsed, func() int64 { used, _ := n.wal.Usage(); return used })
	s.Gauge(metric.WALRingUsable, func() int64 { _, usable := n.wal.Usage(); return usable })
	s.Gauge(metric.WALRingSize, func() int64 { return n.Recovery.RingBytes })
}

func (n *Node) groupMetrics(s *metric.Set) {
	s.Gauge(metric.RaftGroups, func() int64 { return int64(len(n.hosts.All())) + 1 })
	s.Gauge(metric.RaftLeaders, func() (led int64) {
		for _, r := range n.hosts.All() {
			if r.Part.Bounds().Leading {
				led++
			}
		}
		return led
	})
	s.Gauge(metric.RaftLeaderless, func() (groups int64) {
		for _, r := range n.hosts.All() {
			if r.Group.Status().Leader == 0 {
				groups++
			}
		}
		return groups
	})
	s.Gauge(metric.RaftBehind, func() (most int64) {
		for _, r := range n.hosts.All() {
			for _, p := range r.Group.Progress() { // none where another leads
				most = max(most, int64(r.Group.Status().Last)-int64(p.Match))
			}
		}
		return most
	})
	s.Counter(metric.RaftMessages, n.linkSum(func(l transport.LinkStats) uint64 { return l.Messages }))
	s.Counter(metric.RaftFrames, n.linkSum(func(l transport.LinkStats) uint64 { return l.Frames }))
	s.Counter(metric.RaftBytes, n.linkSum(func(l transport.LinkStats) uint64 { return l.Bytes }))
	s.Counter(metric.RaftHeartbeats, func() uint64 {
		if n.links == nil {
			return 0
		}
		return n.links.Stats().HeartbeatsIn
	})
	s.Gauge(metric.SeglogSegments, func() (segments int64) {
		for _, r := range n.hosts.All() {
			segments += int64(len(r.Part.Segments()))
		}
		return segments
	})
	s.Counter(metric.SeglogFlushed, n.flushedBytes.Load)
	s.Histogram(metric.SeglogFlush, n.flushes.Snapshot)
	s.Histogram(metric.Checkpoint, n.checkpoints.Snapshot)
	s.Counter(metric.CheckpointErrors, n.checkpointErrors.Load)
	s.Gauge(metric.CacheBytes, n.budget.Used)
}

// linkSum reads a counter of all links to other nodes, 0 without any.
func (n *Node) linkSum(of func(transport.LinkStats) uint64) func() uint64 {
	return func() (sum uint64) {
		if n.links == nil {
			return 0
		}
		for _, l := range n.links.Stats().Links {
			sum += of(l)
		}
		return sum
	}
}

func (n *Node) serverMetrics(s *metric.Set) {
	c := &n.server.Counters
	s.Gauge(metric.Connections, func() int64 { return int64(n.server.Connections()) })
	s.Counter(metric.ConnectionsAccepted, c.Accepted.Load)
	s.Gauge(metric.InFlight, n.server.InflightBytes)
	s.Gauge(metric.InFlightLimit, func() int64 { return n.cfg.Limits.InflightBytes })
	s.Counters(metric.Refused, func(emit func(uint64, ...string)) {
		emit(c.Refused.Load(), "connections")
		for i := range server.Cause(server.NumCauses) {
			if i != server.CauseClient && i != server.CauseShutdown {
				emit(c.Ended[i].Load(), i.String())
			}
		}
	})
}

// newLatency is a histogram of the node's own background work.
func newLatency() *histogram.Histogram { return histogram.New(histogram.Latency) }
