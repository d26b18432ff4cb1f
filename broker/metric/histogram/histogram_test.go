package histogram

import (
	"math"
	"math/rand/v2"
	"sort"
	"sync"
	"testing"
	"unsafe"
)

func TestBounds(t *testing.T) {
	for _, test := range []struct {
		layout      Layout
		n           int
		first, last float64
	}{
		{Latency, 41, 10e-6, 10.48576},
		{Count, 17, 1, 65536},
	} {
		s := New(test.layout).Snapshot()
		if len(s.Bounds) != test.n || s.Bounds[0] != test.first || s.Bounds[test.n-1] != test.last {
			t.Errorf("%d bounds from %v to %v, want %+v", len(s.Bounds), s.Bounds[0], s.Bounds[len(s.Bounds)-1], test)
		}
		if !sort.Float64sAreSorted(s.Bounds) || len(s.Counts) != test.n+1 {
			t.Errorf("bounds %v, %d counts", s.Bounds, len(s.Counts))
		}
	}
}

// TestBucket compares the arithmetic with a search through the bounds, at each bound, next to it, and anywhere.
func TestBucket(t *testing.T) {
	for _, layout := range []Layout{Latency, Count, {First: 7, Octaves: 3, Halves: true, PerUnit: 1}, {First: 5, Octaves: 0, PerUnit: 1}} {
		h := New(layout)
		search := func(n uint64) int {
			return sort.Search(layout.bounds(), func(i int) bool { return n <= layout.bound(i) })
		}
		values := []uint64{0, 1, math.MaxInt64}
		for i := range layout.bounds() {
			values = append(values, layout.bound(i)-1, layout.bound(i), layout.bound(i)+1)
		}
		r := rand.New(rand.NewPCG(1, 1))
		for range 10_000 {
			values = append(values, r.Uint64()>>(1+r.IntN(63)))
		}
		for _, n := range values {
			if got, want := h.group.members[0].bucket(n), search(n); got != want {
				t.Fatalf("%+v: %d is counted in bucket %d, want %d", layout, n, got, want)
			}
		}
	}
}

func TestSnapshot(t *testing.T) {
	h := New(Latency)
	for _, ns := range []int64{-5, 0, 10_000, 10_001, 2_000_000_000, 11_000_000_000} {
		h.Observe(ns)
	}
	s := h.Snapshot()
	if s.Count() != 6 || s.Counts[0] != 3 || s.Counts[1] != 1 || s.Counts[len(s.Counts)-1] != 1 {
		t.Errorf("counts %v", s.Counts)
	}
	if want := 13.000020001; math.Abs(s.Sum-want) > 1e-9 {
		t.Errorf("sum %v, want %v", s.Sum, want)
	}
}

func TestObserveFromManyGoroutines(t *testing.T) {
	h := New(Count)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range int64(10_000) {
				h.Observe(i % 100)
			}
		})
	}
	group.Wait()
	if s := h.Snapshot(); s.Count() != 80_000 || s.Sum != 8*100*4950 {
		t.Fatalf("%d observations, sum %v", s.Count(), s.Sum)
	}
}

// TestSnapshotWhileObserving looks at a group of two that are observed together: what one stripe holds of a value is in a snapshot
// whole or not at all.
func TestSnapshotWhileObserving(t *testing.T) {
	g := NewGroup(Count, Latency)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5_000 {
				s := g.Hold()
				s.Observe(0, 3)
				s.Observe(1, 20_000)
				s.Release()
			}
		})
	}
	for range 200 {
		if s := g.Histogram(0).Snapshot(); s.Sum != 3*float64(s.Count()) {
			t.Fatalf("%d observations of 3, sum %v", s.Count(), s.Sum)
		}
	}
	group.Wait()
	threes, latencies := g.Histogram(0).Snapshot(), g.Histogram(1).Snapshot()
	if threes.Count() != 20_000 || latencies.Count() != 20_000 || latencies.Counts[2] != 20_000 {
		t.Errorf("%d of 3, %v of 20 us, want 20,000 of each", threes.Count(), latencies.Counts)
	}
}

// TestHeldStripeKeepsNobodyWaiting holds all stripes but one, as threads do that lost their core while they observed.
func TestHeldStripeKeepsNobodyWaiting(t *testing.T) {
	h := New(Count)
	var held []*Stripe
	for range len(h.group.stripes) - 1 {
		held = append(held, h.group.Hold())
	}
	for range 100 {
		h.Observe(1)
	}
	for _, s := range held {
		s.Release()
	}
	if n := h.Snapshot().Count(); n != 100 {
		t.Errorf("%d observations, want 100", n)
	}
}

func TestRowsShareNoCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(row{}); size%128 != 0 {
		t.Fatalf("a row has %d bytes, no multiple of 128", size)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, layout := range []Layout{
		{}, {First: 1, Octaves: 70, PerUnit: 1}, {First: 1, Octaves: 3, Halves: true, PerUnit: 1}, {First: 1, PerUnit: 0},
		{First: 1 << 60, Octaves: 3, PerUnit: 1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was accepted", layout)
				}
			}()
			New(layout)
		}()
	}
}

func BenchmarkObserve(b *testing.B) {
	h := New(Latency)
	b.RunParallel(func(pb *testing.PB) {
		for n := int64(50_000); pb.Next(); n += 997 {
			h.Observe(n)
		}
	})
}
