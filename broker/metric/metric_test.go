package metric

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"ackline/broker/metric/histogram"
)

// wired returns a set with a source for every metric of the table.
func wired() *Set {
	s := New()
	for _, id := range All() {
		d := id.Def()
		labels := make([]string, len(d.Labels))
		for i := range labels {
			labels[i] = "x"
		}
		switch d.Kind {
		case Counter:
			s.Counter(id, func() uint64 { return 1 }, labels...)
		case Gauge:
			if d.Unit == Seconds {
				s.Duration(id, func() time.Duration { return time.Second }, labels...)
			} else {
				s.Gauge(id, func() int64 { return 1 }, labels...)
			}
		case Histogram:
			s.Histogram(id, histogram.New(histogram.Latency).Snapshot, labels...)
		}
	}
	return s
}

// TestTable holds each line to Prometheus's rules for names: a prefix for the program, then what is counted, then the
// unit, in base units, and "total" behind a counter's.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	lowerSnake := regexp.MustCompile(`^ackline(_[a-z]+)+$`)
	for _, id := range All() {
		d := id.Def()
		name := d.Name
		if !lowerSnake.MatchString(name) {
			t.Errorf("metric %d is named %q", id, name)
		}
		if seen[name] {
			t.Errorf("%s stands twice", name)
		}
		seen[name] = true
		if d.Help == "" || !strings.HasSuffix(d.Help, ".") || strings.ToUpper(d.Help[:1]) != d.Help[:1] {
			t.Errorf("%s: the help %q is no sentence", name, d.Help)
		}
		if total := strings.HasSuffix(name, "_total"); total != (d.Kind == Counter) {
			t.Errorf("%s is a %v", name, d.Kind)
		}
		if d.Unit == Seconds && d.Kind == Counter {
			t.Errorf("%s is a %v in seconds, which a source of integers cannot give", name, d.Kind)
		}
		unit := strings.TrimSuffix(name, "_total")
		for _, u := range []Unit{Seconds, Bytes} {
			if strings.HasSuffix(unit, "_"+string(u)) != (d.Unit == u) {
				t.Errorf("%s is in %q", name, d.Unit)
			}
			if strings.Contains(strings.TrimSuffix(unit, "_"+string(u)), string(u)) {
				t.Errorf("%s has its unit in the middle", name)
			}
		}
		for _, word := range strings.Split(name, "_") {
			if slices.Contains([]string{"ms", "us", "ns", "milliseconds", "kb", "mb", "kilobytes", "count", "sum", "bucket"}, word) {
				t.Errorf("%s: %q is no base unit, or a histogram's suffix", name, word)
			}
		}
		for _, label := range d.Labels {
			if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(label) || label == "le" || strings.Contains(name, label) {
				t.Errorf("%s: label %q", name, label)
			}
		}
	}
}

// TestLint asks Prometheus's own linter.
func TestLint(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(wired())
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeries(t *testing.T) {
	registry := wired().Registry()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var gathered []string
	others := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "ackline_") {
			others[strings.SplitN(name, "_", 2)[0]] = true
			continue
		}
		if f.GetMetric()[0].GetHistogram() != nil {
			gathered = append(gathered, name+"_bucket", name+"_sum", name+"_count")
		} else {
			gathered = append(gathered, name)
		}
	}
	want := Series()
	slices.Sort(gathered)
	slices.Sort(want)
	if !slices.Equal(gathered, want) {
		t.Errorf("gathered %v\nwant %v", gathered, want)
	}
	if !others["go"] || !others["process"] {
		t.Errorf("beside them %v, want the collectors of go and process", others)
	}
}

func TestSourcesAreReadWhenScraped(t *testing.T) {
	var requests atomic.Uint64
	var open atomic.Int64
	s := New()
	s.Counter(ProduceRequests, requests.Load)
	s.Gauge(Connections, open.Load)
	s.Duration(WALOutstanding, func() time.Duration { return time.Duration(requests.Load()) * 1250 * time.Millisecond })
	s.Counters(ProduceErrors, func(emit func(uint64, ...string)) {
		for code := range requests.Load() {
			emit(code+1, fmt.Sprint(code))
		}
	})
	for _, n := range []uint64{0, 2} {
		requests.Store(n)
		open.Store(-int64(n))
		want := fmt.Sprintf(`
# HELP ackline_connections Open client connections.
# TYPE ackline_connections gauge
ackline_connections %d
# HELP ackline_produce_requests_total Produce requests answered, or with acks=0 taken.
# TYPE ackline_produce_requests_total counter
ackline_produce_requests_total %d
# HELP ackline_wal_outstanding_write_seconds How long the oldest write to the WAL has been on its way to the disk; 0 when none is.
# TYPE ackline_wal_outstanding_write_seconds gauge
ackline_wal_outstanding_write_seconds %v
`, -int64(n), n, float64(n)*1.25)
		if n == 2 {
			want += `
# HELP ackline_produce_errors_total Partitions in Produce responses that carry an error, by Kafka's error code.
# TYPE ackline_produce_errors_total counter
ackline_produce_errors_total{code="0"} 1
ackline_produce_errors_total{code="1"} 2
`
		}
		if err := testutil.CollectAndCompare(s, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	}
}

func TestHistogramOutput(t *testing.T) {
	s := New()
	for _, method := range []string{"a", "b"} {
		s.Histogram(WALSync, func() histogram.Snapshot {
			return histogram.Snapshot{Bounds: []float64{0.001, 0.01}, Counts: []uint64{3, 4, 5}, Sum: 1.5}
		}, method)
	}
	want := `
# HELP ackline_wal_sync_duration_seconds Time to write one WAL batch and have it on disk.
# TYPE ackline_wal_sync_duration_seconds histogram
ackline_wal_sync_duration_seconds_bucket{method="a",le="0.001"} 3
ackline_wal_sync_duration_seconds_bucket{method="a",le="0.01"} 7
ackline_wal_sync_duration_seconds_bucket{method="a",le="+Inf"} 12
ackline_wal_sync_duration_seconds_sum{method="a"} 1.5
ackline_wal_sync_duration_seconds_count{method="a"} 12
ackline_wal_sync_duration_seconds_bucket{method="b",le="0.001"} 3
ackline_wal_sync_duration_seconds_bucket{method="b",le="0.01"} 7
ackline_wal_sync_duration_seconds_bucket{method="b",le="+Inf"} 12
ackline_wal_sync_duration_seconds_sum{method="b"} 1.5
ackline_wal_sync_duration_seconds_count{method="b"} 12
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestBrokenSourceIsAnError checks that a source which is wrong costs its own metric and says so.
func TestBrokenSourceIsAnError(t *testing.T) {
	for name, snapshot := range map[string]histogram.Snapshot{
		"a count missing": {Bounds: []float64{1, 2}, Counts: []uint64{1, 1}},
		"descending":      {Bounds: []float64{2, 1}, Counts: []uint64{1, 1, 1}},
		"twice":           {Bounds: []float64{1, 1}, Counts: []uint64{1, 1, 1}},
		"infinite":        {Bounds: []float64{1, math.Inf(1)}, Counts: []uint64{1, 1, 1}},
		"no number":       {Bounds: []float64{math.NaN()}, Counts: []uint64{1, 1}},
		"sum":             {Bounds: []float64{1}, Counts: []uint64{1, 1}, Sum: math.NaN()},
		"empty":           {},
	} {
		s := New()
		s.Counter(ProduceRequests, func() uint64 { return 7 })
		s.Histogram(Checkpoint, func() histogram.Snapshot { return snapshot })
		registry := prometheus.NewRegistry()
		registry.MustRegister(s)
		families, err := registry.Gather()
		if err == nil || !strings.Contains(err.Error(), "ackline_checkpoint_duration_seconds") {
			t.Errorf("%s: error %v", name, err)
		}
		if len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() != 7 {
			t.Errorf("%s: the other metric is gone: %v", name, families)
		}
	}
	s := New()
	s.Counters(ProduceErrors, func(emit func(uint64, ...string)) { emit(1, "a", "b") })
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	if _, err := registry.Gather(); err == nil {
		t.Error("a series with two labels for one was gathered")
	}
}

func TestWrongWiringPanics(t *testing.T) {
	counter, gauge := func() uint64 { return 0 }, func() int64 { return 0 }
	many := func(func(uint64, ...string)) {}
	for name, wire := range map[string]func(*Set){
		"whole seconds":         func(s *Set) { s.Gauge(WALOutstanding, gauge) },
		"an age in bytes":       func(s *Set) { s.Duration(WALRingUsed, func() time.Duration { return 0 }) },
		"a gauge for a counter": func(s *Set) { s.Gauge(ProduceRequests, gauge) },
		"a counter for a gauge": func(s *Set) { s.Counter(Connections, counter) },
		"a label missing":       func(s *Set) { s.Counter(ProduceErrors, counter) },
		"a label too many":      func(s *Set) { s.Counter(ProduceRequests, counter, "x") },
		"twice":                 func(s *Set) { s.Gauge(Connections, gauge); s.Gauge(Connections, gauge) },
		"one series twice":      func(s *Set) { s.Counter(Refused, counter, "x"); s.Counter(Refused, counter, "x") },
		"one and all":           func(s *Set) { s.Counter(Refused, counter, "x"); s.Counters(Refused, many) },
		"all of one":            func(s *Set) { s.Counters(ProduceRequests, many) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			wire(New())
		}()
	}
	s := New()
	s.Counter(Refused, counter, "x")
	s.Counter(Refused, counter, "y")
}

func TestMissing(t *testing.T) {
	s := New()
	if got := len(s.Missing()); got != len(All()) {
		t.Errorf("%d of %d missing", got, len(All()))
	}
	s.Gauge(Connections, func() int64 { return 0 })
	if slices.Contains(s.Missing(), Connections) || !slices.Contains(s.Missing(), RaftGroups) {
		t.Errorf("missing: %v", s.Missing())
	}
	if got := wired().Missing(); len(got) != 0 {
		t.Errorf("missing: %v", got)
	}
}
