package climb

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"ackline/loadgen/hist"
	"ackline/loadgen/knee"
	"ackline/loadgen/plot"
	"ackline/loadgen/result"
)

// The size of the picture on a terminal, in characters.
const (
	textWidth  = 70
	textHeight = 16
)

// Print writes the summary for people.
func (r *Result) Print(out io.Writer) error {
	var b strings.Builder
	e, t := r.Effective, r.Target
	to := "floor " + t.Floor
	if t.Floor == "" {
		to = fmt.Sprintf("%s at %s", t.Named(), strings.Join(t.Brokers, ","))
	}
	fmt.Fprintf(&b, "knee of %s to %s\n  driver %s: %d connections × %d in flight, threads: %d; %s arrivals\n", t.Workload, to, e.Driver, max(len(e.Connections), 1), e.InFlight,
		e.Threads, r.Config.Arrivals.Kind)
	if w := r.WarmUp; w != nil {
		fmt.Fprintf(&b, "  warm-up %.0f s, settled: %v\n", w.Seconds, w.Settled)
	}
	r.table(&b)
	if c := r.Chart(); len(c.Lines) > 0 {
		b.WriteString("\n")
		if err := c.Text(&b, textWidth, textHeight); err != nil {
			return err
		}
	}
	r.checked(&b)
	fmt.Fprintf(&b, "\n%s\n%s\n", r.Sentence(), r.Verdict.Status)
	if hint := r.window(); hint != "" {
		fmt.Fprintf(&b, "  %s\n", hint)
	}
	for _, reason := range r.Verdict.Reasons {
		fmt.Fprintf(&b, "  %s: %s\n", reason.Code, reason.Text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Result) table(b *strings.Builder) {
	if len(r.Trials) == 0 {
		return
	}
	p := fmt.Sprintf("p%g", r.Config.Objective.Percentile)
	if r.Config.Objective.Percentile == 50 || r.Config.Objective.Percentile == 99 {
		p = "" // it has its column
	}
	fmt.Fprintf(b, "\n%12s %6s %12s %12s %12s %12s %12s\n", "rate", "trial", "acknowledged", "p50", "p99", p, "lag p99")
	for _, t := range r.Trials {
		judged := t.Objective
		if p == "" {
			judged = nil
		}
		lag := ""
		if t.Histograms != nil {
			lag = us(&result.Percentile{US: t.LagP99US})
		}
		fmt.Fprintf(b, "%10s/s %6d %10s/s %12s %12s %12s %12s  %s", per(t.RatePerSecond), t.Number, per(t.Counts.Rate()), us(t.P50), us(t.P99), us(judged), lag, t.votes())
		if t.Decided != "" {
			fmt.Fprintf(b, "  → %s", t.Decided)
		}
		b.WriteString("\n")
	}
}

// String says in a line how a trial went.
func (t *Trial) String() string {
	judged := ""
	if t.Objective.P != 50 {
		judged = fmt.Sprintf(" p%g %s,", t.Objective.P, us(t.Objective))
	}
	return fmt.Sprintf("%s/s trial %d: p50 %s,%s lag p99 %s: %s", per(t.RatePerSecond), t.Number, us(t.P50), judged, us(&result.Percentile{US: t.LagP99US}), t.votes())
}

// votes is the outcome with its reasons.
func (t *Trial) votes() string {
	var b strings.Builder
	b.WriteString(string(t.Outcome))
	for i, reason := range t.Reasons {
		sep := ","
		if i == 0 {
			sep = ":"
		}
		fmt.Fprintf(&b, "%s %s", sep, reason.Code)
	}
	return b.String()
}

func us(p *result.Percentile) string {
	if p == nil {
		return ""
	}
	return hist.Value{NS: int64(p.US * 1e3), AtLeast: p.AtLeast}.String()
}

func (r *Result) checked(b *strings.Builder) {
	switch c := r.Check; {
	case c == nil:
		b.WriteString("\ncheck: none\n")
	case !c.Done:
		fmt.Fprintf(b, "\ncheck: not finished after %d of %d acknowledged records: %s\n", c.Read, c.Acked, c.Error)
	default:
		fmt.Fprintf(b, "\ncheck: %d records acknowledged in all trials, %d read back: %d lost, %d repeated, %d out of order, %d misplaced, %d changed\n",
			c.Acked, c.Read, c.Lost, c.Duplicated, c.Reordered, c.WrongOffset, c.WrongBytes)
		for _, e := range c.Examples {
			fmt.Fprintf(b, "  %s\n", e)
		}
	}
}

// window warns when what broke first was the room that the generator gave itself.
func (r *Result) window() string {
	for _, x := range r.Rates() {
		if x.PerSecond != r.Answer.Missed {
			continue
		}
		response, backlog := x.Set.Response.Percentile(50, r.TimeoutNS), x.Set.Backlog.Percentile(50, r.TimeoutNS)
		if 2*backlog.NS > response.NS {
			return fmt.Sprintf("At %s/s half of the operations spent most of their time waiting for one of the %d × %d places in flight. With more (--connections, --in-flight) the knee may lie higher.",
				per(x.PerSecond), max(len(r.Effective.Connections), 1), r.Effective.InFlight)
		}
	}
	return ""
}

// title is Sentence for a place with little room.
func (r *Result) title() string {
	a, o := r.Answer, r.Config.Objective
	switch {
	case a.Kept > 0 && a.Missed > 0:
		return fmt.Sprintf("%v is kept at %s/s, missed at %s/s", o, per(a.Kept), per(a.Missed))
	case a.Kept > 0:
		return fmt.Sprintf("%v is kept at %s/s", o, per(a.Kept))
	case a.Missed > 0:
		return fmt.Sprintf("%v is missed at %s/s", o, per(a.Missed))
	}
	return o.String()
}

// Chart is latency against rate, from all trials that have a vote.
func (r *Result) Chart() *plot.Chart {
	o := r.Config.Objective
	c := &plot.Chart{Title: r.title(), X: "arrivals per second", Y: "response", FormatX: per,
		FormatY: func(us float64) string { return hist.Value{NS: int64(us * 1e3)}.String() }}
	rates := r.Rates()
	if len(rates) == 0 {
		return c
	}
	shown := []float64{50, 99}
	if o.Percentile != 50 && o.Percentile != 99 {
		shown = append(shown, o.Percentile)
	}
	for _, p := range shown {
		l := plot.Line{Name: fmt.Sprintf("p%g", p)}
		for _, x := range rates {
			v := percentile(x.Set.Response, p, r.TimeoutNS)
			l.Points = append(l.Points, plot.Point{X: x.PerSecond, Y: v.US, AtLeast: v.AtLeast})
		}
		c.Lines = append(c.Lines, l)
	}
	c.Level = &plot.Level{Name: o.String(), Y: float64(o.Limit.Nanoseconds()) / 1e3}
	if a := r.Answer; a.Done && (a.Kept > 0 || a.Missed > 0) {
		c.Band = &plot.Band{Name: "knee", From: a.Kept, To: a.Missed}
	}
	return c
}

// SVG writes the picture. A climb without a trial that counts has none, which is an error.
func (r *Result) SVG(out io.Writer) error {
	c := r.Chart()
	if len(c.Lines) == 0 {
		return fmt.Errorf("svg: %w", knee.ErrNoTrial)
	}
	return c.SVG(out)
}

// per writes a rate.
func per(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
