package hist

import (
	"sort"
	"sync"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Buckets are a histogram's samples by upper bounds that somebody else chose.
type Buckets struct {
	UpTo  []uint64 // successes within each bound, cumulative
	Total uint64   // with the failures, which rank above every success, and what took longer than the last bound
	SumNS float64  // of the successes within range
}

// ends lists, for each counter of a histogram in order, the largest value that it counts. The library tells it only beside a copy of all
// counts that are before the last sample, so it is asked once, of a histogram in which there is one of each.
var ends = sync.OnceValue(func() []int64 {
	one := hdr.New(LowestNS, HighestNS, Digits).Export()
	for i := range one.Counts {
		one.Counts[i] = 1
	}
	out := make([]int64, 0, len(one.Counts))
	for _, bar := range hdr.Import(one).Distribution() {
		out = append(out, bar.To)
	}
	return out
})

// Buckets counts what lies within each bound; bounds are nanoseconds and ascend. A sample counts as the largest value that the
// histogram does not tell from it, so one closer to a bound than a thousandth may be counted above it.
func (h *Hist) Buckets(bounds []int64) Buckets {
	out := Buckets{UpTo: make([]uint64, len(bounds)), Total: uint64(h.Total()), SumNS: h.Mean() * float64(h.h.TotalCount())}
	if len(bounds) == 0 {
		return out
	}
	first, above := ends(), 0
	for i, n := range h.h.Export().Counts {
		if n == 0 {
			continue
		}
		if above = above + sort.Search(len(bounds)-above, func(k int) bool { return bounds[above+k] >= first[i] }); above == len(bounds) {
			break
		}
		out.UpTo[above] += uint64(n)
	}
	out.UpTo[0] += uint64(h.below)
	for i := 1; i < len(bounds); i++ {
		out.UpTo[i] += out.UpTo[i-1]
	}
	return out
}
