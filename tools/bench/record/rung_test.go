package record

import "testing"

// climb makes the valid rungs of one side, the lowest first, from their p99 in µs; 0 is one that is not valid, a negative one
// is saturated.
func climb(side Side, p99s ...float64) []Rung {
	var out []Rung
	rate := 1000.0
	for _, p99 := range p99s {
		r := Rung{RatePerSecond: rate, Side: side, P99Us: p99, Verdict: OK}
		switch {
		case p99 == 0:
			r.Verdict, r.Reasons = Invalid, []string{"late"}
		case p99 < 0:
			r.P99Us, r.AtLeast = -p99, true
		}
		out = append(out, r)
		rate *= 2
	}
	return out
}

func TestFindKnee(t *testing.T) {
	for _, c := range []struct {
		p99s []float64
		want Knee
		ok   bool
	}{
		{[]float64{100, 200, 500, 501, 400}, Knee{4000, 8000}, true}, // a later one that is within it again is luck
		{[]float64{100, 500}, Knee{2000, 0}, true},                   // never missed
		{[]float64{600, 100}, Knee{0, 1000}, true},                   // missed at once
		{[]float64{100, 0, 300, 0, 900}, Knee{4000, 16000}, true},    // gaps are passed over
		{[]float64{100, -50}, Knee{1000, 2000}, true},                // saturated, whatever its other requests took
		{[]float64{0, 0}, Knee{}, false},
		{nil, Knee{}, false},
	} {
		all := append(climb(Floor, 1, 1, 1, 1, 1, 1), climb(System, c.p99s...)...)
		if got, ok := FindKnee(all, System, 500); got != c.want || ok != c.ok {
			t.Errorf("p99s %v: %+v, %v; want %+v, %v", c.p99s, got, ok, c.want, c.ok)
		}
	}
}

func TestObjective(t *testing.T) {
	s := Scenario{Configuration: map[string]string{ObjectiveKey: "2000"}}
	if us, ok := s.ObjectiveUs(); us != 2000 || !ok {
		t.Errorf("%v, %v", us, ok)
	}
	if us, ok := (&Scenario{}).ObjectiveUs(); ok {
		t.Errorf("a scenario that is no sweep has an objective of %v µs", us)
	}
}

func TestDataChecksAddUp(t *testing.T) {
	good := &DataCheck{Acknowledged: 10, Read: 11, Unknown: 1, OK: true}
	bad := &DataCheck{Acknowledged: 5, Read: 4, Missing: 1, Detail: "offset 3", OK: false}
	for _, sum := range []*DataCheck{good.Plus(bad), bad.Plus(good)} {
		if *sum != (DataCheck{Acknowledged: 15, Read: 15, Missing: 1, Unknown: 1, Detail: "offset 3"}) {
			t.Errorf("together %+v", sum)
		}
	}
	if sum := good.Plus(good); !sum.OK || sum.Read != 22 {
		t.Errorf("twice the good one: %+v", sum)
	}
}
