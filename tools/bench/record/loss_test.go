package record

import (
	"slices"
	"testing"
)

// A time-out may be a second or five round trips, a gap the time-out and three.
func TestLossShares(t *testing.T) {
	l := &Launch{Incidents: []Incident{{Sort: LeaderRegion, ElectionMs: 1000, GapMs: 1300}, {Sort: OtherRegion, ElectionMs: 900, GapMs: 120}, {Sort: Kill, GapMs: 50}}}
	if got := append(ElectionShares(l), GapShares(l, LeaderRegion)...); got != nil {
		t.Errorf("without a round trip: %v", got)
	}
	for trip, want := range map[float64][4]float64{100: {1, 0.9, 1, 0.1}, 400: {0.5, 0.45, 1300. / 2200, 120. / 2100}} {
		l.Figures = []Figure{{Name: LongestTripMs, Side: Host, Value: trip}}
		if got := slices.Concat(ElectionShares(l), GapShares(l, LeaderRegion), GapShares(l, OtherRegion)); !slices.Equal(got, want[:]) {
			t.Errorf("round trips of %v ms: %v, want %v", trip, got, want)
		}
	}
	if n, ok := Lost(l); ok {
		t.Errorf("nothing was read back, and %v are lost", n)
	}
	l.Check = &DataCheck{Missing: 2, Damaged: 1, Misplaced: 4, Unknown: 9}
	if n, ok := Lost(l); !ok || n != 7 {
		t.Errorf("%v are lost, %v; want 7", n, ok)
	}
}
