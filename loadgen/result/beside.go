package result

import (
	"fmt"
	"slices"
	"strings"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
)

// Beside is a floor that got the same load as the system, in turns with it.
type Beside struct {
	Floor   string   `json:"floor"`
	Verdict Verdict  `json:"verdict"`
	Latency *Latency `json:"latency,omitempty"`
	// Ratios are empty when one of the two has no percentile to compare.
	Ratios []Ratio `json:"ratios,omitempty"`
}

// Ratio compares a percentile of the response time.
type Ratio struct {
	P          float64 `json:"p"`
	LimitRatio float64 `json:"limit_ratio"` // the system's over the floor's: 1 is the physical limit
	ExcessUS   float64 `json:"excess_us"`   // the system's less the floor's
}

// leastRatio is how much faster than the floor a system may seem; one that is faster still is not durable, or the floor is broken.
const leastRatio = 0.95

// Against puts a floor's result beside r's.
func (r *Result) Against(floor string, f *Result) {
	b := &Beside{Floor: floor, Verdict: f.Verdict, Latency: f.Latency}
	r.Beside = b
	if r.Latency == nil || f.Latency == nil {
		return
	}
	for _, p := range []float64{50, 99, 99.9} {
		s, ok := r.Latency.Response.At(p)
		l, has := f.Latency.Response.At(p)
		if ok && has && !s.AtLeast && !l.AtLeast && l.US > 0 {
			b.Ratios = append(b.Ratios, Ratio{p, s.US / l.US, s.US - l.US})
		}
	}
	if len(b.Ratios) > 0 && b.Ratios[0].LimitRatio < leastRatio && f.Verdict.Status == Valid {
		r.Verdict.Reasons = append(r.Verdict.Reasons, Reason{FasterThanFloor, fmt.Sprintf("the system's median is %.2f of the floor's, which does the least that a durable write takes: "+
			"it is not durable, or the floor has a slower disk or network", b.Ratios[0].LimitRatio)})
		if r.Verdict.Status == Valid {
			r.Verdict.Status = Invalid
		}
	}
}

// Chain makes one result of slices of one session, one after the other; c is the check of all of them, nil if there was none.
func Chain(turns []*Result, percentile float64, c *check.Report) *Result {
	var parts []Part
	at, second := 0.0, int64(0)
	for i, s := range turns {
		part := shifted(s, at, second)
		if i == len(turns)-1 {
			part.Check = c
		}
		parts = append(parts, Part{Addr: fmt.Sprintf("slice %d", i+1), Result: part})
		at, second = at+s.Counts.WindowSeconds, second+int64(len(s.Series))
	}
	m := Merge(parts, percentile)
	last, first := turns[len(turns)-1], turns[0]
	m.Agents, m.Effective, m.Asked, m.WarmUp = nil, last.Effective, first.Asked, first.WarmUp
	m.Counts.WindowSeconds = at
	m.Generator.GOMAXPROCS, m.Generator.CPUs = first.Generator.GOMAXPROCS, first.Generator.CPUs
	return m
}

// shifted is a slice that begins later.
func shifted(s *Result, seconds float64, second int64) *Result {
	out := *s
	out.Series, out.Outages = slices.Clone(s.Series), slices.Clone(s.Outages)
	for i := range out.Series {
		out.Series[i].Second += second
	}
	for i := range out.Outages {
		out.Outages[i].StartSeconds += seconds
	}
	return &out
}

// print shows the floor and how far from it the system is.
func (b *Beside) print(w *strings.Builder) {
	fmt.Fprintf(w, "\nfloor %s, the same load in turns with it: %s\n", b.Floor, b.Verdict.Status)
	for _, why := range b.Verdict.Reasons {
		fmt.Fprintf(w, "  %s: %s\n", why.Code, why.Text)
	}
	if b.Latency == nil {
		return
	}
	for _, p := range Percentiles {
		if v, ok := b.Latency.Response.At(p); ok {
			fmt.Fprintf(w, "  p%g %v", p, hist.Value{NS: int64(v.US * 1e3), AtLeast: v.AtLeast})
		}
	}
	w.WriteString("\n")
	for _, x := range b.Ratios {
		fmt.Fprintf(w, "  limit_ratio p%g %.2f, %v beyond the floor\n", x.P, x.LimitRatio, hist.Value{NS: int64(x.ExcessUS * 1e3)})
	}
}
