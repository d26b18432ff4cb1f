package html

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/render"
	"ackline/tools/report/trend"
)

// leads are the first ratios with a verdict, large: at most one bar of each scenario and pair, four in all.
func (w *writer) leads(published []render.Published) {
	w.WriteString("<ul class=\"leads\">\n")
	n := 0
	for _, s := range published {
		for _, h := range s.Headline {
			if h.Verdict == "" || n == 4 {
				continue
			}
			n++
			number, interval := bracket(render.Times(h.Ratio))
			fmt.Fprintf(w, "<li><span class=\"big\">%s<span class=\"times\">×</span></span><span class=\"ci\">%s</span>"+
				"<span class=\"what\">%s</span><span class=\"v %s\">%s</span> <span class=\"ci\">bar ≤ %.2f</span></li>\n",
				esc(number), esc(interval), esc(s.Name+", "+h.Pair), verdictClass(h.Verdict), esc(h.Verdict), h.Bar)
		}
	}
	w.WriteString("</ul>\n")
}

// headline is the table of RESULTS.md with a picture of each ratio: its interval and its bar on one scale.
func (w *writer) headline(blocks []page.Block, published []render.Published) {
	at := map[[2]string]render.Headline{}
	s := newScale(published, 260)
	for _, p := range published {
		for _, h := range p.Headline {
			at[[2]string{p.Name, h.Pair}] = h
		}
	}
	for _, b := range blocks {
		if len(b.Head) < 2 || b.Head[1] != "of" || len(at) == 0 {
			w.block(b)
			continue
		}
		w.endList()
		more := &extra{head: s.axis(), at: 5}
		ratios, excesses := apart(b.Rows)
		for _, row := range ratios {
			h, ok := at[[2]string{row[0], row[1]}]
			if !ok {
				more.cells = append(more.cells, "")
				continue
			}
			more.cells = append(more.cells, s.interval(h.Ratio.Low, h.Ratio.Shift, h.Ratio.High, h.Bar, verdictClass(h.Verdict)))
		}
		w.table(b.Head, ratios, more)
		w.WriteString("<p class=\"key\">The line is the 95% interval, the dot its estimate, the short upright the bar. 1, at the left, is the floor; the scale is logarithmic.</p>\n")
		if len(excesses) > 0 {
			head := slices.Clone(b.Head)
			head[ratioColumn] = "excess"
			w.table(head, excesses, nil)
			w.WriteString("<p class=\"key\">Over long distances what is judged is the excess, the system's time less the floor's: a ratio would hide milliseconds.</p>\n")
		}
	}
	w.endList()
}

// ratioColumn is where RESULTS.md has a headline's limit_ratio, or in its place an excess; its bar is next.
const ratioColumn = 4

// apart takes the rows from a headline that say an excess, which is no ratio and has no place on a scale of these.
func apart(rows [][]string) (ratios, excesses [][]string) {
	for _, r := range rows {
		if !strings.HasPrefix(r[ratioColumn], "excess ") {
			ratios = append(ratios, r)
			continue
		}
		r = slices.Clone(r)
		for i := ratioColumn; i < len(r); i++ {
			r[i] = strings.TrimPrefix(r[i], "excess ")
		}
		excesses = append(excesses, r)
	}
	return ratios, excesses
}

// scale maps ratios to a width in pixels, logarithmically.
type scale struct{ low, high, width float64 }

func newScale(published []render.Published, width float64) scale {
	s := scale{0.9, 2, width}
	for _, p := range published {
		for _, h := range p.Headline {
			s.low, s.high = min(s.low, h.Ratio.Low*0.95), max(s.high, h.Ratio.High*1.05)
		}
	}
	s.low = max(s.low, 0.05)
	return s
}

func (s scale) x(v float64) float64 {
	v = min(max(v, s.low), s.high)
	return math.Round(10*s.width*math.Log(v/s.low)/math.Log(s.high/s.low)) / 10
}

// ticks are the round numbers within the scale.
func (s scale) ticks() []float64 {
	return slices.DeleteFunc([]float64{0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000}, func(v float64) bool { return v < s.low || v > s.high })
}

func (s scale) axis() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg width=\"%g\" height=\"16\" viewBox=\"0 0 %g 16\">", s.width, s.width)
	for _, t := range s.ticks() {
		fmt.Fprintf(&b, "<text x=\"%g\" y=\"12\" text-anchor=\"middle\">%g</text>", s.x(t), t)
	}
	return b.String() + "</svg>"
}

func (s scale) interval(low, mid, high, bar float64, class string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg width=\"%g\" height=\"22\" viewBox=\"0 0 %g 22\" class=\"%s\">", s.width, s.width, class)
	for _, t := range s.ticks() {
		name := "grid"
		if t == 1 {
			name = "one"
		}
		fmt.Fprintf(&b, "<line class=\"%s\" x1=\"%g\" x2=\"%g\" y1=\"0\" y2=\"22\"/>", name, s.x(t), s.x(t))
	}
	if bar > 0 {
		fmt.Fprintf(&b, "<line class=\"bar\" x1=\"%g\" x2=\"%g\" y1=\"4\" y2=\"18\"/>", s.x(bar), s.x(bar))
	}
	fmt.Fprintf(&b, "<line class=\"ival\" x1=\"%g\" x2=\"%g\" y1=\"11\" y2=\"11\"/><circle class=\"dot\" cx=\"%g\" cy=\"11\" r=\"3.5\"/></svg>",
		s.x(low), s.x(high), s.x(mid))
	return b.String()
}

// strip is a square for each bar: how many are met is seen before it is read.
func (w *writer) strip(verdicts []string) {
	const size, gap = 14.0, 4.0
	width := float64(len(verdicts)) * (size + gap)
	fmt.Fprintf(w, "<svg class=\"strip\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" aria-hidden=\"true\">", width, size, width, size)
	for i, v := range verdicts {
		fmt.Fprintf(w, "<rect class=\"%s\" x=\"%g\" y=\"0.5\" width=\"%g\" height=\"%g\"><title>%s</title></rect>", verdictClass(v),
			float64(i)*(size+gap)+0.5, size-1, size-1, esc(v))
	}
	w.WriteString("</svg>\n")
}

// split is the response of typical requests and of the slowest as two bars of parts that add up, each as long as the whole.
func (w *writer) split(parts []record.Split) {
	if len(parts) == 0 {
		return
	}
	const width, height, left = 720.0, 24.0, 150.0
	w.WriteString("<figure class=\"split\">\n")
	fmt.Fprintf(w, "<svg viewBox=\"0 0 %g 84\" role=\"img\" aria-label=\"Parts of the response; the table below has their figures\">\n", width)
	for row, of := range []struct {
		name string
		us   func(p record.Split) float64
	}{{"around the median", func(p record.Split) float64 { return p.MedianUs }}, {"slowest 1%", func(p record.Split) float64 { return p.SlowestUs }}} {
		total, at, y := 0.0, left, float64(row)*42+2
		for _, p := range parts {
			total += max(of.us(p), 0)
		}
		if total == 0 {
			continue
		}
		fmt.Fprintf(w, "<text x=\"0\" y=\"%g\">%s</text><text class=\"sum\" x=\"0\" y=\"%g\">%s</text>\n", y+11, of.name, y+26, esc(render.Quantity(total, "us")))
		for i, p := range parts {
			wide := (width - left) * max(of.us(p), 0) / total
			fmt.Fprintf(w, "<rect class=\"part p%d\" x=\"%.1f\" y=\"%g\" width=\"%.1f\" height=\"%g\"><title>%s %s</title></rect>\n", i%8, at, y, wide, height,
				esc(p.Name), esc(render.Quantity(of.us(p), "us")))
			if text := p.Name; wide > 8*float64(len(text)) {
				fmt.Fprintf(w, "<text class=\"in p%d\" x=\"%.1f\" y=\"%g\">%s</text>\n", i%8, at+6, y+16, esc(text))
			}
			at += wide
		}
	}
	w.WriteString("</svg>\n</figure>\n")
}

// trend is a row for each ratio of this machine's newest run, its past beside it, and a table for each machine.
func (w *writer) trend(p Page) {
	if p.Trend == nil || len(p.Trend.Runs) == 0 {
		fmt.Fprintf(w, "<p>%s</p>\n", inline(p.NoTrend))
		return
	}
	h := p.Trend
	w.WriteString("<p>Each run that a committed RESULTS.md holds, oldest at the left, judged by today’s bars (dashed); the solid line is the floor, 1. What " +
		"stands between two uprights was measured on one machine, with one floor and one profile; nothing is joined across them, because a ratio that another machine " +
		"had says nothing about a change. For a verdict on a change there is <code>make compare</code>.</p>\n")
	if h.Shallow {
		w.WriteString("<p><strong>The clone is shallow</strong>: older runs are not in it; <code>git fetch --unshallow</code> brings them.</p>\n")
	}
	for _, s := range h.Skipped {
		fmt.Fprintf(w, "<p>Skipped <code>%.12s</code>: %s</p>\n", esc(s.Revision), esc(s.Reason))
	}
	newest := h.Runs[len(h.Runs)-1]
	letters := letters(h.Runs)
	more := &extra{head: letterRow(h.Runs, letters), at: 1}
	var rows [][]string
	for _, of := range trend.Ratios([]trend.Run{newest}) {
		point, _ := newest.Point(of)
		rows = append(rows, []string{of.Scenario + ", " + of.Of, render.Times(point.Ratio), orDash(point.Verdict)})
		more.cells = append(more.cells, past(h.Runs, of))
	}
	w.table([]string{"ratio", "newest", "verdict"}, rows, more)
	for _, m := range h.Machines() {
		fmt.Fprintf(w, "<details><summary>%s: <code>%s</code>, %s; %s</summary>\n", letters[m.Fingerprint], esc(m.Fingerprint), esc(m.Name), count(len(m.Runs), "run"))
		head, rows := []string{"ratio"}, [][]string{}
		for _, r := range m.Runs {
			head = append(head, fmt.Sprintf("%s, %s", r.Started.Format("2006-01-02"), r.Commit))
		}
		for _, of := range trend.Ratios(m.Runs) {
			row := []string{of.Scenario + ", " + of.Of}
			for i := range m.Runs {
				if point, ok := m.Runs[i].Point(of); ok {
					row = append(row, render.Times(point.Ratio))
				} else {
					row = append(row, "–")
				}
			}
			rows = append(rows, row)
		}
		w.table(head, rows, nil)
		w.WriteString("</details>\n")
	}
}

// letters names machines, the oldest A.
func letters(runs []trend.Run) map[string]string {
	out := map[string]string{}
	for i := range runs {
		if _, ok := out[runs[i].Fingerprint]; !ok {
			n := len(out)
			out[runs[i].Fingerprint] = strings.Repeat(string(rune('A'+n%26)), 1+n/26)
		}
	}
	return out
}

// letterRow is the head of the column of pictures: which machine each run was on.
func letterRow(runs []trend.Run, letters map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg width=\"%g\" height=\"16\">", pastStep*float64(len(runs)))
	for i := range runs {
		fmt.Fprintf(&b, "<text x=\"%g\" y=\"12\" text-anchor=\"middle\">%s</text>", pastStep*(float64(i)+0.5), letters[runs[i].Fingerprint])
	}
	return b.String() + "</svg>"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pastStep is the room of one run, in pixels.
const pastStep = 40.0

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// past draws the runs of one ratio: intervals upright, joined only where two runs next to each other can be compared.
func past(runs []trend.Run, of trend.Ratio) string {
	const step, height = pastStep, 44.0
	var points []trend.Point
	low, high, bar := 1.0, 1.2, 0.0
	for i := range runs {
		p, ok := runs[i].Point(of)
		if !ok {
			p.Ratio.Shift = 0
		} else {
			low, high = min(low, p.Ratio.Low), max(high, p.Ratio.High)
		}
		if p.Bar > 0 {
			bar = p.Bar
		}
		points = append(points, p)
	}
	high = max(high, bar)
	y := func(v float64) float64 {
		return math.Round(10*(height-5-(height-10)*math.Log(max(v, low)/low)/math.Log(high/low))) / 10
	}
	width := step * float64(len(runs))
	var b strings.Builder
	fmt.Fprintf(&b, "<svg class=\"past\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\">", width, height, width, height)
	fmt.Fprintf(&b, "<line class=\"one\" x1=\"0\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>", width, y(1), y(1))
	if bar > 0 {
		fmt.Fprintf(&b, "<line class=\"bar dashed\" x1=\"0\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>", width, y(bar), y(bar))
	}
	for i, p := range points {
		x := step*float64(i) + step/2
		if i > 0 && !runs[i].Comparable(&runs[i-1]) {
			fmt.Fprintf(&b, "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"0\" y2=\"%g\"/>", step*float64(i), step*float64(i), height)
		}
		if p.Ratio.Shift == 0 {
			continue
		}
		class := verdictClass(p.Verdict)
		if i > 0 && points[i-1].Ratio.Shift > 0 && runs[i].Comparable(&runs[i-1]) {
			fmt.Fprintf(&b, "<line class=\"join\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>", x-step, x, y(points[i-1].Ratio.Shift), y(p.Ratio.Shift))
		}
		fmt.Fprintf(&b, "<g class=\"%s\"><line class=\"ival\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/><circle class=\"dot\" cx=\"%g\" cy=\"%g\" r=\"3\"><title>%s: %s</title></circle></g>",
			class, x, x, y(p.Ratio.Low), y(p.Ratio.High), x, y(p.Ratio.Shift), esc(runs[i].Commit), esc(render.Times(p.Ratio)))
	}
	return b.String() + "</svg>"
}
