package probe

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Latencies are restored at the first moment at which a second begins whose p99 is at most Tolerance times what it was
// before. Window is that second; moments are Step apart. Before is the median of the same figure over the seconds before the
// kill, so that both sides of the comparison are made alike.
const (
	Window    = time.Second
	Step      = 100 * time.Millisecond
	Tolerance = 1.5
)

// Restored returns the beginning of the first window that is complete and whose p99 is at most limit. Samples are in the order
// in which they were due. from is the number of the window to begin with, next the first one that was not complete, for the
// next call. A window is complete when a record that was due after it was answered, in whatever way.
func Restored(samples []Sample, start int64, limit time.Duration, from int) (at int64, next int, ok bool) {
	for k := from; ; k++ {
		begin := start + int64(k)*Step.Nanoseconds()
		if n := len(samples); n == 0 || samples[n-1].Intended < begin+Window.Nanoseconds() {
			return 0, k, false
		}
		if p99, any := p99Of(samples, begin); any && p99 <= limit {
			return begin, k, true
		}
	}
}

// Before is the median of the p99s of all windows; 0 when there is none.
func Before(samples []Sample, start int64) time.Duration {
	var p99s []time.Duration
	for from := 0; ; {
		at, next, ok := Restored(samples, start, math.MaxInt64, from)
		if !ok {
			break
		}
		p99, _ := p99Of(samples, at)
		p99s, from = append(p99s, p99), next+1
	}
	if len(p99s) == 0 {
		return 0
	}
	slices.Sort(p99s)
	return p99s[len(p99s)/2]
}

// P99 is the 99th percentile of the time from when a record was due until it was acknowledged, of those due between two moments,
// 0 when there are none. Failures rank above every success. Samples are in the order in which they were due.
func P99(samples []Sample, from, to int64) time.Duration {
	p99, _ := p99Between(samples, from, to)
	return p99
}

// p99Of is P99 of the window that begins at begin.
func p99Of(samples []Sample, begin int64) (time.Duration, bool) {
	return p99Between(samples, begin, begin+Window.Nanoseconds())
}

func p99Between(samples []Sample, from, to int64) (time.Duration, bool) {
	byTime := func(s Sample, t int64) int { return cmp.Compare(s.Intended, t) }
	low, _ := slices.BinarySearchFunc(samples, from, byTime)
	high, _ := slices.BinarySearchFunc(samples, to, byTime)
	took := make([]int64, 0, high-low)
	for _, s := range samples[low:high] {
		if s.Acked == failed {
			took = append(took, math.MaxInt64)
		} else {
			took = append(took, s.Acked-s.Intended)
		}
	}
	if len(took) == 0 {
		return 0, false
	}
	slices.Sort(took)
	rank := int(math.Ceil(0.99*float64(len(took)) - 1e-9))
	return time.Duration(took[rank-1]), true
}
