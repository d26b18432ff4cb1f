package record

import "testing"

// A point is what its recovery recorded; the worst of several is the largest.
func TestPointOf(t *testing.T) {
	l := &Launch{Pairs: []Pair{{Name: "open", System: 90, Floor: 100}, {Name: "first-ack", System: 120, Floor: 100}, {Name: "caught-up", System: 125, Floor: 100}},
		Figures: []Figure{{RecoveredBytes, "bytes", System, 7}, {RestBytes, "bytes", System, 30}, {PeakBytes, "bytes", System, 75}}}
	p := PointOf(l, 5, 3)
	if want := (Point{WrittenBytes: 5, Groups: 3, LiveBytes: 7, FloorMs: 100, OpenMs: 90, FirstAckMs: 120, CaughtUpMs: 125, RestBytes: 30, PeakBytes: 75}); p != want {
		t.Errorf("got %+v\nwant %+v", p, want)
	}
	if p.Ratio() != 1.2 || p.Beyond() != 45 {
		t.Errorf("ratio %v, beyond rest %v", p.Ratio(), p.Beyond())
	}
	curve := &Launch{Points: []Point{{FirstAckMs: 3, FloorMs: 2}, {FirstAckMs: 4, FloorMs: 2}, {FirstAckMs: 1, FloorMs: 2}}}
	if v, ok := WorstPoint(curve, (*Point).Ratio); !ok || v != 2 {
		t.Errorf("the worst is %v, %v", v, ok)
	}
	if v, ok := WorstPoint(&Launch{}, (*Point).Ratio); ok {
		t.Errorf("the worst of none is %v", v)
	}
}
