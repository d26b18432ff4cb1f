package wal

import (
	"sync/atomic"
	"time"

	"ackline/broker/metric/histogram"
)

// Stats counts what a WAL did since it was opened. Read it at any time.
type Stats struct {
	Batches   atomic.Uint64        // written and synced
	Bytes     atomic.Uint64        // of them, padding included
	Entries   *histogram.Histogram // per batch
	Sync      *histogram.Histogram // ns, to write a batch and have it on disk
	HandOvers atomic.Uint64        // batches that the syncer wrote because something had gathered: a wake-up each
	Reclaimed atomic.Uint64        // bytes of the ring that were freed
	observed  *histogram.Group     // Entries and Sync, which each batch adds to
	batch     underWay             // written by whoever has the writer's role
	super     underWay             // written with WAL.reclaiming held
}

// underWay is since when one writer waits for the disk: nanoseconds since epoch, 0 for not at all.
type underWay struct{ since atomic.Int64 }

// epoch is what writes are timed from, by a clock that nobody sets.
var epoch = time.Now().Add(-1)

func (u *underWay) begin(at time.Time) { u.since.Store(at.Sub(epoch).Nanoseconds()) }
func (u *underWay) end()               { u.since.Store(0) }

// Outstanding is for how long the oldest write has been on its way to the disk, of batches and superblocks; 0 when none is. Sync has nothing of
// a disk that hangs, since it counts what has come back.
func (s *Stats) Outstanding() (age time.Duration) {
	for _, since := range []int64{s.batch.since.Load(), s.super.since.Load()} {
		if since != 0 {
			age = max(age, time.Since(epoch)-time.Duration(since))
		}
	}
	return age
}

// The members of Stats.observed.
const entries, syncs = 0, 1

func newStats() *Stats {
	g := histogram.NewGroup(histogram.Count, histogram.Latency)
	return &Stats{observed: g, Entries: g.Histogram(entries), Sync: g.Histogram(syncs)}
}

// count adds a batch that is on disk.
func (s *Stats) count(bytes, n int, took time.Duration) {
	s.Batches.Add(1)
	s.Bytes.Add(uint64(bytes))
	counts := s.observed.Hold()
	counts.Observe(entries, int64(n))
	counts.Observe(syncs, took.Nanoseconds())
	counts.Release()
}

// Written returns how many batches were written, the nanoseconds that these took together until they were on disk, and their bytes.
func (s *Stats) Written() (writes, ns, bytes uint64) {
	return s.Batches.Load(), uint64(s.Sync.Snapshot().Sum * 1e9), s.Bytes.Load()
}

// Stats returns the counters.
func (w *WAL) Stats() *Stats { return w.stats }
