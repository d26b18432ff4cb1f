package record

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/tools/hostinfo/fingerprint"
)

// sample is a small run: six launches of one scenario whose ratios are known.
func sample() *Results {
	r := &Results{Format: Format, Suite: "quick", Commit: "abc", FloorVersion: 1, Seed: 1<<63 + 5,
		Started:   time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
		Host:      fingerprint.New([]fingerprint.Field{{Name: "kernel", Value: "6.1", Match: true}, {Name: "uptime_s", Value: "5"}}),
		Scenarios: []Scenario{{Name: "latency-1", Operation: "Produce", Topology: "single"}}}
	for i := range 6 {
		floor := 100 + float64(i)
		r.Launches = append(r.Launches, Launch{Number: i + 1, Scenario: "latency-1", Verdict: OK,
			Pairs:   []Pair{{Name: "p50", Unit: "us", Floor: floor, System: floor * 1.1, Ratio: 1.1, Excess: floor * 0.1, Gated: true}},
			Figures: []Figure{{Name: "requests_per_second", Unit: "1/s", Side: System, Value: 1000 + float64(i)}},
			Check:   &DataCheck{Acknowledged: 10, Read: 10, OK: true}})
	}
	return r
}

func TestWriteRead(t *testing.T) {
	dir := t.TempDir()
	want := sample()
	if err := Write(filepath.Join(dir, ResultsName), want); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, filepath.Join(dir, ResultsName)} {
		got, err := Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back\n%+v\nwant\n%+v", got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp*")); len(left) != 0 {
		t.Errorf("temporary files were left: %v", left)
	}
}

func TestHistogramSurvives(t *testing.T) {
	r := sample()
	h := hist.NewLatency()
	for ns := int64(100_000); ns < 200_000; ns += 100 {
		h.Record(ns)
	}
	h.Fail()
	r.Launches[0].Histograms = []Histogram{{Side: Floor, Name: "response", Hist: h}}
	name := filepath.Join(t.TempDir(), "r.json")
	if err := Write(name, r); err != nil {
		t.Fatal(err)
	}
	got, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	back := got.Launches[0].Hist(Floor, "response")
	if back == nil || back.Total() != h.Total() || back.Failed() != 1 || back.Percentile(50, 0) != h.Percentile(50, 0) {
		t.Errorf("read back %+v, want %d samples, one of them failed, and the same median", back, h.Total())
	}
	if got.Launches[0].Hist(System, "response") != nil {
		t.Error("a histogram that is not there was found")
	}
}

func TestReadRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Results){
		"format 9, this program reads": func(r *Results) { r.Format = 9 },
		"the record was edited":        func(r *Results) { r.Host.Fields[0].Value = "6.2" },
		"no such scenario":             func(r *Results) { r.Launches[2].Scenario = "other" },
		"without a reason":             func(r *Results) { r.Launches[2].Verdict = Invalid },
		`verdict "fine"`:               func(r *Results) { r.Launches[2].Verdict = "fine" },
		"is listed twice":              func(r *Results) { r.Scenarios = append(r.Scenarios, r.Scenarios[0]) },
	} {
		r := sample()
		spoil(r)
		name := filepath.Join(t.TempDir(), "r.json")
		if err := Write(name, r); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that contains %q", err, want)
		}
	}
	name := filepath.Join(t.TempDir(), "half.json")
	if err := os.WriteFile(name, []byte(`{"format":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("half a file: %v, want an error that names it", err)
	}
}

func TestSummariseLeavesInvalidLaunchesOut(t *testing.T) {
	r := sample()
	r.Launches[0].Verdict, r.Launches[0].Reasons = Invalid, []string{"late"}
	r.Launches[0].Pairs[0].Ratio = 50
	s := Summarise(r)
	if len(s) != 1 || s[0].Ratio.N != 5 || math.Abs(s[0].Ratio.High-1.1) > 1e-9 || !s[0].Gated {
		t.Fatalf("got %+v, want one summary of five launches with ratio 1.1", s)
	}
	if math.Abs(s[0].Floor-103) > 1e-9 || math.Abs(s[0].Excess.Shift-10.3) > 0.051 {
		t.Errorf("floor %v, excess %v, want 103 and 10.3", s[0].Floor, s[0].Excess.Shift)
	}
	if e, ok := Spread(r, "latency-1", System, "requests_per_second"); !ok || e.N != 5 || e.Shift != 1003 {
		t.Errorf("spread %+v %v, want 1003 over five", e, ok)
	}
	if _, ok := Spread(r, "latency-1", Floor, "requests_per_second"); ok {
		t.Error("a figure that no launch has was estimated")
	}
}

func TestJudge(t *testing.T) {
	if v, reasons := Judge(sample()); v != OK || len(reasons) != 0 {
		t.Errorf("a clean run is %s %v", v, reasons)
	}
	fast := sample()
	for i := range fast.Launches {
		fast.Launches[i].Pairs[0].Ratio = 0.9
	}
	if v, reasons := Judge(fast); v != Invalid || !strings.Contains(first(reasons), "not durable") {
		t.Errorf("a system faster than the floor: %s %v", v, reasons)
	}
	for i := range fast.Launches[1:] {
		fast.Launches[1+i].Verdict, fast.Launches[1+i].Reasons = Invalid, []string{"late"}
	}
	if v, reasons := Judge(fast); v != OK {
		t.Errorf("the only valid one of six launches was faster than the floor: %s %v", v, reasons)
	}
	fast.Launches = fast.Launches[:1]
	if v, reasons := Judge(fast); v != Invalid {
		t.Errorf("one launch that was faster than the floor: %s %v", v, reasons)
	}
	slow := sample()
	for i := range slow.Launches {
		slow.Launches[i].Figures = append(slow.Launches[i].Figures, Figure{Name: FloorCheck, Side: Host, Value: 1.2})
	}
	if v, reasons := Judge(slow); v != Invalid || !strings.Contains(first(reasons), "1.20 × (raw sync + TCP echo)") {
		t.Errorf("a floor that does more than it must: %s %v", v, reasons)
	}
	failed := sample()
	failed.Launches[3].Verdict, failed.Launches[3].Reasons = Failed, []string{"two records are missing"}
	if v, reasons := Judge(failed); v != Failed || !strings.Contains(first(reasons), "launch 4") {
		t.Errorf("a failed launch: %s %v", v, reasons)
	}
	empty := sample()
	empty.Launches = nil
	if v, _ := Judge(empty); v != Invalid {
		t.Errorf("a run without launches is %s", v)
	}
	cut := sample()
	cut.Interrupted = true
	if v, _ := Judge(cut); v != Invalid {
		t.Errorf("an interrupted run is %s", v)
	}
}
