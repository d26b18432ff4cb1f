package cost

import (
	"sync/atomic"
	"testing"

	"ackline/broker/api"
	"ackline/broker/metric/histogram"
	"ackline/broker/server"
	"ackline/broker/stage"
	"ackline/broker/transport/link"
	"ackline/broker/wal"
)

// leader is what the leader of a group of three counts in, in the types that it has.
type leader struct {
	server server.Counters
	api    api.Counters
	wal    wal.Stats
	sync   *histogram.Group // wal.Stats.observed
	since  atomic.Int64     // wal.underWay
	links  [2]link.Counters
	passed [2]link.Passed
	stages *stage.Set
	clock  stage.Clock
}

func newLeader() *leader {
	return &leader{stages: stage.NewSet(), clock: stage.Clock{1, 2_000, 3_000, 4_000, 90_000, 150_000, 160_000},
		sync: histogram.NewGroup(histogram.Count, histogram.Latency)}
}

// metrics is what one Produce request, alone, adds to what /metrics shows (broker/node/metrics.go), in the order of its way.
func (l *leader) metrics() {
	l.api.Requests[0].Add(1)    // api/api.go
	l.api.ProduceRecords.Add(1) // api/00_produce.go
	l.api.ProduceBytes.Add(1_100)
	for i := range l.links { // transport/link
		c := &l.links[i]
		l.passed[i].Messages++
		l.passed[i].Frames++
		c.Bytes.Add(1_200)
	}
	l.since.Store(12_345) // wal/wal.go, around the write
	l.since.Store(0)
	l.wal.Batches.Add(1) // wal/stats.go
	l.wal.Bytes.Add(4_096)
	counts := l.sync.Hold()
	counts.Observe(0, 1)
	counts.Observe(1, 80_000)
	counts.Release()
	l.stages.Observe(&l.clock) // server/request.go
}

// others is what else is counted of it, for limits and tests: no metric, but in the way of the same request.
func (l *leader) others() {
	l.server.BytesIn.Add(1_200) // server/read.go
	l.server.Requests.Add(1)
	for i := range l.links { // transport/link
		c := &l.links[i]
		c.QueueBytes.Add(1_200)
		c.InlineWrites.Add(1)
		c.QueueBytes.Add(-1_200)
	}
	l.server.Writes.Add(1) // server/write.go
	l.server.BytesOut.Add(80)
	l.server.Replies.Add(1) // server/request.go
}

// times takes the time once for each stage. Deadlines and what a client is told of its request's stages need most of these whether or not
// anybody scrapes.
func (l *leader) times() {
	for i := range stage.Count {
		l.clock.Mark(stage.Stage(i))
	}
}

func BenchmarkMetrics(b *testing.B) {
	l := newLeader()
	b.ReportAllocs()
	for b.Loop() {
		l.metrics()
	}
}

func BenchmarkOthers(b *testing.B) {
	l := newLeader()
	b.ReportAllocs()
	for b.Loop() {
		l.others()
	}
}

func BenchmarkTimes(b *testing.B) {
	l := newLeader()
	b.ReportAllocs()
	for b.Loop() {
		l.times()
	}
}
