package html

import (
	"fmt"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// band is a stretch of x in which something happened. The row of the table that is about it has its number.
type band struct {
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	Text   string  `json:"text"`   // what stands above it
	Colour string  `json:"colour"` // as of a series
}

// openRows is up to how many rows a plot's table is shown without being asked for.
const openRows = 12

// timelines draws what clients felt while nodes went away and came back, a plot for each launch. The first is shown; the others tell the same
// and are folded.
func (w *writer) timelines(s *render.Published) {
	var plots []plot
	for i := range s.Launches {
		if l := &s.Launches[i]; l.Timeline != nil {
			plots = append(plots, timeline(l))
		}
	}
	plots = slices.DeleteFunc(plots, plot.empty)
	for i, p := range plots {
		if i == 1 {
			fmt.Fprintf(w, "<details><summary>Latency over time of other launches, %d</summary>\n", len(plots)-1)
		}
		w.figure(p)
	}
	if len(plots) > 1 {
		w.WriteString("</details>\n")
	}
}

// timeline is a launch's latency over time, a band for each thing that happened in it.
func timeline(l *record.Launch) plot {
	t := l.Timeline
	p := plot{title: fmt.Sprintf("Latency over time with what happened, launch %d", l.Number), X: axis{Label: "since the probe began", Unit: "s", High: t.LengthMs() / 1e3},
		Y: axis{Label: "response", Unit: "us", Log: true}, Data: [][]value{{}, {}, {}}, open: len(t.Spans) < openRows,
		Series: []series{{Name: "p50", Colour: "system", Line: true, Gaps: true}, {Name: "slowest", Colour: "floor", Line: true, Gaps: true}},
		head:   []string{"", "what", "began at", "lasted", "slowest record"}}
	p.caption = fmt.Sprintf("Steps of %s, by when a record was due: their median and their slowest. Bands have the table's numbers; a row that has the focus marks its own.",
		render.Quantity(t.StepMs, "ms"))
	for i, us := range t.P50Us {
		p.Data[0] = append(p.Data[0], value((float64(i)+0.5)*t.StepMs/1e3))
		for k, v := range []float64{us, t.WorstUs[i]} {
			if v == 0 {
				p.Data[k+1] = append(p.Data[k+1], none)
			} else {
				p.Data[k+1] = append(p.Data[k+1], value(v))
			}
		}
	}
	var sorts []string
	for i, s := range t.Spans {
		sort, _, _ := strings.Cut(s.What, " of ")
		if !slices.Contains(sorts, sort) {
			sorts = append(sorts, sort)
		}
		p.Bands = append(p.Bands, band{From: s.FromMs / 1e3, To: s.ToMs / 1e3, Text: fmt.Sprint(i + 1), Colour: fmt.Sprintf("c%d", slices.Index(sorts, sort)%6+1)})
		p.rows = append(p.rows, []string{fmt.Sprint(i + 1), s.What, render.Quantity(s.FromMs, "ms"), render.Quantity(s.ToMs-s.FromMs, "ms"), orNone(s.WorstUs)})
	}
	p50, worst := usual(t)
	p.rows = append(p.rows, []string{"–", fmt.Sprintf("usual: outside of all of these, p50 %s", orNone(p50)), "–", "–", orNone(worst)})
	return p
}

// usual is the median of the medians of the steps that no span touches, and the slowest record in these, µs; 0 when there is none.
func usual(t *record.Timeline) (p50, worst float64) {
	var medians []float64
	for i, v := range t.P50Us {
		from, to := t.StepMs*float64(i), t.StepMs*float64(i+1)
		if v > 0 && !slices.ContainsFunc(t.Spans, func(s record.Span) bool { return from < s.ToMs && to > s.FromMs }) {
			medians, worst = append(medians, v), max(worst, t.WorstUs[i])
		}
	}
	if len(medians) > 0 {
		p50 = stats.Median(medians)
	}
	return p50, worst
}

// orNone writes microseconds, and a dash where there is no record.
func orNone(us float64) string {
	if us == 0 {
		return "–"
	}
	return render.Quantity(us, "us")
}
