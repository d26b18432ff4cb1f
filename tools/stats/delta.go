package stats

import (
	"math"
	"strings"
)

// Looks are the numbers of pairs after which a comparison looks at its data, fixed before there are any: whoever looks until
// something shows finds something. GateConfidence pays for each look.
var Looks = []int{10, 20, 40}

// Delta is the smallest change of a figure that anybody acts on, as a share: policy, not noise. 3% of a median, 10% of
// everything else.
func Delta(figure string) float64 {
	if strings.HasSuffix(figure, "p50") {
		return 0.03
	}
	return 0.10
}

// AgainstMargin is AgainstDelta for a difference new - old of which less is better: margin is in the difference's unit.
func AgainstMargin(e Estimate, margin float64) Verdict {
	switch {
	case e.Short:
		return Inconclusive
	case e.Low > margin:
		return Regressed
	case e.High < -margin:
		return Improved
	case e.Low >= -margin && e.High <= margin:
		return Passed
	}
	return Inconclusive
}

// Resolution foretells SmallestEffect for n pairs from the log-ratios of some pairs that compare a program with itself. Their
// centre is known to be 0, so that four of them already say something about the spread, the root of their mean square. The
// half-width is that of an even sample with this spread, the n middle quantiles of a normal distribution: the usual z s/√n is
// far too small for ten pairs, whose interval is nearly their whole range. It is 0 when same is empty.
func Resolution(same []float64, confidence float64, n int) float64 {
	if len(same) == 0 || n < 1 {
		return 0
	}
	sum := 0.0
	for _, d := range same {
		sum += d * d
	}
	s := math.Sqrt(sum / float64(len(same)))
	even := make([]float64, n)
	for i := range even {
		even[i] = s * math.Sqrt2 * math.Erfinv((2*float64(i)+1)/float64(n)-1)
	}
	e, err := Shift(even, confidence)
	if err != nil {
		return math.Inf(1)
	}
	return math.Exp((e.High-e.Low)/2) - 1
}

// PairsFor is about how many pairs it takes until what n pairs see, effect, has shrunk to delta: the half-width of an
// interval falls with the root of their number.
func PairsFor(effect, delta float64, n int) int {
	x := math.Log1p(effect) / math.Log1p(delta)
	return max(n, int(math.Ceil(float64(n)*x*x)))
}

// LaunchesFor is the least number of launches whose interval can have the confidence: 1 - 2^(1-n) is the most that n of them give.
func LaunchesFor(confidence float64) int {
	return max(1, int(math.Ceil(1-math.Log2(1-confidence)-1e-9)))
}
