// Package measures says where each metric of the table is read on a node. What counts does so in plain atomics and knows nothing of
// Prometheus, and the table knows nothing of what counts; here the two meet.
package measures

import (
	"strconv"
	"sync/atomic"
	"time"

	"ackline/broker/api"
	"ackline/broker/metric"
	"ackline/broker/metric/histogram"
	"ackline/broker/node/hosting"
	"ackline/broker/replica"
	"ackline/broker/replica/raftlog"
	"ackline/broker/server"
	"ackline/broker/stage"
	"ackline/broker/transport"
	"ackline/broker/wal"
	"ackline/tools/version"
)

// Sources are the parts of a node that count.
type Sources struct {
	API       *api.Counters
	Stages    *stage.Set
	Server    *server.Server
	WAL       *wal.WAL
	Method    string // how it syncs
	RingBytes int64
	Hosts     *hosting.Hosts
	Metadata  func() *replica.Group // nil until it is open
	Links     *transport.Transport  // nil without peers
	Election  func() time.Duration  // the time-out as it is now
	Budget    *raftlog.Budget
	// What is done in the background.
	Checkpoints, Flushes      *histogram.Histogram
	Flushed, CheckpointErrors *atomic.Uint64
	// InflightLimit is what unanswered requests may hold, in bytes.
	InflightLimit int64
}

// Set returns where each metric is read. Reading is done when somebody scrapes; nothing here is on the write path.
func (m Sources) Set() *metric.Set {
	s := metric.New()
	s.Gauge(metric.BuildInfo, func() int64 { return 1 }, version.Commit())
	m.apiMetrics(s)
	m.walMetrics(s)
	m.groupMetrics(s)
	m.linkMetrics(s)
	m.serverMetrics(s)
	return s
}

func (m Sources) apiMetrics(s *metric.Set) {
	c := m.API
	s.Counter(metric.ProduceRequests, c.Requests[0].Load)
	s.Counter(metric.ProduceBytes, c.ProduceBytes.Load)
	s.Counter(metric.ProduceRecords, c.ProduceRecords.Load)
	s.Counters(metric.ProduceErrors, func(emit func(uint64, ...string)) { c.ProduceErrors.Each(emit) })
	s.Histogram(metric.ProduceThrottle, c.ProduceThrottle.Snapshot)
	s.Counter(metric.ProduceDetours, c.ProduceHeld.Load, "held")
	s.Counter(metric.ProduceDetours, c.ProduceForwarded.Load, "forwarded")
	s.Counter(metric.MetadataHeld, c.MetadataHeld.Load)
	for i := stage.Decode; i < stage.Count; i++ {
		s.Histogram(metric.ProduceStage, m.Stages.Stage(i).Snapshot, i.String())
	}
	s.Histogram(metric.ProduceTotal, m.Stages.Total().Snapshot)
	s.Counter(metric.FetchRequests, c.FetchRequests.Load)
	s.Counter(metric.FetchBytes, c.FetchBytes.Load)
	s.Counters(metric.FetchErrors, func(emit func(uint64, ...string)) { c.FetchErrors.Each(emit) })
	s.Histogram(metric.FetchDuration, c.FetchDuration.Snapshot)
}

func (m Sources) walMetrics(s *metric.Set) {
	st, method := m.WAL.Stats(), m.Method
	s.Counter(metric.WALBatches, st.Batches.Load, method)
	s.Counter(metric.WALBytes, st.Bytes.Load, method)
	s.Histogram(metric.WALSync, st.Sync.Snapshot, method)
	s.Histogram(metric.WALBatchRecords, st.Entries.Snapshot, method)
	s.Counter(metric.WALHandOvers, st.HandOvers.Load)
	s.Counter(metric.WALReclaimed, st.Reclaimed.Load)
	s.Duration(metric.WALOutstanding, st.Outstanding)
	s.Gauge(metric.WALRingUsed, func() int64 { used, _ := m.WAL.Usage(); return used })
	s.Gauge(metric.WALRingUsable, func() int64 { _, usable := m.WAL.Usage(); return usable })
	s.Gauge(metric.WALRingSize, func() int64 { return m.RingBytes })
}

func (m Sources) groupMetrics(s *metric.Set) {
	s.Gauge(metric.RaftGroups, func() int64 { return int64(len(m.Hosts.All())) + 1 })
	s.Gauge(metric.RaftLeaders, func() (led int64) {
		for _, r := range m.Hosts.All() {
			if r.Part.Bounds().Leading {
				led++
			}
		}
		return led
	})
	s.Gauge(metric.RaftLeaderless, func() (groups int64) {
		if g := m.Metadata(); g == nil || g.Status().Leader == 0 {
			groups++
		}
		for _, r := range m.Hosts.All() {
			if r.Group.Status().Leader == 0 {
				groups++
			}
		}
		return groups
	})
	s.Gauge(metric.RaftBehind, func() (most int64) {
		for _, r := range m.Hosts.All() {
			for _, p := range r.Group.Progress() { // none where another leads
				most = max(most, int64(r.Group.Status().Last)-int64(p.Match))
			}
		}
		return most
	})
	s.Gauge(metric.SeglogSegments, func() (segments int64) {
		for _, r := range m.Hosts.All() {
			segments += int64(len(r.Part.Segments()))
		}
		return segments
	})
	s.Counter(metric.SeglogFlushed, m.Flushed.Load)
	s.Histogram(metric.SeglogFlush, m.Flushes.Snapshot)
	s.Histogram(metric.Checkpoint, m.Checkpoints.Snapshot)
	s.Counter(metric.CheckpointErrors, m.CheckpointErrors.Load)
	s.Gauge(metric.CacheBytes, m.Budget.Used)
}

func (m Sources) linkMetrics(s *metric.Set) {
	s.Counter(metric.RaftMessages, m.linkSum(func(l transport.LinkStats) uint64 { return l.Messages }))
	s.Counter(metric.RaftFrames, m.linkSum(func(l transport.LinkStats) uint64 { return l.Frames }))
	s.Counter(metric.RaftBytes, m.linkSum(func(l transport.LinkStats) uint64 { return l.Bytes }))
	s.Counter(metric.RaftHeartbeats, func() uint64 {
		if m.Links == nil {
			return 0
		}
		return m.Links.Stats().HeartbeatsIn
	})
	s.Duration(metric.RaftElection, m.Election)
	s.Gauges(metric.RaftRoundTrip, func(emit func(float64, ...string)) {
		if m.Links == nil {
			return
		}
		for _, p := range m.Links.Stats().Peers {
			if p.Up && p.RTT.Samples > 0 {
				emit(p.RTT.Smoothed.Seconds(), strconv.Itoa(int(p.Peer)))
			}
		}
	})
}

// linkSum reads a counter of all links to other nodes, 0 without any.
func (m Sources) linkSum(of func(transport.LinkStats) uint64) func() uint64 {
	return func() (sum uint64) {
		if m.Links == nil {
			return 0
		}
		for _, l := range m.Links.Stats().Links {
			sum += of(l)
		}
		return sum
	}
}

func (m Sources) serverMetrics(s *metric.Set) {
	c := &m.Server.Counters
	s.Gauge(metric.Connections, func() int64 { return int64(m.Server.Connections()) })
	s.Counter(metric.ConnectionsAccepted, c.Accepted.Load)
	s.Gauge(metric.InFlight, m.Server.InflightBytes)
	s.Gauge(metric.InFlightLimit, func() int64 { return m.InflightLimit })
	s.Counters(metric.Refused, func(emit func(uint64, ...string)) {
		emit(c.Refused.Load(), "connections")
		for i := range server.Cause(server.NumCauses) {
			if i != server.CauseClient && i != server.CauseShutdown {
				emit(c.Ended[i].Load(), i.String())
			}
		}
	})
}
