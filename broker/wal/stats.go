package wal

import (
	"sync/atomic"

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
}

func newStats() *Stats {
	return &Stats{Entries: histogram.New(histogram.Count), Sync: histogram.New(histogram.Latency)}
}

// Written returns how many batches were written, the nanoseconds that these took together until they were on disk, and their bytes.
func (s *Stats) Written() (writes, ns, bytes uint64) {
	return s.Batches.Load(), uint64(s.Sync.Snapshot().Sum * 1e9), s.Bytes.Load()
}

// Stats returns the counters.
func (w *WAL) Stats() *Stats { return w.stats }
