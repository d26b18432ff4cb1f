package render

import (
	"maps"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// losses is a run in which regions were lost so many times each, the leader's with this gap once.
func losses(n int, gapMs, electionMs float64, missing int64) *record.Results {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios, record.Scenario{Name: "region-loss-3", Operation: "RegionLoss", Topology: "multi-dc-3", Workload: "region-loss", Tuning: "default"})
	l := record.Launch{Number: 1, Scenario: "region-loss-3", Verdict: record.OK, Requests: 1000, Check: &record.DataCheck{OK: missing == 0, Missing: missing},
		Figures: []record.Figure{{Name: record.LongestTripMs, Unit: "ms", Side: record.Host, Value: 30}},
		Network: &record.Network{Region: "continent-3", Mode: "relay", Idle: true, Links: []record.Link{{From: "n1", To: "n2", WantUs: 30_000}}}}
	if missing > 0 {
		l.Verdict, l.Reasons = record.Failed, []string{"data check"}
	}
	for range n {
		for i, s := range record.RegionSorts {
			l.Incidents = append(l.Incidents, record.Incident{Sort: s, Node: 2, Led: 1, GapMs: float64(700 + 10*i), BackMs: 2500, ElectionMs: electionMs})
		}
	}
	l.Incidents[0].GapMs = gapMs
	r.Launches = append(r.Launches, l)
	return r
}

func TestBarsOfLostRegions(t *testing.T) {
	const election, leader, other, oneWay, gone = "3 regions, election time-out / max(1 s, 5 round trips)", "3 regions, leader's lost: gap / time-out + 3 round trips",
		"3 regions, another lost: gap / time-out + 3 round trips", "3 regions, leader's cut one way: gap / the same", "3 regions, one lost: acknowledged records that are gone"
	const met, missed, undecided = string(stats.Met), string(stats.Missed), string(stats.Undecided)
	for _, c := range []struct {
		n               int
		gap, electionMs float64
		missing         int64
		want            [5]string
	}{
		{20, 1089, 1000, 0, [5]string{met, met, met, met, met}},
		{20, 1091, 1000, 0, [5]string{met, missed, met, met, met}},
		{20, 1089, 1001, 0, [5]string{missed, met, met, met, met}},
		{10, 1089, 1000, 0, [5]string{met, undecided, undecided, met, met}}, // forty of all, and twenty one way
		{20, 1089, 1000, 1, [5]string{invalid, invalid, invalid, invalid, missed}},
	} {
		got := verdicts(losses(c.n, c.gap, c.electionMs, c.missing))
		for i, name := range []string{election, leader, other, oneWay, gone} {
			if got[name] != c.want[i] {
				t.Errorf("%d times, gap %v ms, time-out %v ms, %d missing: %s is %q, want %s", c.n, c.gap, c.electionMs, c.missing, name, got[name], c.want[i])
			}
		}
	}
}

// A partition over a distance is judged by its share of what one stream carries.
func TestBarOfALine(t *testing.T) {
	for rate, want := range map[float64]stats.Verdict{18e6: stats.Met, 16e6: stats.Missed} {
		r := sample("0123456789ab", 1)
		r.Scenarios = append(r.Scenarios, record.Scenario{Name: "line-rate-70ms", Operation: "LineRate", Topology: "far-3", Workload: "line-rate", Tuning: "default",
			FloorIs: "one TCP stream"})
		for n := 1; n <= 6; n++ {
			r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: "line-rate-70ms", Verdict: record.OK, Requests: 1000, Check: &record.DataCheck{OK: true},
				Pairs: []record.Pair{{Name: "rate", Unit: "bytes/s", System: rate, Floor: 25e6, Ratio: 25e6 / rate, Excess: 25e6 - rate, Slices: 2, Gated: true}}})
		}
		if got := verdicts(r)["one partition, 70 ms apart: rate / one TCP stream's"]; got != string(want) {
			t.Errorf("%v of 25e6 B/s: %s, want %s", rate, got, want)
		}
		if page := string(render(t, r, nil)); !strings.Contains(page, "| line-rate-70ms ") || !strings.Contains(page, "| 23.8 MiB/s ") {
			t.Error("the page has no row for it")
		}
	}
}

// Of a slow disk and of a client that nobody set up there are rows and columns in the same table, and no bar: neither is judged.
func TestSlowDiskAndLibraryArePublished(t *testing.T) {
	r := losses(20, 1050, 1000, 0)
	before := verdicts(r)
	l := &r.Launches[len(r.Launches)-1]
	for i := range l.Incidents {
		l.Incidents[i].LibraryGapMs = 4000
	}
	for range 20 {
		l.Incidents = append(l.Incidents, record.Incident{Sort: record.Slow, Node: 2, Led: 1, GapMs: 90_000, LibraryGapMs: 60_000, BackMs: 1500, ElectionMs: 90_000})
	}
	page := string(render(t, r, nil))
	for _, want := range []string{"| nothing: the leader's disk is slow ", "franz-go p50 ", "| 700 ms  | 700 ms | 1.05 s | 4.00 s ", "| 90.0 s "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "| slow-disk ") {
		t.Error("the slow disk is in the table of nodes, too")
	}
	if after := verdicts(r); !maps.Equal(before, after) {
		t.Errorf("bars are %v, were %v", after, before)
	}
}

func TestLostRegionsArePublished(t *testing.T) {
	page := string(render(t, losses(20, 1050, 1000, 0), nil))
	for _, want := range []string{"| the leader's region, both ways ", "| what the leader's region hears ", "| 20  | 700 ms  | 700 ms | 1.05 s | 2.50 s ", "Its round trips without a", "| n1 – n2 "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "| leader-region ") {
		t.Error("the loss of a region is in the table of nodes, too")
	}
	if err := Check([]byte(page)); err != nil {
		t.Error(err)
	}
}
