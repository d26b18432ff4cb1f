package knee

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ackline/loadgen/hist"
)

// Objective is what is to be kept: that a percentile of the response time is at most a limit.
type Objective struct {
	Percentile float64       `json:"percentile"`
	Limit      time.Duration `json:"limit_ns"`
}

// percentiles are those that an objective may be about.
var percentiles = []float64{50, 90, 95, 99, 99.9}

// ParseObjective reads "p99<=5ms". Spaces do not matter, and ≤ is as good as <=.
func ParseObjective(s string) (Objective, error) {
	text := strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "≤", "<=")
	left, right, ok := strings.Cut(text, "<=")
	p, pOK := strings.CutPrefix(left, "p")
	percentile, err := strconv.ParseFloat(p, 64)
	if !ok || !pOK || err != nil || !slices.Contains(percentiles, percentile) {
		return Objective{}, fmt.Errorf("objective %q: want p50, p90, p95, p99 or p99.9, then <= and a duration, such as p99<=5ms", s)
	}
	limit, err := time.ParseDuration(right)
	if err != nil || limit.Nanoseconds() < hist.LowestNS || limit.Nanoseconds() > hist.HighestNS {
		return Objective{}, fmt.Errorf("objective %q: %q is no duration from %v to %v, such as 5ms or 800us", s, right, time.Duration(hist.LowestNS), time.Duration(hist.HighestNS))
	}
	return Objective{Percentile: percentile, Limit: limit}, nil
}

// String is o as ParseObjective reads it.
func (o Objective) String() string { return fmt.Sprintf("p%g ≤ %v", o.Percentile, o.Limit) }

// Keeps says whether response times keep the objective. One that fell on an operation without success does not.
func (o Objective) Keeps(response *hist.Hist, timeoutNS int64) bool {
	v := response.Percentile(o.Percentile, timeoutNS)
	return !v.AtLeast && v.NS <= o.Limit.Nanoseconds()
}
