package render

import (
	"slices"
	"strings"
	"testing"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// acrossThree is sample with a cluster across regions: six launches in which the system takes beyondUs more than the floor, and one whose network
// had drifted.
func acrossThree(beyondUs float64) *record.Results {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios, record.Scenario{Name: "multi-dc-3", Operation: "Produce", Topology: "multi-dc-3", Workload: "geo", Tuning: "default",
		FloorIs: "durable quorum echo of 3 nodes, led from the same host", Note: "from all regions"})
	around := func(us float64, n int) *hist.Hist {
		h := hist.NewLatency()
		for i := range n {
			h.Record(int64(us*1e3) + int64(i))
		}
		return h
	}
	for n := 1; n <= 7; n++ {
		l := record.Launch{Number: n, Scenario: "multi-dc-3", Verdict: record.OK, Seconds: 90, Requests: 20_000, Check: &record.DataCheck{OK: true},
			Network: &record.Network{Region: "continent-3", Mode: "netns", CongestionControl: "cubic", Links: []record.Link{{From: "n1", To: "n2", WantUs: 13_000,
				Before: record.RoundTrips{P50Us: 13_060, JitterUs: 90}, After: record.RoundTrips{P50Us: 13_080, JitterUs: 110}}}}}
		for _, at := range []struct {
			placement, leader string
			us                float64
		}{{"automatic", "n1 (frankfurt)", 13_000}, {"worst", "n3 (madrid)", 27_000}, {"best", "n2 (london)", 13_000}} {
			for i, client := range []string{"frankfurt", "london"} {
				us := at.us + 100 + 10_000*float64(i)
				floor := around(us+60, 2000-1200*i)
				l.Regions = append(l.Regions, record.Region{Placement: at.placement, Leader: at.leader, Client: client, TheoryUs: us, Floor: floor,
					System: floor.Moved(int64(beyondUs * 1e3))})
			}
			for _, name := range []string{"p50", "p99"} {
				noise := float64(n)
				l.Pairs = append(l.Pairs, record.Pair{Name: record.PlacedPair(at.placement, name), Unit: "us", Gated: true, Slices: 2, Floor: at.us + 5160,
					System: at.us + 5160 + beyondUs + noise, Ratio: 1 + (beyondUs+noise)/(at.us+5160), Excess: beyondUs + noise})
			}
		}
		if n == 7 {
			l.Verdict, l.Reasons, l.Pairs = record.Invalid, []string{"the network is not what its profile says: n1 and n2 were 15 ms apart"}, nil
			l.Network.Links[0].After.P50Us, l.Network.Links[0].After.Off = 9e6, true
		}
		r.Launches = append(r.Launches, l)
	}
	return r
}

func TestRegionsGolden(t *testing.T) {
	page := render(t, acrossThree(200), nil)
	golden(t, "regions.md", page)
	if err := Check(page); err != nil {
		t.Error(err)
	}
	// Which tables can be drawn again does not depend on what is left out of the file.
	for _, step := range thinning {
		r := acrossThree(200)
		for i := range r.Launches {
			step.do(&r.Launches[i])
		}
		if again := render(t, r, nil); !strings.Contains(string(again), "| best: n2 (london) | frankfurt | 13.10 ms | 13.36 ms | 13.16 ms | ") {
			t.Errorf("without %s the table of regions is gone", step.what)
		}
	}
}

// The brokers' own choice is judged where launches say it, and is on no other page.
func TestChoiceIsJudged(t *testing.T) {
	const text = "Of 6 launches it was on n1 (frankfurt) in 5, n2 (london) in 1. Its p50s, mean over the regions, were 550 µs beyond those of the best place"
	for _, c := range []struct {
		beyondUs []float64 // of the valid launches
		want     string
		within   string
	}{
		{[]float64{500, 510, 520, 580, 590, 600}, "met", "within 1 ms in 6 of 6 launches"},
		{[]float64{1500, 1510, 1520, 1530, 1540, 1550}, "missed", "within 1 ms in 0 of 6 launches"},
		{nil, "", ""},
	} {
		r := acrossThree(200)
		n := 0
		for i := range r.Launches {
			l := &r.Launches[i]
			if l.Scenario != "multi-dc-3" || n >= len(c.beyondUs) {
				continue
			}
			l.Chosen = &record.Chosen{Leader: "n1 (frankfurt)", Best: "n2 (london)", BeyondUs: c.beyondUs[n], TheoryUs: 667, Verdict: stats.Met}
			if c.beyondUs[n] > record.ChosenBarUs {
				l.Chosen.Verdict = stats.Missed
			}
			if n == 0 {
				l.Chosen.Leader = "n2 (london)"
			}
			n++
		}
		got := ""
		for _, j := range newView(&Document{Results: r}).bars {
			if j.said != nil {
				got += j.verdict
			}
		}
		file := strings.Join(strings.Fields(string(render(t, r, nil))), " ")
		if got != c.want || !strings.Contains(file, c.within) || strings.Contains(file, "brokers' own leader") != (c.want != "") {
			t.Errorf("%v: %q, want %q and %q", c.beyondUs, got, c.want, c.within)
		}
		if c.want == "met" && !strings.Contains(file, text) {
			t.Errorf("no %q", text)
		}
		if c.want == "" && strings.Contains(file, "themselves took the leader") {
			t.Error("a page without a choice tells of it")
		}
	}
}

// The difference is judged, not the ratio, and the bars are only on pages with such a scenario.
func TestRegionsAreJudgedByExcess(t *testing.T) {
	for _, c := range []struct {
		beyondUs float64
		p50, p99 string
	}{{200, "met", "met"}, {400, "missed", "met"}, {1600, "missed", "missed"}} {
		v := newView(&Document{Results: acrossThree(c.beyondUs)})
		got := map[string]string{}
		for _, j := range v.bars {
			if j.excess && j.Topology == "multi-dc-3" {
				got[j.Pair] = j.verdict
			}
		}
		for _, at := range []string{"best", "worst"} {
			if got[at+"-p50"] != c.p50 || got[at+"-p99"] != c.p99 || len(got) != 4 {
				t.Errorf("%v µs beyond the floor: %v, want %s and %s", c.beyondUs, got, c.p50, c.p99)
			}
		}
	}
	if v := newView(&Document{Results: sample("0123456789ab", 1)}); slices.ContainsFunc(v.bars, func(j judged) bool { return j.later }) {
		t.Error("a page without regions has their bars")
	}
}

// A sweep across regions is a sweep like another, with the network below it; older records, whose rungs do not say at which rate they were answered, have no column for it.
func TestSweepAcrossRegions(t *testing.T) {
	for _, answered := range []float64{0, 1234} {
		r := sample("0123456789ab", 1)
		r.Scenarios = append(r.Scenarios, record.Scenario{Name: "multi-dc-3-sweep", Operation: "Produce", Topology: "multi-dc-3", Workload: "geo-sweep", Tuning: "default",
			FloorIs: "durable quorum echo of 3 nodes, led from the same host", Configuration: map[string]string{record.ObjectiveKey: "2000"}})
		l := record.Launch{Number: 1, Scenario: "multi-dc-3-sweep", Verdict: record.OK, Seconds: 90, Requests: 20_000, Check: &record.DataCheck{OK: true}, Rungs: ladder(1),
			Network: &record.Network{Region: "continent-3", Mode: "netns", Links: []record.Link{{From: "n1", To: "n2", WantUs: 13_000}}}}
		for i := range l.Rungs {
			l.Rungs[i].AnsweredPerSecond = answered
		}
		r.Launches = append(r.Launches, l)
		page := string(render(t, r, nil))
		for _, want := range []string{"**multi-dc-3-sweep**: the highest rate at which the p99 stays within 2 ms, the knee, is 8,000/s", "| 16,000/s |", "| n1 – n2 "} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if has := strings.Contains(page, " system answered | ") && strings.Contains(page, "| 1,230/s "); has != (answered > 0) {
			t.Errorf("%v/s were answered, and the table says so: %v", answered, has)
		}
		if err := Check([]byte(page)); err != nil {
			t.Error(err)
		}
	}
}
