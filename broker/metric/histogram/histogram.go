// Package histogram counts durations and sizes on the hot path.
//
// A histogram that a lock guards, or whose buckets share cache lines between cores, costs more than what it measures.
// Here an observation is three steps of arithmetic to find its bucket and two atomic additions, on one of several
// stripes chosen at random, without allocation; the stripes are added up when somebody looks.
package histogram

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// Layout says where the bounds of a histogram's buckets are: First, First*sqrt2, First*2, ... (Halves) or First,
// First*2, First*4, ... up to First<<Octaves. A bucket includes its upper bound; one more takes what is larger.
type Layout struct {
	First   uint64  // upper bound of the first bucket, as observed
	Octaves int     // doublings above First
	Halves  bool    // a bound between each two doublings; First must be large enough to have one
	PerUnit float64 // how many of the observed units make one of the snapshot's: 1e9 for nanoseconds shown as seconds
}

var (
	// Latency covers 10 µs to 10.5 s in 41 bounds a factor of 1.41 apart. It observes nanoseconds and shows seconds.
	Latency = Layout{First: 10_000, Octaves: 20, Halves: true, PerUnit: 1e9}
	// Count covers 1 to 65,536 of anything in 17 bounds.
	Count = Layout{First: 1, Octaves: 16, PerUnit: 1}
)

// maxBuckets bounds a layout, so that a stripe has a fixed size.
const maxBuckets = 64

func (l Layout) bounds() int {
	if l.Halves {
		return 2*l.Octaves + 1
	}
	return l.Octaves + 1
}

// bound returns the upper bound of bucket i.
func (l Layout) bound(i int) uint64 {
	if !l.Halves {
		return l.First << i
	}
	if i%2 == 1 {
		return l.half() << (i / 2)
	}
	return l.First << (i / 2)
}

// half is First*sqrt2. It is rounded before it is doubled, so that bucket finds the same bounds by shifting.
func (l Layout) half() uint64 { return uint64(math.Round(float64(l.First) * math.Sqrt2)) }

// Histogram counts observations. The zero value is not usable.
type Histogram struct {
	layout  Layout
	half    uint64
	mask    uint32
	stripes []stripe // each field of each is atomic
}

// stripe is a multiple of two cache lines long, so that two stripes share none.
type stripe struct {
	sum    atomic.Uint64
	counts [maxBuckets]atomic.Uint64
	_      [128 - 8]byte
}

// New returns an empty histogram. It panics when the layout makes no sense, because layouts are constants.
func New(l Layout) *Histogram {
	if l.First == 0 || l.Octaves < 0 || l.bounds() >= maxBuckets || bits.Len64(l.First)+l.Octaves > 62 || l.PerUnit <= 0 {
		panic(fmt.Sprintf("histogram: layout %+v, want First and PerUnit above 0, fewer than %d bounds, the last below 2^62",
			l, maxBuckets))
	}
	if l.Halves && (l.half() <= l.First || l.half() >= 2*l.First) {
		panic(fmt.Sprintf("histogram: First %d is too small to have a bound between it and its double", l.First))
	}
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < 16 {
		n *= 2
	}
	return &Histogram{layout: l, half: l.half(), mask: uint32(n - 1), stripes: make([]stripe, n)}
}

// Observe counts one value, in the layout's observed units. Negative values count as 0: they are differences of
// clocks.
func (h *Histogram) Observe(v int64) { h.ObserveOn(rand.Uint32(), v) }

// ObserveOn is Observe on the stripe that a random number chooses, for a caller that observes in several histograms at once:
// drawing the number is a good part of the cost.
func (h *Histogram) ObserveOn(random uint32, v int64) {
	n := uint64(max(v, 0))
	s := &h.stripes[random&h.mask]
	s.counts[h.bucket(n)].Add(1)
	s.sum.Add(n)
}

// bucket finds the first bound that n does not exceed. With k doublings of First below n, that is the bound between
// doublings k and k+1 or doubling k+1.
func (h *Histogram) bucket(n uint64) int {
	if n <= h.layout.First {
		return 0
	}
	k := bits.Len64((n-1)/h.layout.First) - 1 // First<<k < n <= First<<(k+1)
	if k >= h.layout.Octaves {
		return h.layout.bounds()
	}
	switch {
	case !h.layout.Halves:
		return k + 1
	case n <= h.half<<k:
		return 2*k + 1
	default:
		return 2*k + 2
	}
}

// Snapshot is what a histogram counted.
type Snapshot struct {
	Bounds []float64 // ascending upper bounds, inclusive
	Counts []uint64  // one for each bound, not cumulative, and one for what is above the last
	Sum    float64
}

// Snapshot adds up the stripes. Observations made meanwhile may be in it or not, or in Counts and not in Sum.
func (h *Histogram) Snapshot() Snapshot {
	n := h.layout.bounds()
	s := Snapshot{Bounds: make([]float64, n), Counts: make([]uint64, n+1)}
	for i := range s.Bounds {
		s.Bounds[i] = float64(h.layout.bound(i)) / h.layout.PerUnit
	}
	var sum uint64
	for i := range h.stripes {
		sum += h.stripes[i].sum.Load()
		for j := range s.Counts {
			s.Counts[j] += h.stripes[i].counts[j].Load()
		}
	}
	s.Sum = float64(sum) / h.layout.PerUnit
	return s
}

// Count is how many observations a snapshot holds.
func (s Snapshot) Count() uint64 {
	var n uint64
	for _, c := range s.Counts {
		n += c
	}
	return n
}
