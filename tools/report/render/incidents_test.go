package render

import (
	"regexp"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// failovers is a run of three nodes: twenty kills and stops, and partitions beside one.
func failovers(kills int, worst float64) *record.Results {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios, record.Scenario{Name: "failover", Operation: "Failover", Topology: "same-dc-3", Workload: "failover", Tuning: "default"},
		record.Scenario{Name: "partitions-1000", Operation: "Produce", Topology: "same-dc-3", Workload: "spread", Tuning: "default", FloorIs: record.OnePartition})
	l := record.Launch{Number: 1, Scenario: "failover", Verdict: record.OK, Requests: 1000, Check: &record.DataCheck{OK: true}}
	for i := range kills {
		l.Incidents = append(l.Incidents, record.Incident{Sort: record.Kill, Node: 1 + i%3, Led: 100 + i, GapMs: 40 + float64(i), LibraryGapMs: 3000, BackMs: 900},
			record.Incident{Sort: record.Stop, Node: 1 + i%3, Led: 100, GapMs: 9, BackMs: 800})
	}
	l.Incidents[0].GapMs = worst
	l.Figures = record.GapFigures(l.Incidents)
	r.Launches = append(r.Launches, l)
	for n := 1; n <= 6; n++ {
		r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: "partitions-1000", Verdict: record.OK, Requests: 1000,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 90, Floor: 100, Ratio: 0.9, Excess: -10, Gated: true}}})
	}
	return r
}

func verdicts(r *record.Results) map[string]string {
	out := map[string]string{}
	for _, j := range newView(&Document{Results: r}).bars {
		out[j.Name] = j.verdict
	}
	return out
}

// The median of a failover is judged over its incidents, the worst as it is, and neither with too few of them.
func TestBarsOfFailovers(t *testing.T) {
	const median, worst, stop = "kill -9 of a leader: gap in writes, median", "kill -9 of a leader: gap in writes, worst", "graceful stop of a leader: gap in writes, worst"
	for _, c := range []struct {
		kills               int
		worst               float64
		median, most, stops stats.Verdict
	}{{20, 100, stats.Met, stats.Met, stats.Met}, {20, 401, stats.Met, stats.Missed, stats.Met}, {19, 100, stats.Undecided, stats.Undecided, stats.Undecided}} {
		got := verdicts(failovers(c.kills, c.worst))
		if got[median] != string(c.median) || got[worst] != string(c.most) || got[stop] != string(c.stops) {
			t.Errorf("%d kills, the worst %v ms: median %s, worst %s, stops %s", c.kills, c.worst, got[median], got[worst], got[stop])
		}
	}
	if got := verdicts(failovers(20, 100))["1,000 partitions: p50 / one partition's"]; got != string(stats.Met) {
		t.Errorf("partitions that are faster than one: %s", got)
	}
}

func TestIncidentsArePublished(t *testing.T) {
	page := string(render(t, failovers(20, 100), nil))
	for _, want := range []string{"| kill ", "| 100 ms ", "| 3.00 s ", "| stop ", "| 9.00 ms | 9.00 ms "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "| pause ") {
		t.Error("there is a row for pauses, and there were none")
	}
	if err := Check([]byte(page)); err != nil {
		t.Error(err)
	}
}

// A follower that catches up is judged by its rate over the disk's own, and by what users wait for meanwhile over what they are used to.
func TestBarsOfACatchUp(t *testing.T) {
	const rate, users = "a follower 1 GiB behind: rate / disk's durable rate", "a follower 1 GiB behind: users' p99 / usual"
	for _, c := range []struct {
		rate, p99   float64
		share, felt stats.Verdict
	}{{0.3e9, 2.5, stats.Met, stats.Met}, {0.15e9, 3.5, stats.Missed, stats.Missed}} {
		r := sample("0123456789ab", 1)
		r.Scenarios = append(r.Scenarios, record.Scenario{Name: "catch-up", Operation: "CatchUp", Topology: "same-dc-3", Workload: "catch-up",
			Tuning: "default", FloorIs: "the disk's durable sequential writes"})
		for n := 1; n <= 6; n++ {
			r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: "catch-up", Verdict: record.OK, Requests: 1000, Check: &record.DataCheck{OK: true},
				Pairs:   []record.Pair{{Name: "catch-up", Unit: "bytes/s", System: c.rate, Floor: 1e9, Ratio: 1e9 / c.rate, Excess: 1e9 - c.rate, Slices: 1, Gated: true}},
				Figures: []record.Figure{{Name: record.UsersP99, Unit: "1", Side: record.System, Value: c.p99}}})
		}
		if got := verdicts(r); got[rate] != string(c.share) || got[users] != string(c.felt) {
			t.Errorf("%v of the disk's rate, p99 times %v: %s and %s", c.rate/1e9, c.p99, got[rate], got[users])
		}
		page := string(render(t, r, nil))
		if !regexp.MustCompile(`\| catch-up +\| catch-up +\| 286 MiB/s|\| catch-up +\| catch-up +\| 143 MiB/s`).MatchString(page) {
			t.Error("the headline has no row for it")
		}
		if err := Check([]byte(page)); err != nil {
			t.Error(err)
		}
	}
}
