// Package record is the shape of a bench run on disk: what tools/bench writes and everything downstream reads.
//
// A results table can be trusted only if it can be drawn again from the raw data, by another program, years later. So
// this package holds plain structs with JSON tags and nothing else that changes: every figure of every launch, the
// histograms the percentiles came from, the seeds, the configuration that was in effect and the fingerprint of the
// host. Derived numbers (limit ratios over launches, intervals, verdicts against a bar) are not stored: Summarise
// computes them, so that a reader and a writer cannot disagree about them.
//
// Layout of an out directory:
//
//	out/<time>/results.json                  Results, complete
//	out/<time>/launch-03-steady.json         the one Launch, raw
//	out/<time>/launch-03-steady-system.hlog  HdrHistogram log of that launch's system slices
//	out/<time>/broker-03.log                 what the broker process said
//	out/<time>/report.html                   the run for a browser, one file
//	out/latest                               symbolic link to out/<time>
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
	"ackline/tools/hostinfo/fingerprint"
)

// Format is the version of this schema. It rises when a field changes its meaning or goes away; new fields do not
// raise it.
const Format = 1

// ResultsName is the file name of a run's combined results inside its out directory.
const ResultsName = "results.json"

// Verdict says whether a launch, slice or estimate may be published.
type Verdict string

const (
	// OK: measured by the rules.
	OK Verdict = "ok"
	// Invalid: measured, but something made the figures meaningless (generator late, foreign writes, floor broken).
	// Every reason is listed; the figures are kept for diagnosis and never enter an estimate.
	Invalid Verdict = "invalid"
	// Failed: a process died, an operation was answered with an error, or the data check failed. No figures.
	Failed Verdict = "failed"
)

// Side is which program a figure belongs to.
type Side string

const (
	System Side = "system" // the broker
	Floor  Side = "floor"  // the bare durable echo; for fetch the bare TCP echo
	Host   Side = "host"   // neither: raw sync alone, TCP echo alone, device counters
)

// Results is one whole run of a suite: out/<time>/results.json.
type Results struct {
	Format        int              `json:"format"`
	Suite         string           `json:"suite"`          // "quick", "full" or the path given
	Commit        string           `json:"commit"`         // of the binaries that ran, "-dirty" behind it when the tree had changes
	GoVersion     string           `json:"go_version"`     // the toolchain that built them
	FloorVersion  int              `json:"floor_version"`  // figures of different floors are never compared; 0: unknown
	Started       time.Time        `json:"started"`        // UTC
	Ended         time.Time        `json:"ended"`          // UTC
	Seed          uint64           `json:"seed,string"`    // the run's seed; each launch's seed derives from it
	ProfileDigest string           `json:"profile_digest"` // 16 hex digits over the effective suite, topology, workloads and tuning
	Host          fingerprint.Info `json:"host"`
	Dir           string           `json:"dir"`         // the directory that was measured, as the user gave it
	FreeBytes     int64            `json:"free_bytes"`  // in Dir when the run began
	SyncMethod    string           `json:"sync_method"` // what the floor and raw sync used; "": unknown
	Scenarios     []Scenario       `json:"scenarios"`
	Launches      []Launch         `json:"launches"`        // ordered by launch number, then by the suite's order
	Notes         []string         `json:"notes,omitempty"` // what the run could not do on this host, one sentence each
	Interrupted   bool             `json:"interrupted,omitempty"`
	Remote        *Remote          `json:"remote,omitempty"` // nil: brokers and floor were started by bench, on this machine
}

// Scenario is what was run, as it was in effect.
type Scenario struct {
	Name          string            `json:"name"`      // unique within the run, a word: "latency-1", "steady-2000"
	Operation     string            `json:"operation"` // "Produce" (a sweep too), "Fetch", "Recovery", "Failover", "CatchUp", "Idle", "RegionLoss", "RegionReturn", "EndToEnd" or "LineRate"
	Topology      string            `json:"topology"`  // "single"
	Workload      string            `json:"workload"`  // the profile's name: "latency", "steady", ...
	Tuning        string            `json:"tuning"`    // "default"
	Note          string            `json:"note"`      // one line for people: what the load is; says "batched" when it is
	FloorIs       string            `json:"floor_is"`  // what stands for the limit: "durable echo", "TCP echo", "ring read once", or "" for none
	Configuration map[string]string `json:"configuration"`
}

// OnePartition is what FloorIs says of a scenario whose other side is the same load on one partition. That is no limit of anything.
const OnePartition = "one partition"

// Limit says that nothing can be faster than the scenario's floor.
func (s *Scenario) Limit() bool { return s.FloorIs != OnePartition }

// Launch is one scenario on one fresh broker process and one fresh floor process.
type Launch struct {
	Number     int         `json:"number"` // 1-based; the same number means the same round of the suite
	Scenario   string      `json:"scenario"`
	Seed       uint64      `json:"seed,string"`
	Started    time.Time   `json:"started"`
	Seconds    float64     `json:"seconds"`
	Verdict    Verdict     `json:"verdict"`
	Reasons    []string    `json:"reasons,omitempty"`   // for every verdict but OK, one sentence each
	HostOnly   bool        `json:"host_only,omitempty"` // Invalid, and everything against it is what a host that takes CPU time away brings about
	Requests   int64       `json:"requests"`            // acknowledged by the system in slices that count
	Slices     []Slice     `json:"slices,omitempty"`
	Rungs      []Rung      `json:"rungs,omitempty"`     // of a sweep, in the order they ran
	Incidents  []Incident  `json:"incidents,omitempty"` // of a failover, in the order they happened
	Points     []Point     `json:"points,omitempty"`    // of a recovery curve, in the order they ran
	Timeline   *Timeline   `json:"timeline,omitempty"`  // of a failover, recovery or catch-up; nil without a probe, and in records of older versions
	Regions    []Region    `json:"regions,omitempty"`   // over an emulated network, by placement in the order they ran
	Readers    []Reader    `json:"readers,omitempty"`   // over an emulated network too, a consumer in each region
	Network    *Network    `json:"network,omitempty"`   // that one
	Chosen     *Chosen     `json:"chosen,omitempty"`    // over one, where the brokers chose a place for the leader; nil: they did not, or it could not be compared
	Pairs      []Pair      `json:"pairs,omitempty"`
	Figures    []Figure    `json:"figures,omitempty"`
	Stages     []Stage     `json:"stages,omitempty"`
	Split      []Split     `json:"split,omitempty"`
	Histograms []Histogram `json:"histograms,omitempty"`
	Check      *DataCheck  `json:"check,omitempty"` // nil when it was not come to
	Notes      []string    `json:"notes,omitempty"` // what this launch could not do on this host, one sentence each
}

// Slice is one uninterrupted stretch of load on one side.
type Slice struct {
	Number   int      `json:"number"` // 0-based, in the order they ran
	Side     Side     `json:"side"`
	Of       string   `json:"of,omitempty"` // the placement, where there are several
	StartNs  int64    `json:"start_ns"`     // since the launch began; the first DiscardNs of the slice are not in the figures
	LengthNs int64    `json:"length_ns"`
	Requests int64    `json:"requests"`
	Failures int64    `json:"failures"` // answered with an error, not answered in time, or due and never sent
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons,omitempty"`
	HostOnly bool     `json:"host_only,omitempty"` // as in Launch
	Figures  []Figure `json:"figures"`
}

// Figure is one number. Names carry the quantity, Unit how it is counted; both are stable across commits.
type Figure struct {
	Name  string  `json:"name"` // "latency_us_p50", "cpu_ns_per_request"
	Unit  string  `json:"unit"` // "us", "ms", "ns/request", "1/s", "bytes", "bytes/s", "bytes/byte", "1", "s"
	Side  Side    `json:"side"`
	Value float64 `json:"value"`
}

// Pair is one quantity of system and floor in one launch. System and Floor are log-means over the launch's slices.
type Pair struct {
	Name   string  `json:"name"` // "p50", "p99", "rate", "e2e-p50", "first-ack", "p99-restored", …
	Unit   string  `json:"unit"`
	System float64 `json:"system"`
	Floor  float64 `json:"floor"`
	Ratio  float64 `json:"ratio"`           // system / floor; for rates floor / system, so that 1 is the limit and more is worse
	Excess float64 `json:"excess"`          // system - floor in Unit; for rates floor - system
	Slices int     `json:"slices"`          // slices per side behind it
	Gated  bool    `json:"gated,omitempty"` // takes part in a comparison's verdict
}

// Stage is one stage of the system's write path within a launch, from the broker's own timestamps.
type Stage struct {
	Name  string  `json:"name"` // "read", "decode", "propose", "queue", "sync", "quorum", "reply"
	P50Us float64 `json:"us_p50"`
	P99Us float64 `json:"us_p99"`
}

// Split is one stage's part of the response time, as the broker told the generator request by request: means over the requests from the
// 40th to the 60th percentile of the response, and over the slowest hundredth. Of either the stages of a launch add up to the response.
type Split struct {
	Name      string  `json:"name"` // "client_queue", "network", "decode", "propose", "batch_wait", "sync", "quorum", "reply"
	MedianUs  float64 `json:"us_p40_to_p60"`
	SlowestUs float64 `json:"us_slowest_1_percent"`
}

// Histogram is a whole distribution of nanoseconds of one side of a launch, all of its slices merged, failures
// included. In JSON its "hdr" is base64 of HdrHistogram's V2 compressed encoding, readable by any HdrHistogram library.
type Histogram struct {
	Side Side       `json:"side"`
	Name string     `json:"name"` // "response", "service", "lag", "backlog"
	Hist *hist.Hist `json:"hist"`
}

// DataCheck is what reading everything back found.
type DataCheck struct {
	Acknowledged int64  `json:"acknowledged"` // records the generator has an answer for
	Read         int64  `json:"read"`
	Missing      int64  `json:"missing"`
	Duplicated   int64  `json:"duplicated"`
	Reordered    int64  `json:"reordered"`
	Misplaced    int64  `json:"misplaced"`         // read at an offset other than the acknowledged one
	Damaged      int64  `json:"damaged,omitempty"` // read with other bytes than were sent
	Unknown      int64  `json:"unknown,omitempty"` // read but never acknowledged: unfinished operations, allowed
	OK           bool   `json:"ok"`
	Detail       string `json:"detail,omitempty"` // the first difference, for people
}

// Checked is a report of the generator's as the record keeps it.
func Checked(r *check.Report) *DataCheck {
	c := &DataCheck{Acknowledged: r.Acked, Read: r.Read, Missing: r.Lost, Duplicated: r.Duplicated, Reordered: r.Reordered,
		Misplaced: r.WrongOffset, Damaged: r.WrongBytes, Unknown: r.Unacked, OK: r.Passed()}
	if len(r.Examples) > 0 {
		c.Detail = r.Examples[0]
	}
	return c
}

// Plus is what two checks of one topic found together, each of what it had written itself.
func (c *DataCheck) Plus(o *DataCheck) *DataCheck {
	sum := &DataCheck{Acknowledged: c.Acknowledged + o.Acknowledged, Read: c.Read + o.Read, Missing: c.Missing + o.Missing,
		Duplicated: c.Duplicated + o.Duplicated, Reordered: c.Reordered + o.Reordered, Misplaced: c.Misplaced + o.Misplaced,
		Damaged: c.Damaged + o.Damaged, Unknown: c.Unknown + o.Unknown, OK: c.OK && o.OK, Detail: c.Detail}
	if sum.Detail == "" {
		sum.Detail = o.Detail
	}
	return sum
}

// Hist returns the launch's histogram of that name and side, nil when there is none.
func (l *Launch) Hist(side Side, name string) *hist.Hist {
	for _, h := range l.Histograms {
		if h.Side == side && h.Name == name {
			return h.Hist
		}
	}
	return nil
}

// Get returns the launch's figure of that name and side.
func (l *Launch) Get(side Side, name string) (float64, bool) {
	for _, f := range l.Figures {
		if f.Side == side && f.Name == name {
			return f.Value, true
		}
	}
	return 0, false
}

// Pair returns the launch's pair of that name.
func (l *Launch) Pair(name string) (Pair, bool) {
	for _, p := range l.Pairs {
		if p.Name == name {
			return p, true
		}
	}
	return Pair{}, false
}

// Of returns the launches of one scenario in order of their numbers.
func (r *Results) Of(scenario string) []Launch {
	var out []Launch
	for _, l := range r.Launches {
		if l.Scenario == scenario {
			out = append(out, l)
		}
	}
	return out
}

// Validate checks what no reader should have to: the format, the fingerprint's digest, that launches name scenarios
// that exist, and that a verdict other than OK says why.
func (r *Results) Validate() error {
	if r.Format != Format {
		return fmt.Errorf("results: format %d, this program reads format %d", r.Format, Format)
	}
	if err := r.Host.Check(); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	known := map[string]bool{}
	for _, s := range r.Scenarios {
		if known[s.Name] {
			return fmt.Errorf("results: scenario %q is listed twice", s.Name)
		}
		known[s.Name] = true
	}
	var errs []error
	for _, l := range r.Launches {
		where := fmt.Sprintf("results: launch %d of %q", l.Number, l.Scenario)
		switch {
		case !known[l.Scenario]:
			errs = append(errs, fmt.Errorf("%s: no such scenario", where))
		case l.Verdict != OK && l.Verdict != Invalid && l.Verdict != Failed:
			errs = append(errs, fmt.Errorf("%s: verdict %q, want ok, invalid or failed", where, l.Verdict))
		case l.Verdict != OK && len(l.Reasons) == 0:
			errs = append(errs, fmt.Errorf("%s: verdict %q without a reason", where, l.Verdict))
		}
	}
	return errors.Join(errs...)
}

// Read loads and validates a results file; name may be the file or its out directory.
func Read(name string) (*Results, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		name = filepath.Join(name, ResultsName)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Write stores v as indented JSON under name, through a temporary file, so that a reader never sees half of it.
func Write(name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	tmp := name + ".tmp" + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
