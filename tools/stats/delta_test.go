package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// rejects is the signed-rank test from its definition: d has the centre theta, and each of the 2^n ways to choose signs for the ranks of
// |d - theta| is as likely as any other. It says whether what was seen is among the outermost share of tail on either side.
func rejects(d []float64, theta, tail float64) bool {
	type ranked struct {
		size     float64
		positive bool
	}
	var r []ranked
	for _, x := range d {
		r = append(r, ranked{math.Abs(x - theta), x > theta})
	}
	slices.SortFunc(r, func(a, b ranked) int {
		if a.size < b.size {
			return -1
		}
		return 1
	})
	seen := 0
	for i, x := range r {
		if x.positive {
			seen += i + 1
		}
	}
	below, above := 0, 0
	for signs := range 1 << len(d) {
		sum := 0
		for i := range r {
			if signs>>i&1 == 1 {
				sum += i + 1
			}
		}
		if sum <= seen {
			below++
		}
		if sum >= seen {
			above++
		}
	}
	return float64(min(below, above))/float64(int(1)<<len(d)) <= tail
}

// The interval is every centre that the test, by enumeration, does not reject: just inside its ends it does not, just outside it does.
// The estimate is where as much speaks for a larger centre as for a smaller one.
func TestShiftAgainstEnumeration(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for round := range 60 {
		n := 6 + round%5
		d := make([]float64, n)
		for i := range d {
			d[i] = 0.1 + rng.NormFloat64()*math.Exp(rng.NormFloat64())
		}
		for _, confidence := range []float64{0.80, 0.95, GateConfidence(2, 1), GateConfidence(8, 3)} {
			e, err := Shift(d, confidence)
			if err != nil {
				t.Fatal(err)
			}
			tail := (1 - confidence) / 2
			if e.Short != (math.Ldexp(1, -n) > tail*(1+1e-9)) {
				t.Fatalf("n=%d at %.4f: short is %v", n, confidence, e.Short)
			}
			if e.Short {
				continue
			}
			const step = 1e-9
			if rejects(d, e.Low+step, tail) || rejects(d, e.High-step, tail) {
				t.Errorf("n=%d at %.4f: the test rejects a centre inside [%v, %v] of %v", n, confidence, e.Low, e.High, d)
			}
			if !rejects(d, e.Low-step, tail) || !rejects(d, e.High+step, tail) {
				t.Errorf("n=%d at %.4f: the test does not reject a centre outside [%v, %v] of %v", n, confidence, e.Low, e.High, d)
			}
			if want := balance(d); math.Abs(e.Shift-want) > 1e-6 {
				t.Errorf("n=%d: the estimate is %v, the signed ranks balance at %v", n, e.Shift, want)
			}
		}
	}
}

// balance finds the middle of the centres at which the sum of positive ranks is nearest to that of negative ones, by bisection.
func balance(d []float64) float64 {
	excess := func(theta float64) int {
		sum := 0
		for i, x := range d {
			rank := 1
			for j, y := range d {
				if j != i && math.Abs(y-theta) < math.Abs(x-theta) {
					rank++
				}
			}
			if x < theta {
				rank = -rank
			}
			sum += rank
		}
		return sum
	}
	edge := func(beyond func(int) bool) float64 {
		low, high := slices.Min(d)-1, slices.Max(d)+1
		for range 100 {
			if mid := (low + high) / 2; beyond(excess(mid)) {
				high = mid
			} else {
				low = mid
			}
		}
		return high
	}
	return (edge(func(x int) bool { return x <= 0 }) + edge(func(x int) bool { return x < 0 })) / 2
}

func TestDeltaIsPolicy(t *testing.T) {
	for name, want := range map[string]float64{"p50": 0.03, "e2e-p50": 0.03, "p99": 0.10, "rate": 0.10, "cpu_ns_per_request": 0.10} {
		if got := Delta(name); got != want {
			t.Errorf("δ of %s is %v, want %v", name, got, want)
		}
	}
}

func TestAgainstMargin(t *testing.T) {
	for _, c := range []struct {
		e    Estimate
		want Verdict
	}{{Estimate{Low: -2, High: 3}, Passed}, {Estimate{Low: 3.1, High: 9}, Regressed}, {Estimate{Low: -9, High: -3.1}, Improved},
		{Estimate{Low: 1, High: 4}, Inconclusive}, {Estimate{Low: 4, High: 5, Short: true}, Inconclusive}} {
		if got := AgainstMargin(c.e, 3); got != c.want {
			t.Errorf("%+v against 3: %s, want %s", c.e, got, c.want)
		}
	}
}

// What is foretold from pairs of one program must be what pairs then see.
func TestResolutionForetells(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 1))
	confidence := GateConfidence(8, 3)
	for _, n := range []int{10, 20, 40} {
		var foretold, seen []float64
		for range 300 {
			same, d := make([]float64, 10), make([]float64, n)
			for i := range same {
				same[i] = 0.05 * rng.NormFloat64()
			}
			for i := range d {
				d[i] = math.Exp(0.05 * rng.NormFloat64())
			}
			e, err := RatioShift(d, confidence)
			if err != nil {
				t.Fatal(err)
			}
			foretold, seen = append(foretold, Resolution(same, confidence, n)), append(seen, SmallestEffect(e))
		}
		if f, s := Median(foretold), Median(seen); f < 0.7*s || f > 1.2*s {
			t.Errorf("%d pairs see %.2f%%, foretold were %.2f%%", n, 100*s, 100*f)
		}
	}
	if Resolution(nil, 0.95, 10) != 0 {
		t.Error("something was foretold from nothing")
	}
	if got := PairsFor(0.06, 0.03, 40); got < 155 || got > 160 {
		t.Errorf("an effect of 6%% takes %d pairs to shrink to 3%%, want about four times 40", got)
	}
	if got := PairsFor(0.02, 0.03, 40); got != 40 {
		t.Errorf("what is seen already takes %d pairs, want no more than there are", got)
	}
}

func TestLaunchesFor(t *testing.T) {
	for _, confidence := range []float64{0.5, 0.75, 0.9, 0.95, 0.96875, GateConfidence(8, 3), GateConfidence(18, 1)} {
		n := LaunchesFor(confidence)
		for launches, want := range map[int]bool{n: false, n - 1: true} {
			if e, err := Shift(make([]float64, launches), confidence); launches > 0 && (err != nil || e.Short != want) {
				t.Errorf("%d launches for %v: short is %v, want %v (%v)", launches, confidence, e.Short, want, err)
			}
		}
	}
}
