// Package sum makes one launch's figures from those of its slices.
//
// A launch is one replicate, whatever it consists of: its slices are averaged in log, counters are weighted by requests, and
// nothing that too few samples stand behind goes on from here.
package sum

import (
	"math"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// pairSources say how a pair is made from the figures of slices. A record that a consumer has in hand crossed two links and
// was made durable between them, as the floor's answer did: that is its limit, counted from when the request was sent.
var pairSources = []struct {
	pair, unit, system, floor string
	percentile                float64 // needs this many samples in the launch; 0 for none
	endToEnd                  bool    // they are the consumer's
	more                      bool    // more is better: the ratio is turned round
}{
	{"p50", "us", "latency_us_p50", "latency_us_p50", 50, false, false},
	{"p99", "us", "latency_us_p99", "latency_us_p99", 99, false, false},
	{"e2e-p50", "us", "end_to_end_us_p50", "service_us_p50", 50, true, false},
	{"e2e-p99", "us", "end_to_end_us_p99", "service_us_p99", 99, true, false},
	{"rate", "1/s", "requests_per_second", "requests_per_second", 0, false, true},
}

// Pairs makes the pairs of a launch: slices are averaged in log, and a percentile that too few samples stand behind is
// left out.
func Pairs(slices []record.Slice, merged map[record.Side]*hist.Set, endToEnd *hist.Hist, gated []string) []record.Pair {
	var out []record.Pair
	for _, src := range pairSources {
		sys, n := LogMean(slices, record.System, src.system)
		floor, m := LogMean(slices, record.Floor, src.floor)
		if math.IsNaN(sys) || math.IsNaN(floor) {
			continue
		}
		samples := merged[record.System].Response
		if src.endToEnd {
			samples = endToEnd
		}
		if src.percentile > 0 && !(samples.Supports(src.percentile) && merged[record.Floor].Response.Supports(src.percentile)) {
			continue
		}
		p := record.Pair{Name: src.pair, Unit: src.unit, System: sys, Floor: floor, Ratio: sys / floor, Excess: sys - floor, Slices: min(n, m)}
		if src.more {
			p.Ratio, p.Excess = floor/sys, floor-sys
		}
		for _, g := range gated {
			p.Gated = p.Gated || g == src.pair
		}
		out = append(out, p)
	}
	return out
}

// LogMean averages a figure over the slices of a side that count, and says over how many. It is NaN when there are none.
func LogMean(slices []record.Slice, s record.Side, name string) (float64, int) {
	var v []float64
	for _, sl := range slices {
		if sl.Side != s || sl.Verdict != record.OK {
			continue
		}
		for _, f := range sl.Figures {
			if f.Name == name {
				v = append(v, f.Value)
			}
		}
	}
	return stats.LogMean(v), len(v)
}

// sums are the figures of a launch that are means over slices weighted by requests, and those that are maxima.
var (
	means = []string{"cpu_ns_per_request", "leader_cpu_ns_per_request", "follower_cpu_ns_per_request", "context_switches_per_request", "io_calls_per_request", "leader_io_calls_per_request",
		"follower_io_calls_per_request", "client_cpu_ns_per_request", "device_writes_per_request",
		"device_flushes_per_request", "device_bytes_per_user_byte", "drain_ms", "early_reads_fraction"}
	maxima = []string{"resident_bytes"}
)

// Figures summarises the slices that count, a side at a time.
func Figures(slices []record.Slice) []record.Figure {
	var out []record.Figure
	for _, s := range []record.Side{record.System, record.Floor} {
		for _, name := range means {
			if f, ok := weighted(slices, s, name); ok {
				out = append(out, f)
			}
		}
		for _, name := range maxima {
			if f, ok := largest(slices, s, name); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

func weighted(slices []record.Slice, s record.Side, name string) (record.Figure, bool) {
	sum, weight := record.Figure{Name: name, Side: s}, 0.0
	for _, sl := range slices {
		for _, f := range sl.Figures {
			if sl.Side == s && sl.Verdict == record.OK && f.Name == name {
				sum.Unit = f.Unit
				sum.Value += f.Value * float64(sl.Requests)
				weight += float64(sl.Requests)
			}
		}
	}
	sum.Value /= weight
	return sum, weight > 0
}

func largest(slices []record.Slice, s record.Side, name string) (record.Figure, bool) {
	best, found := record.Figure{}, false
	for _, sl := range slices {
		for _, f := range sl.Figures {
			if sl.Side == s && f.Name == name && (!found || f.Value > best.Value) {
				best, found = record.Figure{Name: name, Unit: f.Unit, Side: s, Value: f.Value}, true
			}
		}
	}
	return best, found
}
