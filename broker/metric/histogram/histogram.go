// Package histogram counts durations and sizes on the hot path.
//
// A histogram that everybody writes to costs more than what it measures: an atomic addition for each figure, and a cache
// line that travels from core to core. Here an observer takes one of several stripes for itself, adds to it like to any
// other memory, and lets go: two atomic instructions, however many histograms of a Group it observes in meanwhile. It
// waits for nobody, because there are more stripes than cores; nothing is allocated; the stripes are added up when somebody
// looks.
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

// Histogram counts observations: one member of a Group, often the only one. The zero value is not usable.
type Histogram struct {
	group  *Group
	member int
}

// Group is histograms that are observed together. The zero value is not usable.
type Group struct {
	members []member
	mask    uint32
	stripes []*Stripe
}

// member is what a histogram's stripes have in common.
type member struct {
	layout Layout
	half   uint64
	length int // of First, in bits
}

const memberBytes = 48

// Stripe is a part of a group's counts. Who holds it may observe, and no other.
type Stripe struct {
	_    [128]byte // two stripes share no cache line, nor a pair of them
	held atomic.Bool
	rows []row // one for each member
}

// row is a stripe's part of one histogram. A multiple of two cache lines: rows of two stripes share none.
type row struct {
	member
	sum    uint64
	counts [maxBuckets]uint64
	_      [128 - 8 - memberBytes]byte
}

// New returns an empty histogram. It panics when the layout makes no sense, because layouts are constants.
func New(l Layout) *Histogram { return NewGroup(l).Histogram(0) }

// NewGroup returns a group of empty histograms, one for each layout. It panics when a layout makes no sense.
func NewGroup(layouts ...Layout) *Group {
	g := &Group{}
	for _, l := range layouts {
		if l.First == 0 || l.Octaves < 0 || l.bounds() >= maxBuckets || bits.Len64(l.First)+l.Octaves > 62 || l.PerUnit <= 0 {
			panic(fmt.Sprintf("histogram: layout %+v, want First and PerUnit above 0, fewer than %d bounds, the last below 2^62",
				l, maxBuckets))
		}
		if l.Halves && (l.half() <= l.First || l.half() >= 2*l.First) {
			panic(fmt.Sprintf("histogram: First %d is too small to have a bound between it and its double", l.First))
		}
		g.members = append(g.members, member{layout: l, half: l.half(), length: bits.Len64(l.First)})
	}
	n := 2 // more than can be held by those who run: one whose thread lost its core in between keeps nobody waiting
	for n < 2*runtime.GOMAXPROCS(0) && n < 32 {
		n *= 2
	}
	g.mask = uint32(n - 1)
	for range n {
		s := &Stripe{}
		for _, m := range g.members {
			s.rows = append(s.rows, row{member: m})
		}
		g.stripes = append(g.stripes, s)
	}
	return g
}

// Histogram returns the member of the i-th layout.
func (g *Group) Histogram(i int) *Histogram { return &Histogram{group: g, member: i} }

// Hold returns a stripe that nobody else holds, until it is released. Hold it for as long as it takes to observe.
func (g *Group) Hold() *Stripe {
	for i, tries := rand.Uint32(), uint32(0); ; tries++ {
		s := g.stripes[(i+tries)&g.mask]
		if s.held.CompareAndSwap(false, true) {
			return s
		}
		if tries&g.mask == g.mask {
			runtime.Gosched()
		}
	}
}

// Release gives the stripe back.
func (s *Stripe) Release() { s.held.Store(false) }

// Observe counts one value in the group's i-th histogram, in its layout's observed units. Negative values count as 0: they
// are differences of clocks.
func (s *Stripe) Observe(i int, v int64) {
	n := uint64(max(v, 0))
	r := &s.rows[i]
	r.counts[r.bucket(n)]++
	r.sum += n
}

// Observe counts one value, for a caller that has nothing to observe in another histogram of the group.
func (h *Histogram) Observe(v int64) {
	s := h.group.Hold()
	s.Observe(h.member, v)
	s.Release()
}

// bucket finds the first bound that n does not exceed. With k doublings of First below n, that is the bound between
// doublings k and k+1 or doubling k+1. Of two numbers of as many bits, the larger is less than the smaller's double, so k
// is found without a division.
func (m *member) bucket(n uint64) int {
	if n <= m.layout.First {
		return 0
	}
	k := bits.Len64(n-1) - m.length
	if m.layout.First<<(k&63) >= n { // the mask saves the compiler a comparison
		k--
	}
	switch { // First<<k < n <= First<<(k+1)
	case k >= m.layout.Octaves:
		return m.layout.bounds()
	case !m.layout.Halves:
		return k + 1
	case n <= m.half<<(k&63):
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

// Snapshot adds up the stripes. Observations made meanwhile may be in it or not, whole.
func (h *Histogram) Snapshot() Snapshot {
	l := h.group.members[h.member].layout
	n := l.bounds()
	s := Snapshot{Bounds: make([]float64, n), Counts: make([]uint64, n+1)}
	for i := range s.Bounds {
		s.Bounds[i] = float64(l.bound(i)) / l.PerUnit
	}
	var sum uint64
	for _, part := range h.group.stripes {
		r := part.read(h.member)
		sum += r.sum
		for i := range s.Counts {
			s.Counts[i] += r.counts[i]
		}
	}
	s.Sum = float64(sum) / l.PerUnit
	return s
}

// read returns a copy of a histogram's part, taken while nobody observes in it.
func (s *Stripe) read(i int) row {
	for !s.held.CompareAndSwap(false, true) {
		runtime.Gosched()
	}
	defer s.Release()
	return s.rows[i]
}

// Count is how many observations a snapshot holds.
func (s Snapshot) Count() uint64 {
	var n uint64
	for _, c := range s.Counts {
		n += c
	}
	return n
}
