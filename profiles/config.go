package profiles

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Topology says which broker processes run and where.
type Topology struct {
	Name  string `toml:"-" json:"name"` // the file's name
	Nodes int    `toml:"nodes" json:"nodes"`
	Host  string `toml:"host" json:"host"` // address that broker and floor listen on, without a port
}

func (t *Topology) setName(name string) { t.Name = name }

// Validate reports the first value that cannot be run.
func (t *Topology) Validate() error {
	switch {
	case t.Nodes != 1:
		return fmt.Errorf("nodes = %d: the suite starts one broker, so 1 is the only value", t.Nodes)
	case t.Host == "":
		return errors.New(`host is empty: want the address to listen on, such as "127.0.0.1"`)
	}
	return nil
}

// Tuning is what the broker is told that a workload does not decide. Zero leaves the broker's own default.
type Tuning struct {
	Name       string `toml:"-" json:"name"`
	SyncMethod string `toml:"sync_method" json:"sync_method"` // how a WAL block becomes durable; "auto" probes once for the whole run
	WindowUs   int    `toml:"window_us" json:"window_us"`     // how long the WAL's syncer waits for company; 0 = not at all
	GCPercent  int    `toml:"gc_percent" json:"gc_percent"`   // GOGC of the broker process; 0 = Go's default
	MaxProcs   int    `toml:"max_procs" json:"max_procs"`     // GOMAXPROCS of the broker process; 0 = Go's default
}

func (t *Tuning) setName(name string) { t.Name = name }

// Validate reports the first value that cannot be right. Names of sync methods are known to the broker, not here.
func (t *Tuning) Validate() error {
	switch {
	case t.SyncMethod == "":
		return errors.New(`sync_method is empty: want "auto" or the name of a method (floor serve --help lists them)`)
	case t.WindowUs < 0 || t.WindowUs > 1_000_000:
		return fmt.Errorf("window_us = %d: want 0 to 1000000", t.WindowUs)
	case t.GCPercent < 0:
		return fmt.Errorf("gc_percent = %d: want 0 (default) or more", t.GCPercent)
	case t.MaxProcs < 0:
		return fmt.Errorf("max_procs = %d: want 0 (default) or more", t.MaxProcs)
	}
	return nil
}

// Kinds of workload.
const (
	Produce  = "produce"  // requests of pre-encoded record batches, beside the bare durable echo
	Fetch    = "fetch"    // reads of records that were written before, beside a bare TCP echo
	Recovery = "recovery" // kill -9 with a full WAL, restart from a cold cache, beside reading the ring once
)

// Arrivals of requests.
const (
	Closed   = "closed"   // the next one when the last was answered: measures capacity or a single writer
	Constant = "constant" // from a schedule, evenly spaced
	Poisson  = "poisson"  // from a schedule, as independent users arrive
)

// Workload is the load on one broker. It is the same on the floor.
type Workload struct {
	Name              string  `toml:"-" json:"name"`
	Kind              string  `toml:"kind" json:"kind"`                               // produce, fetch or recovery
	Note              string  `toml:"note" json:"note"`                               // one line for people
	Arrivals          string  `toml:"arrivals" json:"arrivals"`                       // closed, constant or poisson
	RatePerSecond     float64 `toml:"rate_per_second" json:"rate_per_second"`         // of all connections; 0 with closed arrivals
	Connections       int     `toml:"connections" json:"connections"`                 //
	InFlight          int     `toml:"in_flight" json:"in_flight"`                     // requests outstanding on each connection at most
	Partitions        int     `toml:"partitions" json:"partitions"`                   // requests go round them; each has its own raft group
	RecordBytes       int     `toml:"record_bytes" json:"record_bytes"`               // value of a record; keys are empty
	RecordsPerRequest int     `toml:"records_per_request" json:"records_per_request"` // above 1 the figures are called batched
	TimeoutMs         int     `toml:"timeout_ms" json:"timeout_ms"`                   // after which an operation counts as failed
	RingBytes         int64   `toml:"ring_bytes" json:"ring_bytes"`                   // WAL ring and floor's ring: small enough to wrap twice
	PreloadBytes      int64   `toml:"preload_bytes" json:"preload_bytes"`             // fetch, recovery: written before the clock starts
	FetchBytes        int     `toml:"fetch_bytes" json:"fetch_bytes"`                 // fetch: most bytes of records in an answer
	// GatedPairs take part in a comparison's verdict: "p50", "p99", "rate".
	GatedPairs []string `toml:"gated_pairs" json:"gated_pairs"`
}

// DefaultWorkload holds the values that a workload file need not name.
func DefaultWorkload() Workload {
	return Workload{Arrivals: Closed, Connections: 1, InFlight: 1, Partitions: 1, RecordBytes: 1024, RecordsPerRequest: 1,
		TimeoutMs: 10_000, RingBytes: 64 << 20}
}

func (w *Workload) setName(name string) { w.Name = name }

// Timeout is TimeoutMs.
func (w *Workload) Timeout() time.Duration { return time.Duration(w.TimeoutMs) * time.Millisecond }

// Batched says that a request carries more than one record.
func (w *Workload) Batched() bool { return w.RecordsPerRequest > 1 }

// Fill is the load that writes what a fetch workload then reads: the same records, in batches, as fast as it goes.
func (w Workload) Fill() Workload {
	w.Kind, w.Arrivals, w.RatePerSecond = Produce, Closed, 0
	w.Connections, w.InFlight = 4, 4
	w.RecordsPerRequest = max(1, min(16, 1<<20/w.RecordBytes))
	return w
}

// OneAtATime says that a single request is outstanding: what the floor can be told from its parts by.
func (w *Workload) OneAtATime() bool {
	return w.Kind == Produce && w.Arrivals == Closed && w.Connections == 1 && w.InFlight == 1
}

// minRingBytes is the smallest ring that floor and broker both accept.
const minRingBytes = 8 << 20

// Validate reports every value that cannot be right.
func (w *Workload) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(oneOf(w.Kind, Produce, Fetch, Recovery), "kind = %q: want produce, fetch or recovery", w.Kind)
	want(oneOf(w.Arrivals, Closed, Constant, Poisson), "arrivals = %q: want closed, constant or poisson", w.Arrivals)
	open := w.Arrivals == Constant || w.Arrivals == Poisson
	want(!open || w.RatePerSecond > 0, "rate_per_second = %v: %s arrivals need a rate above 0", w.RatePerSecond, w.Arrivals)
	want(open || w.RatePerSecond == 0, "rate_per_second = %v: closed arrivals have no rate", w.RatePerSecond)
	for _, n := range []struct {
		name       string
		value, max int
	}{
		{"connections", w.Connections, 4096}, {"in_flight", w.InFlight, 65536}, {"partitions", w.Partitions, 4096},
		{"record_bytes", w.RecordBytes, 8 << 20}, {"records_per_request", w.RecordsPerRequest, 65536}, {"timeout_ms", w.TimeoutMs, 600_000},
	} {
		want(n.value >= 1 && n.value <= n.max, "%s = %d: want 1 to %d", n.name, n.value, n.max)
	}
	want(w.RecordBytes*w.RecordsPerRequest <= 1<<20, "record_bytes × records_per_request = %d: a request of more than 1 MiB is refused "+
		"by Kafka's defaults", w.RecordBytes*w.RecordsPerRequest)
	want(w.RingBytes >= minRingBytes && w.RingBytes%4096 == 0, "ring_bytes = %d: want at least %d and a multiple of 4096", w.RingBytes, minRingBytes)
	want(w.Kind == Produce || w.PreloadBytes > 0, "preload_bytes = %d: %s needs something written before", w.PreloadBytes, w.Kind)
	want(w.Kind != Fetch || w.FetchBytes > 0, "fetch_bytes = %d: want the most bytes in an answer", w.FetchBytes)
	for _, p := range w.GatedPairs {
		want(oneOf(p, "p50", "p99", "rate"), "gated_pairs: %q: want p50, p99 or rate", p)
	}
	return errors.Join(errs...)
}

// Suite is what `make bench` runs: scenarios and how long each takes.
type Suite struct {
	Name         string     `toml:"-" json:"name"`
	Note         string     `toml:"note" json:"note"`
	TopologyName string     `toml:"topology" json:"-"`
	TuningName   string     `toml:"tuning" json:"-"`
	Launches     int        `toml:"launches" json:"launches"`             // fresh processes per scenario: the replicates
	BudgetS      int        `toml:"budget_s" json:"budget_s"`             // the whole suite must be expected to fit; checked before it starts
	DiscardMs    int        `toml:"discard_ms" json:"discard_ms"`         // of each slice's beginning
	WarmWindowMs int        `toml:"warm_window_ms" json:"warm_window_ms"` // five of these must agree before a launch is measured
	WarmLimitMs  int        `toml:"warm_limit_ms" json:"warm_limit_ms"`   // after which the launch is INVALID
	CheckSliceMs int        `toml:"check_slice_ms" json:"check_slice_ms"` // of raw sync, TCP echo and floor each, where the floor answers for itself
	Scenarios    []Scenario `toml:"scenarios" json:"scenarios"`           // in the order they run
	Topology     Topology   `toml:"-" json:"topology"`                    // resolved
	Tuning       Tuning     `toml:"-" json:"tuning"`                      // resolved
}

// Scenario is one workload for a time.
type Scenario struct {
	Name         string   `toml:"name" json:"name"`         // in results: a word
	WorkloadName string   `toml:"workload" json:"-"`        //
	Cycles       int      `toml:"cycles" json:"cycles"`     // A B B A so many times per launch
	SliceMs      int      `toml:"slice_ms" json:"slice_ms"` // one slice, the discarded part included
	Workload     Workload `toml:"-" json:"workload"`        // resolved
}

var word = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)

// Validate reports every value that cannot be right.
func (s *Suite) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(s.Launches >= 1 && s.Launches <= 100, "launches = %d: want 1 to 100 (6 for an interval, 10 for a good one)", s.Launches)
	want(s.DiscardMs >= 0, "discard_ms = %d: want 0 or more", s.DiscardMs)
	want(s.WarmWindowMs > 0, "warm_window_ms = %d: want more than 0", s.WarmWindowMs)
	want(s.WarmLimitMs >= 5*s.WarmWindowMs, "warm_limit_ms = %d: want at least five windows of %d ms", s.WarmLimitMs, s.WarmWindowMs)
	want(s.CheckSliceMs > 0, "check_slice_ms = %d: want more than 0", s.CheckSliceMs)
	want(len(s.Scenarios) > 0, "no [[scenarios]]")
	var seen []string
	for _, sc := range s.Scenarios {
		want(word.MatchString(sc.Name), "scenario name %q: want a lower-case word of letters, digits, dots and dashes", sc.Name)
		want(!slices.Contains(seen, sc.Name), "scenario %q is listed twice", sc.Name)
		seen = append(seen, sc.Name)
		if sc.Workload.Kind == Recovery {
			continue
		}
		want(sc.Cycles >= 1, "scenario %q: cycles = %d: want 1 or more", sc.Name, sc.Cycles)
		want(sc.SliceMs > s.DiscardMs, "scenario %q: slice_ms = %d: want more than discard_ms = %d", sc.Name, sc.SliceMs, s.DiscardMs)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if need := s.Estimate(); s.BudgetS > 0 && need > time.Duration(s.BudgetS)*time.Second {
		return fmt.Errorf("budget_s = %d, but the scenarios need about %v: fewer launches, cycles or shorter slices would fit",
			s.BudgetS, need.Round(time.Second))
	}
	return nil
}

// What a launch costs beside its slices, for Estimate: starting and stopping processes, filling rings with zeros,
// draining between slices and reading the data back. Measured on a small virtual machine.
const (
	launchOverhead = 1800 * time.Millisecond
	sliceOverhead  = 40 * time.Millisecond
	restart        = 700 * time.Millisecond
	writeRate      = 400 << 20 // bytes per second at which rings are filled and data is preloaded
)

// EstimateScenario is about how long one launch of sc takes when it warms up at once.
func (s *Suite) EstimateScenario(sc Scenario) time.Duration {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	rings := int64(2)
	if sc.Workload.Kind != Produce {
		rings = 1 // the floor has none
	}
	fill := time.Duration(float64(rings*sc.Workload.RingBytes+sc.Workload.PreloadBytes) / writeRate * float64(time.Second))
	if sc.Workload.Kind == Recovery {
		return launchOverhead + 3*restart + fill
	}
	slices := 4 * sc.Cycles
	total := launchOverhead + fill + 2*5*ms(s.WarmWindowMs) + time.Duration(slices)*(ms(sc.SliceMs)+sliceOverhead)
	if sc.Workload.OneAtATime() {
		total += 3 * ms(s.CheckSliceMs)
	}
	return total
}

// Estimate is about how long the whole suite takes.
func (s *Suite) Estimate() time.Duration {
	var total time.Duration
	for _, sc := range s.Scenarios {
		total += time.Duration(s.Launches) * s.EstimateScenario(sc)
	}
	return total
}

// String names the suite with what it resolved to.
func (s *Suite) String() string {
	var sc []string
	for _, x := range s.Scenarios {
		sc = append(sc, x.Name)
	}
	return fmt.Sprintf("%s: %s × %s × [%s], %d launches each", s.Name, s.Topology.Name, s.Tuning.Name, strings.Join(sc, " "), s.Launches)
}

func oneOf(s string, all ...string) bool { return slices.Contains(all, s) }
