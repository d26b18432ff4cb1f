package render

import (
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// curves is a run with a recovery curve whose first ack takes 100 ms and 1 s a GiB, beside a floor of 1 s a GiB, at four sizes, and in a
// hundred groups. The largest takes so much memory; its latencies were not restored.
func curves(memory float64) *record.Results {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios, record.Scenario{Name: "recovery-curve", Operation: "Recovery", Topology: "single", Workload: "recovery-curve", Tuning: "default",
		FloorIs: "one read of what the WAL held"})
	for n := 1; n <= 6; n++ {
		l := record.Launch{Number: n, Scenario: "recovery-curve", Verdict: record.OK, Requests: 1000, Check: &record.DataCheck{OK: true}}
		point := func(mib int64, groups int) *record.Point {
			ms := float64(mib) * 1000 / 1024
			l.Points = append(l.Points, record.Point{WrittenBytes: mib << 20, Groups: groups, LiveBytes: float64(mib << 20), FloorMs: ms, OpenMs: ms + 60, FirstAckMs: ms + 100,
				CaughtUpMs: ms + 101, RestoredMs: ms + 1500, RestBytes: 40 << 20, PeakBytes: 100 << 20})
			return &l.Points[len(l.Points)-1]
		}
		point(512, 1)
		point(1024, 1)
		last := point(4096, 1)
		last.RestoredMs, last.PeakBytes = 0, last.RestBytes+memory
		point(256, 100)
		r.Launches = append(r.Launches, l)
	}
	return r
}

// plain is a page without what aligns and wraps it.
func plain(page []byte) string { return strings.Join(strings.Fields(string(page)), " ") }

// A row for each point and the line through those of one group are on the page, which can be checked; a point without a figure has a dash.
func TestCurveIsPublished(t *testing.T) {
	page := render(t, curves(200<<20), nil)
	text := plain(page)
	for _, want := range []string{"| 512 MiB | 1 | 512 MiB | 560 ms | 600 ms | 500 ms | 1.20 [1.20–1.20] | 601 ms | 2.00 s | 60.0 MiB |",
		"| 4.00 GiB | 1 | 4.00 GiB | 4.06 s | 4.10 s | 4.00 s | 1.02 [1.02–1.02] | 4.10 s | – | 200 MiB |",
		"| 256 MiB | 100 | 256 MiB | 310 ms | 350 ms | 250 ms | 1.40 [1.40–1.40] | 351 ms | 1.75 s | 60.0 MiB |",
		"0.100 s + 1.000 s/GiB", "0.000 s + 1.000 s/GiB", "one group: first ack", "0.0 ms at 4.00 GiB"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if err := Check(page); err != nil {
		t.Error(err)
	}
}

// A bar over a curve holds at every size: the worst point of each launch decides. A run without a curve shows neither.
func TestBarsOfCurves(t *testing.T) {
	const ack, memory = "kill -9 to first ack / one read, at every size", "recovery: memory beyond rest, at every size"
	r := curves(257 << 20)
	if got := verdicts(r); got[ack] != string(stats.Missed) || got[memory] != string(stats.Missed) {
		t.Errorf("1.40 in a hundred groups, 257 MiB at the largest: %s, %s", got[ack], got[memory])
	}
	for i := range r.Launches {
		if l := &r.Launches[i]; len(l.Points) > 0 {
			l.Points, l.Points[2].PeakBytes = l.Points[:3], 0
		}
	}
	if got := verdicts(r); got[ack] != string(stats.Met) || got[memory] != string(stats.Met) {
		t.Errorf("1.20, 60 MiB: %s, %s", got[ack], got[memory])
	}
	if got := verdicts(sample("0123456789ab", 1)); got[ack] != "" || got[memory] != "" {
		t.Errorf("without a curve: %q, %q", got[ack], got[memory])
	}
}

// The new sorts of incidents have rows, under names that tell what happened.
func TestSilentIncidentsArePublished(t *testing.T) {
	r := failovers(20, 100)
	l := &r.Launches[len(r.Launches)-7]
	for i, s := range []record.IncidentSort{record.Cut, record.Mute, record.Deaf, record.Slow} {
		l.Incidents = append(l.Incidents, record.Incident{Sort: s, Node: 1, Led: 100, GapMs: 210 + float64(i), LibraryGapMs: 4000, BackMs: 2600})
	}
	page := plain(render(t, r, nil))
	for _, want := range []string{"| partition | 1 | 100 | 210 ms", "| one-way-out | 1 | 100 | 211 ms", "| one-way-in | 1 | 100 | 212 ms", "| slow-disk | 1 | 100 | 213 ms"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
