package session

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/compare/trial"
)

// suiteName is the file that both builds are given; it names the other two.
const suiteName = "suite.toml"

// scenario is what can be compared.
type scenario struct {
	topology string
	workload string // TOML, the size of the ring aside
	ring     string // bytes, until the calibration says better
	laps     string // of the ring in a launch, for the calibration; "" when its size does not depend on the disk
	slice    int    // ms, in a full comparison
	quick    int    // ms, in a quick one
}

const (
	single = `kind = "produce"
note = "one connection, one request outstanding, 1 KiB record"
arrivals = "closed"
connections = 1
in_flight = 1
record_bytes = 1024
gated_pairs = ["p50", "p99"]
`
	many = `kind = "produce"
note = "256 requests outstanding on 8 connections, 1 KiB record"
arrivals = "closed"
connections = 8
in_flight = 32
record_bytes = 1024
gated_pairs = ["p50", "p99", "rate"]
`
	fixedRate = `kind = "produce"
note = "2,000 requests a second (Poisson) on 8 connections, 1 KiB record"
arrivals = "poisson"
rate_per_second = 2000
connections = 8
in_flight = 64
threads = 2
record_bytes = 1024
gated_pairs = ["p50", "p99"]
`
)

// scenarios are named like the suites', with the slices of the quick one. A p99 takes 10,000 requests of each side in a launch.
var scenarios = map[string]scenario{
	"latency-1":        {"single", single, "8388608", "4", 1200, 1000},
	"steady-2000":      {"single", fixedRate, "12582912", "", 2850, 2850},
	"inflight-256":     {"single", many, "67108864", "", 700, 500},
	"dc3-latency-1":    {"same-dc-3", single, "8388608", "4", 1400, 1400},
	"dc3-inflight-256": {"same-dc-3", many, "67108864", "", 1000, 700},
}

// Scenarios are the names of what can be compared.
func Scenarios() []string {
	return []string{"latency-1", "steady-2000", "inflight-256", "dc3-latency-1", "dc3-inflight-256"}
}

// load is the work that both builds are given, as far as it was settled.
type load struct{ method, ring string }

// pin takes over what the first record says was in effect.
func (l *load) pin(r *record.Results) {
	l.method = r.SyncMethod
	for _, s := range r.Scenarios {
		l.ring = s.Configuration["ring_bytes"]
	}
}

// write writes the files. A bench that does not know one of their keys says so and ends the comparison: it could not be given the
// same work.
func (l *load) write(folder string, s Settings) error {
	sc, ok := scenarios[s.Scenario]
	if !ok {
		return fmt.Errorf("there is no scenario %q to compare; there are %s", s.Scenario, strings.Join(Scenarios(), ", "))
	}
	method, ring, laps, slice, check, warm := l.method, l.ring, "", sc.slice, 300, 6000
	if s.Quick {
		slice, check, warm = sc.quick, 100, 4000
	}
	if method == "" {
		method = "auto"
	}
	if ring == "" {
		ring = sc.ring
		if sc.laps != "" {
			laps = "ring_laps = " + sc.laps + "\n"
		}
	}
	suite := fmt.Sprintf(`note = "one scenario, for a comparison"
topology = "single"
tuning = "./tuning.toml"
launches = 1
discard_ms = 200
warm_window_ms = 250
warm_limit_ms = %d
check_slice_ms = %d

[[scenarios]]
name = %q
workload = "./workload.toml"
topology = %q
cycles = 1
slice_ms = %d
`, warm, check, s.Scenario, sc.topology, slice)
	for name, text := range map[string]string{suiteName: suite, "workload.toml": sc.workload + "ring_bytes = " + ring + "\n" + laps,
		"tuning.toml": fmt.Sprintf("sync_method = %q\nidle_cpus = \"poll\"\n", method)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Estimate is about how long a launch takes.
func (c *Session) Estimate() (time.Duration, error) {
	if err := c.load.write(c.Folder, c.Settings); err != nil {
		return 0, err
	}
	suite, err := profiles.LoadSuite(filepath.Join(c.Folder, suiteName))
	if err != nil {
		return 0, err
	}
	return suite.Estimate() + betweenLaunches, nil
}

// betweenLaunches is about what a bench does before and after its launch: it looks at the machine, and writes back what is dirty.
const betweenLaunches = 700 * time.Millisecond

// counters decide beside the latencies: what a request costs, which depends little on the hour.
var counters = []string{"cpu_ns_per_request", "io_calls_per_request", "context_switches_per_request", "device_bytes_per_user_byte",
	"device_writes_per_request", "device_flushes_per_request"}

// others are shown beside them.
var others = []string{"syncs_per_request", "allocations_per_request", "allocated_bytes_per_request"}

// values are a launch's figures of which less is better. Latencies are held against the floor's in the same launch, which takes out most
// of what the disk does at that hour; where the two builds' floors are not the same (direct) they stand alone.
func values(l *record.Launch, direct bool) []trial.Value {
	var gates, shown []trial.Value
	for _, p := range l.Pairs {
		rate := p.Unit == "1/s"
		if !direct {
			gates = append(gates, trial.Value{Name: p.Name + trial.OverFloor, Unit: "1", Gated: p.Gated, Value: p.Ratio})
		}
		own := trial.Value{Name: p.Name, Unit: p.Unit, Gated: direct && p.Gated && !rate, Value: p.System}
		shown = append(shown, own)
	}
	for _, f := range l.Figures {
		if f.Side == record.System && (slices.Contains(counters, f.Name) || slices.Contains(others, f.Name)) {
			gates = append(gates, trial.Value{Name: f.Name, Unit: f.Unit, Gated: slices.Contains(counters, f.Name), Value: f.Value})
		}
	}
	return slices.DeleteFunc(append(gates, shown...), func(v trial.Value) bool { return v.Name == "rate"+trial.OverFloor && !v.Gated })
}
