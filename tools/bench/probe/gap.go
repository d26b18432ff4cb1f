package probe

import (
	"slices"
	"time"
)

// Acknowledged are the moments at which samples were acknowledged, the earliest first.
func Acknowledged(samples []Sample) []int64 {
	var at []int64
	for _, s := range samples {
		if s.Acked != failed {
			at = append(at, s.Acked)
		}
	}
	slices.Sort(at)
	return at
}

// Gap is the longest stretch without an acknowledgement that ends between two moments; what is open at the second one counts up to
// it. So a stretch belongs to whatever happened in it, and to nothing that happened when it was over. acked is in order.
func Gap(acked []int64, from, to int64) time.Duration {
	i, _ := slices.BinarySearch(acked, from)
	last := from
	if i > 0 {
		last = acked[i-1]
	}
	longest := int64(0)
	for ; i < len(acked) && acked[i] < to; i++ {
		longest = max(longest, acked[i]-last)
		last = acked[i]
	}
	return time.Duration(max(longest, to-last))
}

// Failed is how many samples were never acknowledged.
func Failed(samples []Sample) (n int) {
	for _, s := range samples {
		if s.Acked == failed {
			n++
		}
	}
	return n
}
