package pace

import (
	"math"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

// counts is how many arrivals lie in each of n stretches of a length.
func counts(all []int64, stretch time.Duration, n int) []int {
	out := make([]int, n)
	for _, t := range all {
		if i := int(t / stretch.Nanoseconds()); i < n {
			out[i]++
		}
	}
	return out
}

// A ramp has, in each second, as many arrivals as its rate says, whatever the schedule and however many share it.
func TestRampReachesItsRate(t *testing.T) {
	shape := Shape{RampTo: 5000, RampOver: 4 * time.Second}
	want := []float64{1500, 2500, 3500, 4500, 5000, 5000} // of 1,000 to 5,000 in four seconds
	for _, c := range []struct {
		kind    Kind
		workers int
		off     float64 // at most, in standard deviations of a Poisson count; constant arrivals have none
	}{{Constant, 1, 0.05}, {Constant, 4, 0.05}, {Bursts, 1, 1}, {Poisson, 1, 4}, {Poisson, 3, 4}} {
		got := counts(take(Spec{Kind: c.kind, RatePerSecond: 1000, Seed: 3, Shape: shape}, c.workers, 24_000), time.Second, 6)
		for i := range want {
			if d := math.Abs(float64(got[i]) - want[i]); d > c.off*math.Sqrt(want[i]) {
				t.Errorf("%s, %d workers: %d arrivals in second %d, want %.0f", c.kind, c.workers, got[i], i, want[i])
			}
		}
	}
	// Downwards, too, and not at all.
	for _, to := range []float64{100, 1000, 1000.000001} {
		got := counts(take(Spec{Kind: Constant, RatePerSecond: 1000, Shape: Shape{RampTo: to, RampOver: time.Second}}, 1, 3000), time.Second, 2)
		if first := (1000 + to) / 2; math.Abs(float64(got[0])-first) > 1 || math.Abs(float64(got[1])-to) > 1 {
			t.Errorf("to %g: %v", to, got)
		}
	}
}

func TestOnAndOff(t *testing.T) {
	s := Spec{Kind: Constant, RatePerSecond: 1000, Shape: Shape{On: 200 * time.Millisecond, Off: 300 * time.Millisecond}}
	for i, n := range counts(take(s, 2, 1000), 100*time.Millisecond, 20) {
		want := 0
		if i%5 < 2 {
			want = 100
		}
		if n != want {
			t.Errorf("%d arrivals in the %d. tenth of a second, want %d", n, i+1, want)
		}
	}
}

// Time never goes back, and an even schedule is left as it is.
func TestShapesKeepTheOrder(t *testing.T) {
	f := func(rate, to uint16, over, on, off uint32, steps []uint32) bool {
		for _, s := range []Shape{{RampTo: float64(to) + 0.1, RampOver: time.Duration(over) + 1}, {On: time.Duration(on) + 1, Off: time.Duration(off) + 1}} {
			at, last := int64(0), int64(-1)
			for _, d := range steps {
				at += int64(d)
				v := s.at(at, float64(rate)+0.1)
				if v < last || v < 0 {
					return false
				}
				last = v
			}
		}
		return Shape{}.at(int64(over), float64(rate)) == int64(over)
	}
	if err := quick.Check(f, nil); err != nil {
		t.Fatal(err)
	}
}

func TestShapesThatMakeNoSense(t *testing.T) {
	for want, s := range map[string]Spec{
		"closed loop has none":    {Kind: Closed, Shape: Shape{On: 1, Off: 1}},
		"want both, or neither":   {Kind: Poisson, RatePerSecond: 1, Shape: Shape{RampTo: 5}},
		"on for 1ns, off for 0s":  {Kind: Poisson, RatePerSecond: 1, Shape: Shape{On: 1}},
		"want one of them":        {Kind: Constant, RatePerSecond: 1, Shape: Shape{RampTo: 5, RampOver: 1, On: 1, Off: 1}},
		"a ramp to -1 per second": {Kind: Constant, RatePerSecond: 1, Shape: Shape{RampTo: -1, RampOver: 1}},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want ...%s...", s, err, want)
		}
	}
}
