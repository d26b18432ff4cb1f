package record

import (
	"slices"
	"testing"
)

func TestGapFigures(t *testing.T) {
	incidents := []Incident{{Sort: Kill, GapMs: 40, LibraryGapMs: 3000}, {Sort: Stop, GapMs: 7}, {Sort: Kill, GapMs: 60, LibraryGapMs: 2000}, {Sort: Kill, GapMs: 50}}
	if tuned, library := Gaps(incidents, Kill); !slices.Equal(tuned, []float64{40, 60, 50}) || !slices.Equal(library, []float64{3000, 2000}) {
		t.Errorf("gaps %v and %v", tuned, library)
	}
	got := map[string]float64{}
	for _, f := range GapFigures(incidents) {
		got[f.Name] = f.Value
		if f.Unit != "ms" || f.Side != System {
			t.Errorf("%+v", f)
		}
	}
	want := map[string]float64{"kill_gap_ms_p50": 50, "kill_gap_ms_worst": 60, "kill_gap_of_franz_go_ms_p50": 2500, "kill_gap_of_franz_go_ms_worst": 3000,
		"stop_gap_ms_p50": 7, "stop_gap_ms_worst": 7}
	if len(got) != len(want) {
		t.Errorf("figures %v", got)
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
}

// A load on one partition is no limit: a ratio below 1 to it breaks nothing.
func TestOnePartitionIsNoLimit(t *testing.T) {
	pair := Pair{Name: "p50", Unit: "us", System: 80, Floor: 100, Ratio: 0.8}
	for floor, want := range map[string]Verdict{"durable echo": Invalid, OnePartition: OK} {
		r := &Results{Scenarios: []Scenario{{Name: "s", FloorIs: floor}}}
		for n := 1; n <= 6; n++ {
			r.Launches = append(r.Launches, Launch{Number: n, Scenario: "s", Verdict: OK, Pairs: []Pair{pair}})
		}
		if got, reasons := Judge(r); got != want {
			t.Errorf("beside %s: %s %q", floor, got, reasons)
		}
	}
}
