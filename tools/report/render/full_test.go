package render

import (
	"strings"
	"testing"

	"ackline/tools/bench/record"
)

// whole is a run of every kind of scenario that the full suite has beside those of sample, on a machine whose host took 7%
// of the CPU: a sweep of three launches, end-to-end latency, throughput beside the disk, franz-go beside the frames, and a
// recovery whose p99 was not restored in one launch.
func whole() *record.Results {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios,
		record.Scenario{Name: "sweep", Operation: "Produce", Topology: "single", Workload: "sweep", Tuning: "default", FloorIs: "durable echo",
			Note: "Poisson arrivals at a ladder of rates", Configuration: map[string]string{record.ObjectiveKey: "2000"}},
		record.Scenario{Name: "end-to-end", Operation: "Produce", Topology: "single", Workload: "end-to-end", Tuning: "default", FloorIs: "durable echo"},
		record.Scenario{Name: "throughput", Operation: "Produce", Topology: "single", Workload: "throughput", Tuning: "default", FloorIs: "durable echo",
			Note: "batched", Configuration: map[string]string{"record_bytes": "1024", "records_per_request": "64"}})
	for n := 1; n <= 6; n++ {
		add := func(scenario string, pairs []record.Pair, figures ...record.Figure) *record.Launch {
			r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: scenario, Verdict: record.OK, Seconds: 10, Requests: 1000, Pairs: pairs,
				Figures: figures, Check: &record.DataCheck{OK: true}})
			return &r.Launches[len(r.Launches)-1]
		}
		us := 200 + float64(n)
		add("end-to-end", []record.Pair{{Name: "p50", Unit: "us", System: 150, Floor: 120, Ratio: 1.25, Excess: 30},
			{Name: "e2e-p50", Unit: "us", System: us, Floor: 100, Ratio: us / 100, Excess: us - 100, Gated: true}},
			record.Figure{Name: "early_reads_fraction", Unit: "1", Side: record.System, Value: 0.4})
		add("throughput", []record.Pair{{Name: "rate", Unit: "1/s", System: 4000 + float64(n), Floor: 20_000, Ratio: 5, Excess: 16_000, Gated: true}},
			record.Figure{Name: record.DurableRate, Unit: "bytes/s", Side: record.Host, Value: 1 << 30},
			record.Figure{Name: "record_bytes_per_second", Unit: "bytes/s", Side: record.System, Value: (4000 + float64(n)) * 65536})
		if n <= 3 {
			add("sweep", nil).Rungs = ladder(n)
		}
	}
	for i := range r.Launches {
		l := &r.Launches[i]
		l.Figures = append(l.Figures, record.Figure{Name: record.StolenFraction, Unit: "1", Side: record.Host, Value: 0.07})
		switch {
		case l.Scenario == "latency-1":
			l.Figures = append(l.Figures, record.Figure{Name: "franz_go_us_p50", Unit: "us", Side: record.Host, Value: 180})
		case l.Scenario == "recovery" && l.Number == 4:
			l.Notes = []string{"p99-restored is not of all launches: in launch 4 no second within 15000 ms had a p99 like that"}
		case l.Scenario == "recovery":
			l.Pairs = append(l.Pairs, record.Pair{Name: "p99-restored", Unit: "ms", System: 900, Floor: 500, Ratio: 1.8, Excess: 400})
		}
	}
	return r
}

// ladder is a launch of the sweep. The system misses 2 ms at 16,000/s, in launch 2 at 8,000/s already; the floor never does.
// The generator was late once.
func ladder(launch int) []record.Rung {
	var out []record.Rung
	for i, rate := range []float64{4000, 8000, 16_000, 32_000} {
		us := 300 * float64(i+1)
		system := record.Rung{RatePerSecond: rate, Side: record.System, P50Us: 120 + us/10, P99Us: us, Verdict: record.OK}
		floor := record.Rung{RatePerSecond: rate, Side: record.Floor, P50Us: 100, P99Us: us / 2, Verdict: record.OK}
		switch {
		case rate == 8000 && launch == 2, rate == 16_000:
			system.P99Us = 5000
		case rate == 32_000:
			system.P99Us, system.AtLeast, system.Unsent = 1e7, true, 900
		}
		if rate == 4000 && launch == 3 {
			floor.Verdict, floor.Reasons = record.Invalid, []string{"the generator was late"}
		}
		if rate == 32_000 && launch == 1 {
			out = append(out, floor) // the system was saturated before
			continue
		}
		out = append(out, system, floor)
	}
	return out
}

func TestWholeGolden(t *testing.T) {
	page := render(t, whole(), nil)
	golden(t, "whole.md", page)
	if err := Check(page); err != nil {
		t.Error(err)
	}
	// The sweep's raw rungs survive every step of thinning, or its table could not be drawn again.
	for _, step := range thinning {
		r := whole()
		for i := range r.Launches {
			step.do(&r.Launches[i])
		}
		if again := render(t, r, nil); !strings.Contains(string(again), "| 16,000/s |") {
			t.Errorf("without %s the table of the sweep is gone", step.what)
		}
	}
}

func TestKnees(t *testing.T) {
	c := &scenario{Scenario: record.Scenario{Configuration: map[string]string{record.ObjectiveKey: "2000"}}}
	for n := 1; n <= 3; n++ {
		c.good = append(c.good, record.Launch{Number: n, Rungs: ladder(n)})
	}
	if got, ok := c.knees(); !ok || got != "the highest rate at which the p99 stays within 2 ms, the knee, is 8,000/s (4,000 to 8,000/s) for the system and ≥ 32,000/s for the floor" {
		t.Errorf("%q, %v", got, ok)
	}
	if got := c.knee(record.System, 100); got != "below 4,000/s" {
		t.Errorf("with an objective that is never met: %q", got)
	}
	if got := (&scenario{}).knee(record.System, 100); got != "unknown" {
		t.Errorf("without launches: %q", got)
	}
	if got, ok := (&scenario{}).knees(); ok {
		t.Errorf("a scenario that is no sweep: %q", got)
	}
}

// What the host took stands in the ending and in the page, valid or not, and only when it is worth telling.
func TestTheftIsTold(t *testing.T) {
	const told = "the host took 7.0% of this machine's CPU: expect wide intervals"
	r := whole()
	if got := Ending(r)[1]; got != "valid      yes; "+told {
		t.Errorf("a valid run: %q", got)
	}
	for i := range r.Launches {
		l := &r.Launches[i]
		l.Verdict, l.Reasons, l.HostOnly = record.Invalid, []string{"late"}, true
	}
	page := string(render(t, r, nil))
	if got := Ending(r)[1]; !strings.HasPrefix(got, "valid      INVALID because of the host alone; "+told+" (and") {
		t.Errorf("a run that the host spoilt: %q", got)
	}
	for _, want := range []string{"**The host took 7.0% of this machine's CPU: expect wide intervals.**", "Nothing but the host speaks against this run"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	r.Launches[0].HostOnly = false
	for i := range r.Launches {
		for k := range r.Launches[i].Figures {
			if f := &r.Launches[i].Figures[k]; f.Name == record.StolenFraction {
				f.Value = 0.019
			}
		}
	}
	if got := strings.Join(Ending(r), "\n"); strings.Contains(got, "host took 1.9%") || strings.Contains(got, "host alone") {
		t.Errorf("1.9%% is told: %s", got)
	}
}
