package record

import (
	"math"
	"testing"

	"ackline/loadgen/hist"
	"ackline/tools/stats"
)

// at is what producers of one region waited for: once so many ms, for each that is given.
func at(placement, leader string, ms ...float64) Region {
	h := hist.NewLatency()
	for _, v := range ms {
		h.Record(int64(v * 1e6))
	}
	return Region{Placement: placement, Leader: leader, System: h}
}

func TestChoose(t *testing.T) {
	best, worst := []Region{at("best", "n2", 8), at("best", "n2", 4)}, []Region{at("worst", "n3", 18), at("worst", "n3", 16)}
	for _, c := range []struct {
		name    string
		own     []Region
		beyond  float64
		verdict stats.Verdict
	}{
		{"near", []Region{at("automatic", "n1", 4), at("automatic", "n1", 9)}, 500, stats.Met},
		{"far", []Region{at("automatic", "n1", 9), at("automatic", "n1", 6)}, 1500, stats.Missed},
		{"the best", []Region{at("automatic", "n2", 7.9), at("automatic", "n2", 3.9)}, -100, stats.Met},
	} {
		all := append(append(append([]Region(nil), worst...), c.own...), best...)
		got := Choose(all, 7)
		if got == nil || math.Abs(got.BeyondUs-c.beyond) > 20 || got.Verdict != c.verdict || got.Best != "n2" || got.Leader != c.own[0].Leader || got.TheoryUs != 7 ||
			math.Abs(got.BestMeanUs-6000) > 10 {
			t.Errorf("%s: %+v, want %v beyond n2: %s", c.name, got, c.beyond, c.verdict)
		}
	}
	own := at("automatic", "n1", 4)
	for name, regions := range map[string][]Region{
		"nothing else":    {own},
		"no choice":       append(append([]Region(nil), best...), worst...),
		"nobody was told": {own, at("best", "n2")},
		"empty":           nil,
	} {
		if got := Choose(regions, 0); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
