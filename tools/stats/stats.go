// Package stats turns the figures of several launches into one estimate and an honest interval.
//
// Requests within a launch are correlated with each other, latencies are skewed, and there are only six, ten or forty
// launches: a t-interval over requests would be wrong three times. So the launch is the replicate, ratios are taken
// in log, the estimate is the Hodges–Lehmann shift (the median of all pairwise means), and the interval is the exact
// one that inverts Wilcoxon's signed-rank test. It assumes only that the log-ratios are symmetric about their centre,
// and nothing about the tails. Nothing is resampled, so the same data give the same interval on every machine.
package stats

import (
	"fmt"
	"math"
	"slices"
)

// Estimate is a Hodges–Lehmann shift with its exact signed-rank interval.
type Estimate struct {
	N          int     `json:"launches"` // behind it
	Shift      float64 `json:"estimate"` // the estimate
	Low        float64 `json:"low"`      // the interval, inclusive
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`      // what the interval really covers: the smallest attainable coverage that is at least what was asked
	Short      bool    `json:"short,omitempty"` // too few launches for the confidence asked for: Low and High are the smallest and largest value
}

// Shift estimates the centre of d with an interval of at least the given confidence (0.95). With fewer values than the
// confidence needs (six for 0.95) the interval is the whole range, Confidence is what that covers, and Short is set.
func Shift(d []float64, confidence float64) (Estimate, error) {
	if len(d) == 0 {
		return Estimate{}, fmt.Errorf("stats: no values to estimate from")
	}
	if !(confidence > 0 && confidence < 1) {
		return Estimate{}, fmt.Errorf("stats: confidence is %v, want a number between 0 and 1", confidence)
	}
	for i, v := range d {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Estimate{}, fmt.Errorf("stats: value %d is %v, want a finite number", i, v)
		}
	}
	w := walsh(d)
	e := Estimate{N: len(d), Shift: middle(w)}
	k, tail := critical(len(d), (1-confidence)/2)
	if k < 0 {
		e.Short, k, tail = true, 0, math.Ldexp(1, -len(d))
	}
	e.Low, e.High, e.Confidence = w[k], w[len(w)-1-k], 1-2*tail
	return e, nil
}

// RatioShift is Shift in log: the estimate and interval of ratios that are each > 0.
func RatioShift(ratios []float64, confidence float64) (Estimate, error) {
	logs := make([]float64, len(ratios))
	for i, r := range ratios {
		if !(r > 0) {
			return Estimate{}, fmt.Errorf("stats: ratio %d is %v, want a number above 0", i, r)
		}
		logs[i] = math.Log(r)
	}
	e, err := Shift(logs, confidence)
	e.Shift, e.Low, e.High = math.Exp(e.Shift), math.Exp(e.Low), math.Exp(e.High)
	return e, err
}

// walsh returns the n(n+1)/2 means (d[i]+d[j])/2, i <= j, sorted.
func walsh(d []float64) []float64 {
	w := make([]float64, 0, len(d)*(len(d)+1)/2)
	for i := range d {
		for j := i; j < len(d); j++ {
			w = append(w, d[i]/2+d[j]/2)
		}
	}
	slices.Sort(w)
	return w
}

// critical returns the largest k with P(T+ <= k) <= tail under the null hypothesis, and that probability; k is -1 when
// even P(T+ <= 0) = 2^-n is larger. The interval from the (k+1)-th smallest to the (k+1)-th largest Walsh mean then
// covers 1 - 2 P(T+ <= k).
func critical(n int, tail float64) (k int, p float64) {
	k, sum := -1, 0.0
	// The margin keeps an exactly attainable tail (0.03125 with n = 5) attainable after (1-confidence)/2 was rounded.
	for t, q := range SignedRank(n) {
		if sum+q > tail*(1+1e-9) {
			break
		}
		sum, k = sum+q, t
	}
	return k, sum
}

// SignedRank returns P(T+ = t) for t = 0 … n(n+1)/2: the distribution of the sum of a random subset of 1 … n. Adding
// one rank at a time halves what was there and shifts the other half, which stays exact enough for any n used here
// (every step adds two non-negative numbers).
func SignedRank(n int) []float64 {
	p := make([]float64, n*(n+1)/2+1)
	p[0] = 1
	for r, top := 1, 0; r <= n; r++ {
		top += r
		for t := top; t >= 0; t-- {
			v := p[t] / 2
			if t >= r {
				v += p[t-r] / 2
			}
			p[t] = v
		}
	}
	return p
}

// Median returns the middle of v, the mean of the middle two for an even count. It panics on no values.
func Median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return middle(s)
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		panic("stats: the median of no values")
	}
	return sorted[(n-1)/2]/2 + sorted[n/2]/2
}

// LogMean returns exp of the mean of the logarithms: how slices within a launch are averaged, so that a ratio of means
// is the mean of the ratios. Every value must be above 0; otherwise it returns NaN.
func LogMean(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, x := range v {
		if !(x > 0) {
			return math.NaN()
		}
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}
