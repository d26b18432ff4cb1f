package launch

import (
	"math"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
	"ackline/tools/bench/disk"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
)

// smooth is a sample of n requests that all took about us.
func smooth(n int, us float64) session.Sample {
	s := session.Sample{Hist: hist.NewSet(), Counted: time.Second, Rated: time.Second, Requests: int64(n), All: int64(2 * n), UserBytes: int64(n) * 2000, ReplyBytes: 5600}
	for range n {
		s.Hist.Record(0, 0, 0, int64(us*1000))
	}
	return s
}

func get(t *testing.T, figures []record.Figure, name string) float64 {
	t.Helper()
	for _, f := range figures {
		if f.Name == name {
			return f.Value
		}
	}
	t.Fatalf("no figure %q in %v", name, figures)
	return 0
}

func TestJudgeSlice(t *testing.T) {
	began := time.Unix(1000, 0)
	before := meter.Reading{At: began.Add(time.Second), Device: disk.Counters{WriteBytes: 500, Writes: 10, Flushes: 1}, Own: proc.Counters{CPUNs: 7, WriteBytes: 100, CallBytes: 100}}
	after := meter.Reading{At: began.Add(3 * time.Second), Device: disk.Counters{WriteBytes: 500 + 8e6, Writes: 10 + 4000, Flushes: 1 + 2000},
		Own:   proc.Counters{CPUNs: 7 + 80e6, WriteBytes: 100 + 8e6, CallBytes: 100 + 8e6 + 5600, VoluntarySwitches: 3000, InvoluntarySwitches: 1000, ResidentBytes: 5e7},
		Bench: proc.Counters{CPUNs: 40e6}}
	sl := session.Judge(3, record.System, began, smooth(1000, 150), before, after, true)
	if sl.Verdict != record.OK || sl.Number != 3 || sl.StartNs != 1e9 || sl.LengthNs != 2e9 || sl.Requests != 1000 {
		t.Errorf("slice %+v", sl)
	}
	for name, want := range map[string]float64{"latency_us_p50": 150, "latency_us_p99": 150, "requests_per_second": 1000, "cpu_ns_per_request": 40_000,
		"context_switches_per_request": 2, "client_cpu_ns_per_request": 20_000, "device_writes_per_request": 2, "device_flushes_per_request": 1,
		"device_bytes_per_user_byte": 4, "resident_bytes": 5e7} {
		if got := get(t, sl.Figures, name); math.Abs(got-want) > want/500 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	busy := after
	busy.Device.WriteBytes += 9e6
	if sl := session.Judge(0, record.Floor, began, smooth(10, 100), before, busy, true); sl.Verdict != record.Invalid || !strings.Contains(sl.Reasons[0], "another program") {
		t.Errorf("a slice beside another program: %+v", sl)
	}
	if sl := session.Judge(0, record.Floor, began, smooth(10, 100), before, busy, false); sl.Verdict != record.OK {
		t.Errorf("without a device nothing is known about it: %+v", sl)
	}
	late := smooth(10, 100)
	late.Invalid = []session.Cause{{Text: "the generator was late", Code: result.Lag}}
	if sl := session.Judge(0, record.Floor, began, late, before, after, true); sl.Verdict != record.Invalid || sl.Reasons[0] != "the generator was late" {
		t.Errorf("a slice that the generator does not vouch for: %+v", sl)
	}
	if sl := session.Judge(0, record.Floor, began, session.Sample{Hist: hist.NewSet()}, before, after, true); sl.Verdict != record.Invalid || !strings.Contains(sl.Reasons[0], "nothing") {
		t.Errorf("a slice without answers: %+v", sl)
	}
}

func TestSpoilCycle(t *testing.T) {
	cycle := []record.Slice{{Number: 4, Verdict: record.OK}, {Number: 5, Verdict: record.OK}}
	if counts, _ := sum.Spoil(cycle); !counts || cycle[0].Verdict != record.OK {
		t.Errorf("a good cycle was spoilt: %+v", cycle)
	}
	cycle[1].Verdict, cycle[1].Reasons = record.Invalid, []string{"noise"}
	if counts, host := sum.Spoil(cycle); counts || host || cycle[0].Verdict != record.Invalid || !strings.Contains(cycle[0].Reasons[0], "slice 5") || len(cycle[1].Reasons) != 1 {
		t.Errorf("a cycle with a bad slice: %+v", cycle)
	}
	if bad, host := sum.FirstBad(cycle); bad.Number != 5 || host {
		t.Errorf("the first bad slice is %d, by the host: %v; want 5, which is bad by itself, and not by the host", bad.Number, host)
	}
	cycle = []record.Slice{{Number: 0, Verdict: record.OK}, {Number: 1, Verdict: record.Invalid, Reasons: []string{"stolen"}, HostOnly: true}}
	if counts, host := sum.Spoil(cycle); counts || !host || !cycle[0].HostOnly {
		t.Errorf("a cycle that the host spoilt: %+v", cycle)
	}
	if bad, host := sum.FirstBad(cycle); bad.Number != 1 || !host {
		t.Errorf("the first bad slice is %d, by the host: %v; want 1 by the host", bad.Number, host)
	}
}

// turns makes slices of both sides with the given medians; system and floor alternate as in a cycle.
func turns(system, floor []float64) []record.Slice {
	var out []record.Slice
	for i := range system {
		for _, s := range []struct {
			side side
			us   float64
		}{{record.System, system[i]}, {record.Floor, floor[i]}} {
			out = append(out, record.Slice{Side: s.side, Verdict: record.OK, Requests: 100, Figures: []record.Figure{
				{Name: "latency_us_p50", Value: s.us}, {Name: "latency_us_p99", Value: 2 * s.us}, {Name: "requests_per_second", Value: 1e6 / s.us},
				{Name: "cpu_ns_per_request", Unit: "ns/request", Value: s.us * 10}, {Name: "resident_bytes", Unit: "bytes", Value: s.us}}})
		}
	}
	return out
}

func TestPairs(t *testing.T) {
	slices := turns([]float64{200, 800}, []float64{100, 400})
	sets := map[side]*hist.Set{record.System: smooth(20_000, 400).Hist, record.Floor: smooth(20_000, 200).Hist}
	got := sum.Pairs(slices, sets, hist.NewLatency(), []string{"p50"})
	if len(got) != 3 {
		t.Fatalf("pairs %+v, want p50, p99 and rate", got)
	}
	p50, rate := got[0], got[2]
	if p50.Name != "p50" || math.Abs(p50.System-400) > 1e-9 || math.Abs(p50.Floor-200) > 1e-9 || math.Abs(p50.Ratio-2) > 1e-9 ||
		math.Abs(p50.Excess-200) > 1e-9 || p50.Slices != 2 || !p50.Gated || got[1].Gated {
		t.Errorf("p50 %+v, want log-means 400 and 200, gated", p50)
	}
	if rate.Name != "rate" || math.Abs(rate.Ratio-2) > 1e-9 || math.Abs(rate.Excess-2500) > 1e-6 {
		t.Errorf("rate %+v, want a ratio of 2: more is better, and the ratio says how much worse", rate)
	}
	sets[record.Floor] = smooth(9_999, 200).Hist
	if got := sum.Pairs(slices, sets, hist.NewLatency(), nil); len(got) != 2 || got[1].Name != "rate" {
		t.Errorf("pairs %+v: a p99 of 9,999 requests has too few samples beyond it", got)
	}
	slices[1].Verdict, slices[3].Verdict = record.Invalid, record.Invalid
	if got := sum.Pairs(slices, sets, hist.NewLatency(), nil); len(got) != 0 {
		t.Errorf("pairs %+v without a valid slice of the floor", got)
	}
}

func TestFigures(t *testing.T) {
	slices := turns([]float64{200, 800}, []float64{100, 400})
	slices[2].Requests = 300 // the system's second slice weighs three times as much
	got := sum.Figures(slices)
	if v := get(t, got, "cpu_ns_per_request"); math.Abs(v-6500) > 1e-9 {
		t.Errorf("CPU per request %v, want the mean over requests, 6500", v)
	}
	if v := get(t, got, "resident_bytes"); v != 800 {
		t.Errorf("resident memory %v, want the largest, 800", v)
	}
	if got[0].Side != record.System || got[len(got)-1].Side != record.Floor {
		t.Errorf("sides of %+v", got)
	}
}
