package result

import (
	"cmp"
	"slices"
)

// Gap is a stretch in which a partition's operations were due and none was acknowledged. CLOCK_MONOTONIC, ns.
type Gap struct {
	Partition int32
	From, To  int64
	// Open: nothing had been acknowledged by the end of the run.
	Open bool
}

// Outage is a stretch in which at least one partition had a gap: gaps that overlap are one.
type Outage struct {
	StartSeconds float64 `json:"start_seconds"` // from the beginning of the measured window
	Seconds      float64 `json:"seconds"`
	Partitions   []int32 `json:"partitions"`
	Open         bool    `json:"open,omitempty"` // it had not ended when the run did
}

// Outages makes outages of gaps: what of them lies within the window and is longer than least (ns), in order of their beginning.
func Outages(gaps []Gap, window Span, least int64) []Outage {
	gaps = slices.Clone(gaps)
	for i := range gaps {
		g := &gaps[i]
		g.From, g.To = max(g.From, window.From), min(g.To, window.To)
	}
	gaps = slices.DeleteFunc(gaps, func(g Gap) bool { return g.To-g.From <= least })
	slices.SortFunc(gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Partition, b.Partition)) })
	var out []Outage
	for i := 0; i < len(gaps); {
		from, to := gaps[i].From, gaps[i].To
		var o Outage
		for ; i < len(gaps) && gaps[i].From <= to; i++ {
			to = max(to, gaps[i].To)
			o.Partitions = append(o.Partitions, gaps[i].Partition)
			o.Open = o.Open || gaps[i].Open
		}
		slices.Sort(o.Partitions)
		o.Partitions = slices.Compact(o.Partitions)
		o.StartSeconds, o.Seconds = float64(from-window.From)/1e9, float64(to-from)/1e9
		out = append(out, o)
	}
	return out
}

// PartitionCount is what one partition got of the load.
type PartitionCount struct {
	Partition int32 `json:"partition"`
	Acked     int64 `json:"acked"` // operations within the measured window
}

// Skew is how unevenly the load came to the partitions: the busiest one's operations over the median's, 0 if that has none.
func Skew(counts []PartitionCount) float64 {
	if len(counts) == 0 {
		return 0
	}
	n := make([]int64, len(counts))
	for i, c := range counts {
		n[i] = c.Acked
	}
	slices.Sort(n)
	if n[len(n)/2] == 0 {
		return 0
	}
	return float64(n[len(n)-1]) / float64(n[len(n)/2])
}
