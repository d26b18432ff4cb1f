package hist

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBuckets compares with counting the values themselves, away from the bounds by more than the resolution.
func TestBuckets(t *testing.T) {
	bounds := []int64{1_000, 1_414, 2_000, 16_384_000, 1_000_000_000}
	rng := rand.New(rand.NewPCG(1, 2))
	h, want, sum := NewLatency(), make([]uint64, len(bounds)), 0.0
	for range 50_000 {
		v := int64(math.Exp(rng.Float64()*math.Log(3e9/1.2e3)) * 1.2e3)
		if slices.ContainsFunc(bounds, func(b int64) bool { return math.Abs(float64(v-b)) <= max(float64(b)/1000, 512) }) {
			continue
		}
		h.Record(v)
		sum += float64(v)
		for i, b := range bounds {
			if v <= b {
				want[i]++
			}
		}
	}
	h.Fail()
	h.Record(10)            // below the range: within every bound
	h.Record(HighestNS * 2) // above it: within none
	for i := range want {
		want[i]++
	}
	got := h.Buckets(bounds)
	if !slices.Equal(got.UpTo, want) || got.Total != uint64(h.Total()) || got.Total != uint64(h.Count())+1 {
		t.Errorf("got %+v of %d, want %d", got, h.Total(), want)
	}
	if math.Abs(got.SumNS/sum-1) > 0.001 {
		t.Errorf("the sum is %g ns, want %g", got.SumNS, sum)
	}
}

// TestEnds: the library has one counter for each, in ascending order, up to the range's end.
func TestEnds(t *testing.T) {
	e := ends()
	if n := len(NewDelay().h.Export().Counts); len(e) != n || !slices.IsSorted(e) || e[n-1] < HighestNS {
		t.Errorf("%d ends for %d counters, the last one %d", len(e), n, e[len(e)-1])
	}
}
