package render

import (
	"math/rand/v2"
	"time"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

// sample is a run whose figures are known: ten launches of four scenarios, with a little noise drawn from the commit's
// name. slower multiplies what the system takes.
func sample(commit string, slower float64) *record.Results {
	seed := uint64(0)
	for _, c := range commit {
		seed = seed*31 + uint64(c)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	at := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	r := &record.Results{Format: record.Format, Suite: "full", Commit: commit, GoVersion: "go1.26", FloorVersion: 1, Seed: 7,
		Started: at, Ended: at.Add(20 * time.Minute), ProfileDigest: "00112233aabbccdd", Dir: "data", FreeBytes: 50 << 30,
		SyncMethod: "direct-dsync",
		Host: fingerprint.New([]fingerprint.Field{
			{Name: "cpu", Value: "Sample 3000", Match: true}, {Name: "cpus", Value: "2", Match: true},
			{Name: "architecture", Value: "amd64", Match: true}, {Name: "kernel", Value: "6.1.0", Match: true},
			{Name: "virtualization", Value: "virtual", Match: true}, {Name: "file_system", Value: "ext4", Match: true},
			{Name: "device", Value: "vda", Match: true}, {Name: "load_average", Value: "0.1"}}),
		Scenarios: []record.Scenario{
			{Name: "latency-1", Operation: "Produce", Topology: "single", Workload: "latency", Tuning: "default", FloorIs: "durable echo",
				Note: "one connection, one request outstanding, 1 KiB record", Configuration: map[string]string{"broker_max_procs": "2", "ring_bytes": "16777216"}},
			{Name: "inflight-256", Operation: "Produce", Topology: "single", Workload: "inflight", Tuning: "default", FloorIs: "durable echo",
				Note: "256 requests outstanding on 8 connections, 1 KiB record"},
			{Name: "fetch-1", Operation: "Fetch", Topology: "single", Workload: "fetch", Tuning: "default", FloorIs: "TCP echo"},
			{Name: "recovery", Operation: "Recovery", Topology: "single", Workload: "recovery", Tuning: "default", FloorIs: "ring read once"},
		}}
	noise := func() float64 { return 1 + 0.01*rng.NormFloat64() }
	pair := func(name, unit string, floor, times float64, gated bool) record.Pair {
		floor *= noise()
		system := floor * times * noise()
		p := record.Pair{Name: name, Unit: unit, System: system, Floor: floor, Ratio: system / floor, Excess: system - floor, Slices: 4, Gated: gated}
		if unit == "1/s" {
			p.Ratio, p.Excess = floor/system, floor-system
		}
		return p
	}
	for n := 1; n <= 10; n++ {
		launch := func(scenario string, requests int64, pairs ...record.Pair) *record.Launch {
			r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: scenario, Seed: uint64(n), Started: at,
				Seconds: 3, Verdict: record.OK, Requests: requests, Pairs: pairs,
				Check: &record.DataCheck{Acknowledged: requests, Read: requests, OK: true}})
			return &r.Launches[len(r.Launches)-1]
		}
		l := launch("latency-1", 12_000, pair("p50", "us", 108, 1.1*slower, true), pair("p99", "us", 230, 1.38*slower, true))
		l.Stages = []record.Stage{{Name: "read", P50Us: 3, P99Us: 9}, {Name: "sync", P50Us: 82 * noise(), P99Us: 160}, {Name: "reply", P50Us: 5, P99Us: 20}}
		l.Figures = []record.Figure{
			{Name: "cpu_ns_per_request", Unit: "ns/request", Side: record.System, Value: 31_000 * noise()},
			{Name: "cpu_ns_per_request", Unit: "ns/request", Side: record.Floor, Value: 19_000 * noise()},
			{Name: "resident_bytes_at_rest", Unit: "bytes", Side: record.System, Value: 90 << 20},
			{Name: "client_cpu_ns_per_request", Unit: "ns/request", Side: record.System, Value: 9000},
			{Name: "context_switches_per_request", Unit: "1/request", Side: record.System, Value: 2.1 * noise()},
			{Name: record.FloorCheck, Unit: "ratio", Side: record.Host, Value: 1.03 * noise()},
			{Name: "raw_sync_us_p50", Unit: "us", Side: record.Host, Value: 80 * noise()}}
		for _, name := range []string{"response", "lag"} {
			h := hist.NewLatency()
			for range 2000 {
				h.Record(int64(100_000 * (1 + rng.ExpFloat64())))
			}
			l.Histograms = append(l.Histograms, record.Histogram{Side: record.System, Name: name, Hist: h})
		}
		l = launch("inflight-256", 300_000, pair("rate", "1/s", 400_000, 0.4/slower, true))
		l.Notes = []string{"the same on every launch"}
		launch("fetch-1", 20_000, pair("p50", "us", 40, 2, false))
		launch("recovery", 1, pair("first-ack", "ms", 500, 1.48, true))
	}
	return r
}
