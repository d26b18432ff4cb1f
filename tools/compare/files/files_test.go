package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// run is a record of so many launches, whose system takes slower times as long over a floor of floorUs; each commit wobbles in its own way.
func run(commit string, launches int, slower, floorUs float64) *record.Results {
	r := &record.Results{Format: record.Format, Suite: "quick", Commit: commit, FloorVersion: 1, ProfileDigest: "p", Started: time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
		Host:      fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}, {Name: "kernel", Value: "6.1", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", Operation: "Produce", FloorIs: "durable echo"}, {Name: "inflight-256", Operation: "Produce", FloorIs: "durable echo"}}}
	for n := range launches {
		wobble := 1 + 0.002*float64(n*(7+int(commit[0]))%5-2)
		pair := func(name string, times float64) record.Pair {
			times *= slower * wobble
			return record.Pair{Name: name, Unit: "us", System: floorUs * times, Floor: floorUs, Ratio: times, Excess: floorUs * (times - 1), Gated: true}
		}
		for _, s := range r.Scenarios {
			r.Launches = append(r.Launches, record.Launch{Number: n + 1, Scenario: s.Name, Verdict: record.OK, Requests: 9000, Pairs: []record.Pair{pair("p50", 1.2), pair("p99", 1.4)},
				Figures: []record.Figure{{Name: "cpu_ns_per_request", Unit: "ns/request", Side: record.System, Value: 60_000 * wobble},
					{Name: "device_writes_per_request", Unit: "1/request", Side: record.System},
					{Name: "resident_bytes", Unit: "bytes", Side: record.System, Value: 9e7}}})
		}
	}
	return r
}

func (o *Outcome) row(t *testing.T, scenario, name string, kind render.Kind) Row {
	t.Helper()
	for _, r := range o.Rows {
		if r.Scenario == scenario && r.Name == name && r.Kind == kind {
			return r
		}
	}
	t.Fatalf("no row %s %s %s in %+v", scenario, name, kind, o.Rows)
	return Row{}
}

// Absolute latencies of another day say nothing: here the disk takes twice as long and nothing has regressed.
func TestAnotherDay(t *testing.T) {
	o, err := Compare(run("a", 10, 1, 100), run("b", 10, 1, 200), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := o.row(t, "latency-1", "p50", render.Absolute); r.Verdict != "" || r.Gated || r.After < 1.9*r.Before {
		t.Errorf("the absolute p50 is %+v, want it shown without a verdict", r)
	}
	if r := o.row(t, "latency-1", "p50", render.Ratio); o.Verdict != stats.Passed || r.Verdict != stats.Passed || !r.Gated || o.Gated != 4 {
		t.Errorf("%s, %d decide, the ratio is %+v", o.Verdict, o.Gated, r)
	}
	if r := o.row(t, "latency-1", "cpu_ns_per_request", render.Counter); r.Verdict != stats.Passed || r.Gated {
		t.Errorf("the counter is %+v", r)
	}
	if r := o.row(t, "latency-1", "device_writes_per_request", render.Counter); r.Verdict != stats.Passed {
		t.Errorf("a counter that stays at nothing is %+v", r)
	}
	for _, r := range o.Rows {
		if r.Name == "resident_bytes" {
			t.Errorf("%+v is neither a ratio nor per request", r)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for slower, want := range map[float64]stats.Verdict{1.2: stats.Regressed, 1 / 1.05: stats.Passed, 1.034: stats.Inconclusive} {
		o, err := Compare(run("a", 10, 1, 100), run("b", 10, slower, 100), nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.Verdict != want {
			t.Errorf("×%.3f: %s, want %s: %+v", slower, o.Verdict, want, o.row(t, "latency-1", "p50", render.Ratio))
		}
	}
	o, err := Compare(run("a", 10, 1, 100), run("b", 10, 1.2, 100), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := o.row(t, "latency-1", "p50", render.Excess); r.Verdict != stats.Regressed || r.Change.Shift < 20 || r.Change.Shift > 28 {
		t.Errorf("the excess is %+v, want 24 µs more", r)
	}
	if o, err = Compare(run("a", 10, 1, 100), run("b", 10, 1.02, 100), nil); err != nil {
		t.Fatal(err)
	}
	if r := o.row(t, "latency-1", "p50", render.Excess); r.Verdict != stats.Passed {
		t.Errorf("the excess is %+v, want 2 µs more to be within 3%% of a floor of 100 µs", r)
	}
}

// Six launches are too few for four figures at once, and enough for two.
func TestTooFewLaunches(t *testing.T) {
	o, err := Compare(run("a", 7, 1, 100), run("b", 7, 1.2, 100), nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Verdict != stats.Inconclusive || len(o.Notes) != 1 || !strings.Contains(o.Notes[0], "4 of 4 deciding ratios have too few launches to be sure of all of them together, which takes 8 each") {
		t.Errorf("%s, %q", o.Verdict, o.Notes)
	}
	if o, err = Compare(run("a", 7, 1, 100), run("b", 7, 1.2, 100), []string{"latency-1"}); err != nil || o.Verdict != stats.Regressed || o.Gated != 2 {
		t.Errorf("one scenario: %+v, %v", o, err)
	}
}

func TestWhatMayNotBeCompared(t *testing.T) {
	change := func(f func(*record.Results)) *record.Results {
		r := run("b", 10, 1, 100)
		f(r)
		return r
	}
	for name, c := range map[string]struct {
		after *record.Results
		want  string
	}{
		"kernel": {change(func(r *record.Results) {
			r.Host = fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}, {Name: "kernel", Value: "6.2", Match: true}})
		}), "kernel: 6.1 / 6.2"},
		"floor":    {change(func(r *record.Results) { r.FloorVersion = 2 }), "floor version: 1 / 2"},
		"profiles": {change(func(r *record.Results) { r.ProfileDigest = "q" }), "profile digest: p / q"},
		"nothing valid": {change(func(r *record.Results) {
			for i := range r.Launches {
				r.Launches[i].Verdict, r.Launches[i].Reasons = record.Invalid, []string{"x"}
			}
		}), "no published ratio"},
	} {
		if o, err := Compare(run("a", 10, 1, 100), c.after, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %+v; want it refused with %q", name, err, o, c.want)
		}
	}
	if _, err := Compare(run("a", 10, 1, 100), run("b", 10, 1, 100), []string{"latency-2"}); err == nil || !strings.Contains(err.Error(), `no scenario "latency-2"`) {
		t.Errorf("%v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		full := filepath.Join(dir, name)
		if err := os.WriteFile(full, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return full
	}
	page, err := render.File(run("abc", 10, 1, 100), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Load(write("RESULTS.md", page))
	if err != nil || r.Commit != "abc" {
		t.Fatalf("%+v, %v", r, err)
	}
	edited := strings.Replace(string(page), "1.20", "1.10", 1)
	if edited == string(page) {
		t.Fatal("the page has no 1.20 to edit")
	}
	other := run("abc", 10, 1, 100)
	other.Format = record.Format + 1
	otherPage, err := render.File(other, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := record.Write(filepath.Join(dir, "other.json"), other); err != nil {
		t.Fatal(err)
	}
	format := fmt.Sprintf("format %d, this program reads format %d", record.Format+1, record.Format)
	for name, c := range map[string]struct{ file, want string }{
		"edited":       {write("edited.md", []byte(edited)), "is not what the raw data gives"},
		"no data":      {write("plain.md", []byte("# Results\n")), "no raw data"},
		"format":       {write("format.md", otherPage), format},
		"format, JSON": {filepath.Join(dir, "other.json"), format},
		"no file":      {filepath.Join(dir, "none.json"), "want results.json"},
		"no page":      {filepath.Join(dir, "none.md"), "no such file"},
	} {
		if _, err := Load(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
