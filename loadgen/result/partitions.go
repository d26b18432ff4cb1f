package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ackline/loadgen/place"
)

// PartitionCount is what one partition got of the load.
type PartitionCount struct {
	Topic     string `json:"topic,omitempty"` // where there are several
	Partition int32  `json:"partition"`
	Acked     int64  `json:"acked"` // operations within the measured window
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

// maxPartitions is how many partitions a summary lists, the busiest; the JSON has all.
const maxPartitions = 8

// partitions tells how the load came to the partitions, and to which where that is the keys' doing, or there are a few of several topics.
func (r *Result) partitions(b *strings.Builder) {
	counts := r.ByPartition
	if len(counts) < 2 {
		return
	}
	fmt.Fprintf(b, "  %s: the busiest had %.2f times the median's operations\n", plural(len(counts), "partition"), Skew(counts))
	byKey := r.Effective.Options["partition by"] != ""
	if counts[0].Topic == "" && !byKey {
		return
	}
	counts = slices.Clone(counts)
	slices.SortStableFunc(counts, func(a, b PartitionCount) int { return cmp.Compare(b.Acked, a.Acked) })
	width, none := 0, 0
	for _, c := range counts {
		if c.Acked == 0 {
			none++
		}
	}
	listed := counts[:min(len(counts), maxPartitions)]
	if !byKey && len(counts) > maxPartitions {
		listed = nil // they are alike
	}
	for _, c := range listed {
		width = max(width, len(place.Name(c.Topic, c.Partition)))
	}
	for _, c := range listed {
		fmt.Fprintf(b, "    %-*s%12d%7.1f%%\n", width, place.Name(c.Topic, c.Partition), c.Acked, 100*float64(c.Acked)/float64(max(r.Counts.Acked, 1)))
	}
	if rest := counts[len(listed):]; len(rest) > 0 && len(listed) > 0 {
		fmt.Fprintf(b, "    and %d more, with at most %d each\n", len(rest), rest[0].Acked)
	}
	if none > 0 {
		fmt.Fprintf(b, "    %s had nothing\n", plural(none, "partition"))
	}
}
