package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The depression-scale data of Hollander & Wolfe, Nonparametric Statistical Methods, table 3.1 (first minus second
// visit): the textbook's and R's (wilcox.test, conf.int) answers are 0.46 and [0.010, 0.786] at 96.1%.
var hollanderWolfe = []float64{
	1.83 - 0.878, 0.50 - 0.647, 1.62 - 0.598, 2.48 - 2.05, 1.68 - 1.06, 1.88 - 1.29, 1.55 - 1.06, 3.06 - 3.14, 1.30 - 1.29,
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.6f, want %.6f", what, got, want)
	}
}

func TestShiftAgainstTextbook(t *testing.T) {
	e, err := Shift(hollanderWolfe, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "shift", e.Shift, 0.46, 1e-9)
	near(t, "low", e.Low, 0.010, 1e-9)
	near(t, "high", e.High, 0.786, 1e-9)
	near(t, "confidence", e.Confidence, 1-2*10.0/512, 1e-12) // P(T <= 5) = 10/512 with n = 9
	if e.N != 9 || e.Short {
		t.Errorf("N=%d Short=%v, want 9 and false", e.N, e.Short)
	}
}

// Critical values of the two-sided 5% test from the published tables (the largest T with 2 P(T+ <= T) <= 0.05).
func TestCriticalValues(t *testing.T) {
	for n, want := range map[int]int{5: -1, 6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 12: 13, 15: 25, 20: 52, 25: 89, 30: 137, 40: 264} {
		if k, _ := critical(n, 0.025); k != want {
			t.Errorf("n=%d: critical value %d, the tables say %d", n, k, want)
		}
	}
}

func TestSignedRankAgainstEnumeration(t *testing.T) {
	const n = 9
	count := make([]int, n*(n+1)/2+1)
	for set := range 1 << n {
		sum := 0
		for r := range n {
			if set>>r&1 == 1 {
				sum += r + 1
			}
		}
		count[sum]++
	}
	total := 0.0
	for v, p := range SignedRank(n) {
		near(t, "probability", p, float64(count[v])/(1<<n), 1e-15)
		total += p
	}
	near(t, "total", total, 1, 1e-12)
}

func TestShortIntervalsSaySo(t *testing.T) {
	e, err := Shift([]float64{3, 1, 2}, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Short || e.Low != 1 || e.High != 3 || e.Shift != 2 {
		t.Errorf("got %+v, want the whole range 1 to 3 about 2, marked short", e)
	}
	near(t, "confidence", e.Confidence, 0.75, 1e-12)
	six, err := Shift([]float64{1, 2, 3, 4, 5, 6}, 0.95)
	if err != nil || six.Short {
		t.Errorf("six launches reach 95%%, got %+v, %v", six, err)
	}
}

// The interval must cover the truth as often as it claims, here for a skew-free but heavy-tailed distribution.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	const rounds, n = 4000, 10
	hit, claimed := 0, 0.0
	for range rounds {
		d := make([]float64, n)
		for i := range d {
			d[i] = 0.3 + rng.NormFloat64()/math.Max(math.Abs(rng.NormFloat64()), 1e-9)
		}
		e, err := Shift(d, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		claimed = e.Confidence
		if e.Low <= 0.3 && 0.3 <= e.High {
			hit++
		}
	}
	near(t, "coverage", float64(hit)/rounds, claimed, 0.015)
}

func TestRatioShift(t *testing.T) {
	e, err := RatioShift([]float64{1.1, 1.1, 1.1, 1.1, 1.1, 1.1}, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ratio", e.Shift, 1.1, 1e-12)
	near(t, "low", e.Low, 1.1, 1e-12)
	if _, err := RatioShift([]float64{1, 0}, 0.95); err == nil {
		t.Error("a ratio of 0 was accepted")
	}
}

func TestBadInputIsRefused(t *testing.T) {
	for name, f := range map[string]func() error{
		"nothing":       func() error { _, err := Shift(nil, 0.95); return err },
		"confidence 1":  func() error { _, err := Shift([]float64{1}, 1); return err },
		"not a number":  func() error { _, err := Shift([]float64{1, math.NaN()}, 0.95); return err },
		"infinite":      func() error { _, err := Shift([]float64{1, math.Inf(1)}, 0.95); return err },
		"confidence -1": func() error { _, err := Shift([]float64{1}, -1); return err },
	} {
		if f() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestJudges(t *testing.T) {
	e := func(low, high float64) Estimate { return Estimate{Low: low, High: high, N: 10} }
	for _, c := range []struct {
		e    Estimate
		bar  float64
		want Verdict
	}{
		{e(1.05, 1.10), 1.15, Met}, {e(1.05, 1.15), 1.15, Met}, {e(1.05, 1.16), 1.15, Undecided},
		{e(1.16, 1.20), 1.15, Missed}, {Estimate{Low: 1, High: 1.1, Short: true}, 1.15, Undecided},
	} {
		if got := AgainstBar(c.e, c.bar); got != c.want {
			t.Errorf("%v against %v: %s, want %s", c.e, c.bar, got, c.want)
		}
	}
	for _, c := range []struct {
		e    Estimate
		want Verdict
	}{
		{e(0.98, 1.02), Passed}, {e(1.031, 1.2), Regressed}, {e(0.8, 0.9), Improved}, {e(0.99, 1.04), Inconclusive},
		{e(0.96, 1.0), Inconclusive}, {Estimate{Low: 1.1, High: 1.2, Short: true}, Inconclusive},
	} {
		if got := AgainstDelta(c.e, 0.03); got != c.want {
			t.Errorf("%v against a delta of 3%%: %s, want %s", c.e, got, c.want)
		}
	}
	near(t, "smallest effect", SmallestEffect(e(1/1.02, 1.02)), 0.02, 1e-9)
	near(t, "gate confidence", GateConfidence(2, 3), 1-0.05/6, 1e-12)
}

func TestMeans(t *testing.T) {
	near(t, "log-mean", LogMean([]float64{1, 4}), 2, 1e-12)
	if !math.IsNaN(LogMean(nil)) || !math.IsNaN(LogMean([]float64{1, 0})) {
		t.Error("a log-mean of nothing or of 0 is not NaN")
	}
	near(t, "median", Median([]float64{4, 1, 3, 2}), 2.5, 1e-12)
}
