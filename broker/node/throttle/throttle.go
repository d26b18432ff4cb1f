// Package throttle decides how long producers are told to wait. The ring, and the memory for entries that no segment holds yet,
// fill when segments are written more slowly than records come in. Full, the ring makes producers wait for their acks, all at once
// and for as long as a checkpoint takes; and what memory lets go of before it is in a segment has to be read back from the WAL
// for that, which makes the segments later still. So before that producers are slowed, by the time that making room takes.
package throttle

import (
	"math"
	"sync/atomic"
	"time"

	"ackline/broker/node/config"
)

// Throttle is a node's. Its methods may be called from any goroutine.
type Throttle struct {
	limits config.Limits
	least  int64        // bytes; a round that moved fewer says more about a sync than about a rate
	rate   atomic.Int64 // bytes per second that rounds of flushes moved of late; 0: not known yet
	ringMs atomic.Int32
}

// New returns a throttle for a node whose partitions are flushed at flushBytes each.
func New(l config.Limits, flushBytes int64) *Throttle { return &Throttle{limits: l, least: flushBytes} }

// Flushed notes a round that moved so many bytes into segments, and what belongs to a checkpoint if it took one.
func (t *Throttle) Flushed(moved int64, took time.Duration) {
	if moved < t.least || took <= 0 {
		return
	}
	rate := int64(float64(moved) / took.Seconds())
	if old := t.rate.Load(); old > 0 {
		rate = (3*old + rate) / 4
	}
	t.rate.Store(rate)
}

// Ring notes how many bytes of the ring are in use, of those that entries may use, and returns the milliseconds that it takes.
func (t *Throttle) Ring(used, usable int64) int32 {
	ms := t.ms(used, usable)
	t.ringMs.Store(ms)
	return ms
}

// Ms is how long a client is to wait now, in milliseconds, with so many bytes of entries in memory: because of the ring, or of
// memory while those who flush it are behind. A gigabyte a second fills memory between two looks at the ring, so ask for each
// client.
func (t *Throttle) Ms(behind bool, cached int64) int32 {
	ms := t.ringMs.Load()
	if behind {
		ms = max(ms, t.ms(cached, t.limits.CacheBytes))
	}
	return ms
}

// ms is the time that it takes, at the rate of late, to make free what is in use above ThrottlePercent, but not more than
// ThrottleMaxMs: a disk that frees a gigabyte a second is waited for a few milliseconds at a time, a slow one longer. As long
// as no rate is known, all that there is above ThrottlePercent is assumed to take ThrottleMaxMs.
func (t *Throttle) ms(used, usable int64) int32 {
	l := t.limits
	from := float64(usable) * float64(l.ThrottlePercent) / 100
	above := float64(used) - from
	if above <= 0 || l.ThrottlePercent >= 100 {
		return 0
	}
	ms := above / (float64(usable) - from) * float64(l.ThrottleMaxMs)
	if rate := t.rate.Load(); rate > 0 {
		ms = above / float64(rate) * 1000
	}
	return int32(math.Ceil(min(ms, float64(l.ThrottleMaxMs))))
}
