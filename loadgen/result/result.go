// Package result is what a run leaves behind: one structure with everything in it, a verdict on whether its figures may be
// used, and a summary for people.
//
// The problem: a latency without its circumstances is hearsay. Was the generator itself late? Did the data survive? What
// was really connected to what? A Result answers these from the objects that did the work, keeps the whole histograms and not
// some percentiles, and is judged by rules that are written down as a pure function (Judge), so that every reason for
// discarding a run can be provoked in a test.
package result

import (
	"encoding/json"
	"slices"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/hist"
)

// Result is one run.
type Result struct {
	Format  int       `json:"format"` // of this structure; see Format
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Verdict Verdict   `json:"verdict"`

	// Asked is the configuration as given, Effective as it came out.
	Asked     any              `json:"asked"`
	Effective client.Effective `json:"effective"`
	Target    Target           `json:"target"`
	Generator Generator        `json:"generator"`

	Counts  Counts   `json:"counts"`
	WarmUp  *WarmUp  `json:"warm_up,omitempty"`
	Latency *Latency `json:"latency,omitempty"` // nil when the check failed: such a run has no latency; nor has one without answers
	Stages  *Stages  `json:"stages,omitempty"`  // nil when they were not asked for, or Latency is
	Series  []Second `json:"series,omitempty"`
	// Outages are the stretches of the window in which operations of a partition were due and for longer than GapMs none was
	// acknowledged. ByPartition is what came to each.
	GapMs       float64          `json:"gap_ms"`
	Outages     []Outage         `json:"outages,omitempty"`
	ByPartition []PartitionCount `json:"by_partition,omitempty"`
	Check       *check.Report    `json:"check,omitempty"`
	// Beside is a floor that got the same load in turns with the system.
	Beside *Beside `json:"beside,omitempty"`
	// Agents are the machines that made the load, when it was made by several.
	Agents    []Agent    `json:"agents,omitempty"`
	Consumers *Consumers `json:"consumers,omitempty"`
	// Drain is how a backlog was consumed. Counts are then of its writing.
	Drain *Drain `json:"drain,omitempty"`
	// Unanswered: operations had no answers (acks 0). Acked then counts what the sockets took.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Format is the version of Result's JSON. It changes when a field changes its meaning.
const Format = 1

// Target is what was measured.
type Target struct {
	Brokers     []string `json:"brokers,omitempty"`
	Floor       string   `json:"floor,omitempty"`
	Security    string   `json:"security,omitempty"`   // TLS and SASL, in words
	Topic       string   `json:"topic,omitempty"`      // several have commas between them
	Topics      int      `json:"topics,omitempty"`     // how many, if several
	Partitions  int      `json:"partitions,omitempty"` // of all topics together
	Replication int      `json:"replication,omitempty"`
	Workload    string   `json:"workload"`
}

// Counts are of the measured window, except where they say otherwise.
type Counts struct {
	WindowSeconds float64 `json:"window_seconds"`
	Arrivals      int64   `json:"arrivals"` // due within the window
	Acked         int64   `json:"acked"`
	Failed        int64   `json:"failed"`
	Unsent        int64   `json:"unsent"` // were due and never sent; part of Failed
	Records       int64   `json:"records"`
	ValueBytes    int64   `json:"value_bytes"` // of acknowledged or fetched records
	WireBytes     int64   `json:"wire_bytes"`  // of acknowledged requests' frames; 0 where the library makes them
	// AllAcked and AllRecords count the whole of the load, warm-up and what was discarded included: what the counters of devices and processes belong to.
	AllAcked   int64    `json:"all_acked"`
	AllRecords int64    `json:"all_records"`
	AllFailed  int64    `json:"all_failed"`
	Errors     []string `json:"errors,omitempty"` // the first few distinct ones
	// ByCode counts Failed by client.ErrorCode, and what never found room as "unsent".
	ByCode map[string]int64 `json:"failed_by_code,omitempty"`
}

// Rate is acknowledged operations per second.
func (c Counts) Rate() float64 {
	if c.WindowSeconds == 0 {
		return 0
	}
	return float64(c.Acked) / c.WindowSeconds
}

// Generator is what the generator itself used and went through within the window.
type Generator struct {
	GOMAXPROCS         int     `json:"gomaxprocs"`
	CPUs               int     `json:"cpus"`
	UserSeconds        float64 `json:"user_seconds"`
	SystemSeconds      float64 `json:"system_seconds"`
	VoluntarySwitches  int64   `json:"voluntary_switches"`
	Preemptions        int64   `json:"preemptions"`
	GarbageCollections int64   `json:"garbage_collections"`
	StolenSeconds      float64 `json:"stolen_seconds"`    // of the whole machine, by its host
	ThrottledSeconds   float64 `json:"throttled_seconds"` // by the control group
	RunDelaySeconds    float64 `json:"run_delay_seconds"` // the worker threads', ready and without a CPU
	SpinUS             float64 `json:"spin_us"`           // how early threads ask to be woken, at the end
	Realtime           bool    `json:"realtime"`          // threads that keep a schedule had a real-time priority
	CPUsAwake          bool    `json:"cpus_awake"`        // idle CPUs were kept from halting
}

// Latency is every distribution of a run.
type Latency struct {
	TimeoutNS  int64      `json:"timeout_ns"`
	Set        *hist.Set  `json:"histograms"`
	EndToEnd   *hist.Hist `json:"end_to_end_histogram,omitempty"` // sent → in a consumer's hand
	Delivery   *hist.Hist `json:"delivery_histogram,omitempty"`   // acknowledged → in a consumer's hand
	EarlyReads int64      `json:"early_reads,omitempty"`          // were in hand before the producer had its answer; 0 in Delivery
	Unread     int64      `json:"unread,omitempty"`               // acknowledged and not seen by the consumer

	Response Summary  `json:"response"`
	Service  Summary  `json:"service"`
	Lag      Summary  `json:"lag"`
	Backlog  Summary  `json:"backlog"`
	E2E      *Summary `json:"end_to_end,omitempty"`
	Deliver  *Summary `json:"delivery,omitempty"`
}

// Percentiles are the ones that a summary has, as far as the samples support them.
var Percentiles = []float64{50, 90, 95, 99, 99.9, 99.99}

// Summary is a distribution in figures.
type Summary struct {
	Count       int64        `json:"count"` // successes
	Failed      int64        `json:"failed"`
	OutOfRange  int64        `json:"out_of_range"`
	MeanUS      float64      `json:"mean_us"`
	Percentiles []Percentile `json:"percentiles"`
	MaxUS       float64      `json:"max_us"`
}

// Percentile is one of them. AtLeast: the rank fell on an operation that did not succeed.
type Percentile struct {
	P       float64 `json:"p"`
	US      float64 `json:"us"`
	AtLeast bool    `json:"at_least,omitempty"`
}

// At returns the percentile p of s, if it is supported by enough samples.
func (s Summary) At(p float64) (Percentile, bool) {
	for _, q := range s.Percentiles {
		if q.P == p {
			return q, true
		}
	}
	return Percentile{}, false
}

// Summarize puts h into figures. Percentiles without a hundred samples beyond them are left out.
func Summarize(h *hist.Hist, timeoutNS int64) Summary {
	s := Summary{Count: h.Count(), Failed: h.Failed(), OutOfRange: h.OutOfRange(), MeanUS: h.Mean() / 1e3, MaxUS: float64(h.Max()) / 1e3}
	for _, p := range Percentiles {
		if h.Supports(p) {
			v := h.Percentile(p, timeoutNS)
			s.Percentiles = append(s.Percentiles, Percentile{P: p, US: float64(v.NS) / 1e3, AtLeast: v.AtLeast})
		}
	}
	return s
}

// Summarize fills the summaries from the histograms.
func (l *Latency) Summarize() {
	l.Response = Summarize(l.Set.Response, l.TimeoutNS)
	l.Service = Summarize(l.Set.Service, l.TimeoutNS)
	l.Lag = Summarize(l.Set.Lag, l.TimeoutNS)
	l.Backlog = Summarize(l.Set.Backlog, l.TimeoutNS)
	for _, x := range []struct {
		h  *hist.Hist
		to **Summary
	}{{l.EndToEnd, &l.E2E}, {l.Delivery, &l.Deliver}} {
		if x.h != nil {
			s := Summarize(x.h, l.TimeoutNS)
			*x.to = &s
		}
	}
}

// Second is one second of a run. Latencies are of operations answered in it.
type Second struct {
	Second     int64   `json:"second"`
	WarmUp     bool    `json:"warm_up,omitempty"`
	Acked      int64   `json:"acked"`
	Failed     int64   `json:"failed,omitempty"`
	Records    int64   `json:"records"`
	P50US      float64 `json:"p50_us,omitempty"`
	P99US      float64 `json:"p99_us,omitempty"`
	MaxUS      float64 `json:"max_us,omitempty"`
	LagP99US   float64 `json:"lag_p99_us,omitempty"`
	BacklogUS  float64 `json:"backlog_p99_us,omitempty"`
	BacklogMax float64 `json:"backlog_max_us,omitempty"`
}

// WarmUp is how the system settled.
type WarmUp struct {
	Settled bool      `json:"settled"`
	Seconds float64   `json:"seconds"`
	P50US   []float64 `json:"p50_us"` // of each window of a second
	Why     string    `json:"why,omitempty"`
}

const (
	warmWindows   = 5
	warmAgreement = 0.05
)

// Settled reports whether a system has come to rest: the last five medians agree within 5% and do not move one way throughout
// (by chance five values do that once in sixty). A host that is shared may never hold that still, whatever runs on it: so
// five medians that scatter more are taken too, when as many before them have the same median within 5%. What still warms
// up fails both.
func Settled(p50us []float64) bool {
	n := len(p50us)
	if n < warmWindows {
		return false
	}
	last := p50us[n-warmWindows:]
	if moving(last) {
		return false
	}
	low, high := slices.Min(last), slices.Max(last)
	if low > 0 && high <= low*(1+warmAgreement) {
		return true
	}
	if n < 2*warmWindows {
		return false
	}
	now, before := middle(last), middle(p50us[n-2*warmWindows:n-warmWindows])
	return low > 0 && max(now, before) <= min(now, before)*(1+warmAgreement)
}

// moving tells whether values only rise, or only fall.
func moving(v []float64) bool {
	up, down := 0, 0
	for i := 1; i < len(v); i++ {
		if v[i] > v[i-1] {
			up++
		}
		if v[i] < v[i-1] {
			down++
		}
	}
	return up == len(v)-1 || down == len(v)-1
}

func middle(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

// Conclude gives r its verdict, and takes every latency away from a run that failed the check or had no answers.
func (r *Result) Conclude(e Evidence) {
	r.Verdict, r.Unanswered = Judge(e), e.Unanswered
	if r.Verdict.Status != Failed && !r.Unanswered {
		return
	}
	r.Latency, r.Stages, r.WarmUp = nil, nil, nil
	for i, s := range r.Series {
		r.Series[i] = Second{Second: s.Second, WarmUp: s.WarmUp, Acked: s.Acked, Failed: s.Failed, Records: s.Records}
	}
}

// JSON returns r as indented JSON with a newline at its end.
func (r *Result) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}
