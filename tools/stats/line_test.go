package stats

import (
	"math"
	"testing"
)

// A line's points are found again; a bent curve leaves residuals that add up to nothing; one x is no line.
func TestFitLine(t *testing.T) {
	l, err := FitLine([]float64{0.0625, 0.25, 1, 4}, []float64{0.2125, 0.4, 1.15, 4.15})
	if err != nil || math.Abs(l.A-0.15) > 1e-12 || math.Abs(l.B-1) > 1e-12 {
		t.Errorf("%+v, %v; want 0.15 + 1 x", l, err)
	}
	l, err = FitLine([]float64{0, 1, 2}, []float64{0, 0, 3})
	want := []float64{0.5, -1, 0.5}
	if err != nil || math.Abs(l.A+0.5) > 1e-12 || math.Abs(l.B-1.5) > 1e-12 || len(l.Residuals) != 3 {
		t.Fatalf("%+v, %v; want -0.5 + 1.5 x", l, err)
	}
	for i, r := range l.Residuals {
		if math.Abs(r-want[i]) > 1e-12 {
			t.Errorf("residual %d is %v, want %v", i, r, want[i])
		}
	}
	for _, c := range [][2][]float64{{{1}, {1}}, {{1, 1}, {1, 2}}, {{1, 2}, {1}}} {
		if l, err := FitLine(c[0], c[1]); err == nil {
			t.Errorf("%v: %+v, want an error", c, l)
		}
	}
}
