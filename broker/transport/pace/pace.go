// Package pace says when: when to dial again, and when the next bytes may be sent. Both are questions of arithmetic that go
// wrong in loops with sleeps in them (redials in step with each other, a limit that is exceeded by as many streams as
// share it), so they are answered here, with time and randomness as arguments, and waited for elsewhere.
package pace

import (
	"math/rand/v2"
	"time"
)

// Backoff is the waits between failing attempts: they double from Min to Max, and each is drawn from the upper half, so
// that nodes that fail together do not try again together.
type Backoff struct {
	Min, Max time.Duration

	rng  *rand.Rand
	next time.Duration
}

// NewBackoff returns a backoff whose draws seed and stream determine.
func NewBackoff(least, most time.Duration, seed, stream uint64) *Backoff {
	return &Backoff{Min: least, Max: most, rng: rand.New(rand.NewPCG(seed, stream))}
}

// Next is how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	b.next = min(max(2*b.next, b.Min), b.Max)
	return b.next/2 + time.Duration(b.rng.Int64N(int64(b.next/2)+1))
}

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.next = 0 }

// Bucket is a token bucket: Rate bytes per second, and up to Burst at once after a pause.
type Bucket struct {
	Rate  int64 // 0: no limit
	Burst int64

	paid int64 // when what was given out so far is earned
}

// Take gives out n bytes at the time now, in nanoseconds, and returns how long to wait before they are used. Those who
// share a bucket wait in the order of their calls. Not safe for concurrent use.
func (b *Bucket) Take(n int, now int64) time.Duration {
	if b.Rate <= 0 {
		return 0
	}
	b.paid = max(b.paid, now-b.cost(b.Burst)) + b.cost(int64(n))
	return time.Duration(max(b.paid-now, 0))
}

// cost is how long it takes to earn n bytes. In floating point, which holds n times a second for any n.
func (b *Bucket) cost(n int64) int64 { return int64(float64(n) / float64(b.Rate) * 1e9) }
