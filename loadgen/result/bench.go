package result

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
)

// benchValue is one figure of a run in Go's benchmark format.
type benchValue struct {
	unit   string
	better string // "lower" or "higher"
	v      float64
}

// Bench writes the run in Go's benchmark format (golang.org/x/perf/benchfmt), as one line, so that runs can be appended to one file and
// compared with benchstat. load is what of the load's name is not in r, as key=value. A run that is not VALID has no figures: prose
// says so, which benchstat passes over. Neither has a percentile that fell on an operation which did not succeed.
func (r *Result) Bench(out io.Writer, load ...string) error {
	var b strings.Builder
	if r.Verdict.Status != Valid {
		fmt.Fprintf(&b, "A run of %s has no figures; its verdict is %s", r.Started.Format("2006-01-02 15.04.05"), r.Verdict.Status)
		for _, reason := range r.Verdict.Reasons {
			fmt.Fprintf(&b, ", %s", reason.Code)
		}
		b.WriteString("\n")
		_, err := io.WriteString(out, b.String())
		return err
	}
	// Only what must match: a configuration line that differs splits a comparison in two.
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\n", runtime.GOOS, runtime.GOARCH)
	values := r.benchValues()
	for _, v := range values {
		fmt.Fprintf(&b, "Unit %s assume=nothing better=%s\n", v.unit, v.better)
	}
	// A name that ends in a number is taken to end in GOMAXPROCS, so that number always stands there.
	fmt.Fprintf(&b, "%s-%d %d", r.benchName(load), max(r.Generator.GOMAXPROCS, 1), max(r.Counts.Acked, 1))
	for _, v := range values {
		fmt.Fprintf(&b, " %s %s", strconv.FormatFloat(v.v, 'g', 6, 64), v.unit)
	}
	b.WriteString("\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// benchName is the benchmark's name: what was done, to what, how.
func (r *Result) benchName(load []string) string {
	what, _, _ := strings.Cut(r.Target.Workload, " ")
	e := r.Effective
	name := "Benchmark" + strings.ToUpper(what[:1]) + what[1:]
	parts := []string{"driver=" + e.Driver, fmt.Sprintf("connections=%d", max(len(e.Connections), 1)), fmt.Sprintf("in-flight=%d", e.InFlight)}
	if r.Target.Floor == "" {
		if r.Target.Topics > 0 {
			parts = append(parts, fmt.Sprintf("topics=%d", r.Target.Topics))
		}
		if by := e.Options["partition by"]; by != "" {
			parts = append(parts, "partition-by="+by)
		}
		parts = append(parts, fmt.Sprintf("partitions=%d", r.Target.Partitions), fmt.Sprintf("replication=%d", r.Target.Replication))
	}
	if e.RecordsPerRequest > 0 {
		parts = append(parts, fmt.Sprintf("records=%d", e.RecordsPerRequest), fmt.Sprintf("size=%d", e.ValueBytes))
	}
	for _, p := range append(parts, load...) {
		name += "/" + benchWord(p)
	}
	return name
}

// benchWord makes a part of a benchmark's name of a text.
func benchWord(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == '/' || c > '~' {
			return '_'
		}
		return c
	}, s)
}

// benchValues are a run's figures. The percentiles of the response time have no prefix, as in RESULTS.md.
func (r *Result) benchValues() (out []benchValue) {
	add := func(unit, better string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, benchValue{unit, better, v})
		}
	}
	percentiles := func(prefix string, s *Summary) {
		if s == nil {
			return
		}
		for _, p := range s.Percentiles {
			if !p.AtLeast {
				add(fmt.Sprintf("%sp%g-ns", prefix, p.P), "lower", p.US*1e3)
			}
		}
	}
	if l := r.Latency; l != nil {
		percentiles("", &l.Response)
		percentiles("service-", &l.Service)
		percentiles("backlog-", &l.Backlog)
		percentiles("lag-", &l.Lag)
		percentiles("end-to-end-", l.E2E)
		percentiles("delivery-", l.Deliver)
	}
	c := r.Counts
	if c.WindowSeconds > 0 {
		add("requests/s", "higher", c.Rate())
		add("records/s", "higher", float64(c.Records)/c.WindowSeconds)
	}
	add("failed-requests", "lower", float64(c.Failed))
	return out
}
