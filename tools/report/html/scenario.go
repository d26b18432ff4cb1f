package html

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// scenario writes the blocks of RESULTS.md, and the plots that the record has data for behind the pairs. What is long is folded.
func (w *writer) scenario(s *render.Published, blocks []page.Block) {
	drawn := false
	draw := func() {
		w.endList()
		if !drawn {
			drawn = true
			w.draw(s)
		}
	}
	for i, b := range w.launches(blocks) {
		effect, isEffect := strings.CutPrefix(b.Text, "In effect: ")
		isPairs := b.Head != nil && b.Head[0] == "of"
		if !b.Item && !isPairs && i > 0 {
			draw()
		}
		switch {
		case isEffect:
			fmt.Fprintf(w, "<details><summary>Configuration in effect</summary>\n<p>%s</p>\n</details>\n", inline(effect))
		case b.Head != nil:
			w.scenarioTable(s, b)
		default:
			w.block(b)
		}
	}
	draw()
}

// scenarioTable writes a table with the picture that belongs to it.
func (w *writer) scenarioTable(s *render.Published, b page.Block) {
	switch b.Head[0] {
	case "of", "arrivals", "incident", "stage of the system": // drawn already, or nothing to draw
		w.block(b)
		return
	case "figure":
		fmt.Fprintf(w, "<details><summary>Counters and other figures, %d</summary>\n", len(b.Rows))
		w.block(b)
		w.WriteString("</details>\n")
		return
	case "part of the response":
		w.split(s.Split)
		w.block(b)
		return
	}
	if p, ok := curve(b); ok {
		w.figure(p)
		return
	}
	w.block(b)
}

// launches takes the entries about single launches out of a scenario's blocks. More than two are folded: the same reason eight
// times hides what is below it. The paragraph before them says how many are valid.
func (w *writer) launches(blocks []page.Block) []page.Block {
	isLaunch := func(b page.Block) bool { return b.Item && strings.HasPrefix(b.Text, "Launch ") }
	n := 0
	for _, b := range blocks {
		if isLaunch(b) {
			n++
		}
	}
	if n <= 2 {
		return blocks
	}
	w.block(blocks[0])
	fmt.Fprintf(w, "<details><summary>Why %d launches do not count</summary>\n", n)
	for _, b := range blocks {
		if isLaunch(b) {
			w.block(b)
		}
	}
	w.endList()
	w.WriteString("</details>\n")
	return slices.DeleteFunc(slices.Clone(blocks[1:]), isLaunch)
}

// draw writes the plots of a scenario.
func (w *writer) draw(s *render.Published) {
	if s.Spoilt != "" || len(s.Launches) == 0 {
		return
	}
	defer w.timelines(s)
	plots := slices.DeleteFunc([]plot{percentiles(s), overTime(s), sweep(s), incidents(s)}, plot.empty)
	if len(plots) == 0 {
		return
	}
	w.WriteString("<div class=\"plots\">\n")
	for _, p := range plots {
		w.figure(p)
	}
	w.WriteString("</div>\n")
}

var sides = []record.Side{record.System, record.Floor}

// label is what a side is called in a legend.
func label(s *render.Published, side record.Side) string {
	if side == record.Floor && s.FloorIs == record.OnePartition {
		return "one partition"
	}
	return string(side)
}

// perDecade is how many points a percentile curve has between 1/(1-q) and ten times that.
const perDecade = 12

// percentiles is the whole distribution of either side: each step to the right is a request ten times as rare.
func percentiles(s *render.Published) plot {
	p := plot{title: "Response by percentile", X: axis{Label: "percentile", Unit: "1", Log: true, Low: 1}, Y: axis{Label: "response", Unit: "us", Log: true},
		Data: [][]value{{}}, head: []string{"percentile"}}
	merged := map[record.Side]*hist.Hist{}
	launches := 0
	for i := range s.Launches {
		found := false
		for _, side := range sides {
			if h := s.Launches[i].Hist(side, "response"); h != nil {
				if found = true; merged[side] == nil {
					merged[side] = hist.NewLatency()
				}
				merged[side].Merge(h)
			}
		}
		if found {
			launches++
		}
	}
	p.caption = fmt.Sprintf("%d launches merged, as far as a hundred requests lie beyond; the scale gives each further nine the same room.", launches)
	for _, side := range sides {
		if merged[side] == nil {
			continue
		}
		p.Series = append(p.Series, series{Name: label(s, side), Colour: string(side), Line: true, Dashed: side == record.Floor})
		p.Data = append(p.Data, []value{})
		p.head = append(p.head, label(s, side))
	}
	for step := 0; len(merged) > 0; step++ {
		beyond := math.Pow(10, float64(step)/perDecade) // 1/(1-q)
		q := 100 * (1 - 1/beyond)
		any, row := false, []value{}
		for _, side := range sides {
			h := merged[side]
			switch {
			case h == nil:
			case q > 0 && h.Supports(q):
				v := h.Percentile(q, 0)
				row, any = append(row, value(float64(v.NS)/1e3)), true
			default:
				row = append(row, none)
			}
		}
		if !any && step > 0 {
			break
		}
		p.Data[0] = append(p.Data[0], value(beyond))
		for i, v := range row {
			p.Data[i+1] = append(p.Data[i+1], v)
		}
		p.X.High = beyond
	}
	for _, q := range []float64{0, 50, 75, 90, 95, 99, 99.9, 99.99, 99.999} {
		row := []string{fmt.Sprintf("p%g", q)}
		for _, side := range sides {
			if h := merged[side]; h != nil && q > 0 && h.Supports(q) {
				row = append(row, render.Quantity(float64(h.Percentile(q, 0).NS)/1e3, "us"))
			} else if h != nil {
				row = append(row, "–")
			}
		}
		if q > 0 {
			p.rows = append(p.rows, row)
		}
		if q == 50 || q >= 99 || p.X.High < 2000 && q != 95 || q == 90 {
			p.X.Ticks = append(p.X.Ticks, tick{100 / (100 - q), fmt.Sprintf("%g%%", q)})
		}
	}
	return p
}

// overTime is the median and p99 of each slice, in the order in which slices ran.
func overTime(s *render.Published) plot {
	p := plot{title: "Latency over time", X: axis{Label: "slices in the order they ran", Unit: "1"}, Y: axis{Label: "response", Unit: "us", Log: true},
		Data: [][]value{{}, {}, {}, {}, {}}, head: []string{"slice", "launch", "side", "p50", "p99"}}
	for _, side := range sides {
		p.Series = append(p.Series, series{Name: label(s, side) + " p50", Colour: string(side), Points: true},
			series{Name: label(s, side) + " p99", Colour: string(side), Points: true, Hollow: true})
	}
	if _, isSweep := s.ObjectiveUs(); isSweep {
		return p
	}
	n, left := 0, 0
	for i := range s.Launches {
		l := &s.Launches[i]
		if len(l.Slices) > 0 {
			p.Marks = append(p.Marks, mark{At: float64(n) + 0.5, Text: fmt.Sprint(l.Number), Faint: true})
		}
		for k := range l.Slices {
			slice := &l.Slices[k]
			p50, ok := get(slice, "latency_us_p50")
			p99, also := get(slice, "latency_us_p99")
			if slice.Verdict != record.OK || !ok || !also {
				left++
				continue
			}
			n++
			row := []value{none, none, none, none}
			if slice.Side == record.System {
				row[0], row[1] = value(p50), value(p99)
			} else {
				row[2], row[3] = value(p50), value(p99)
			}
			p.Data[0] = append(p.Data[0], value(n))
			for c, v := range row {
				p.Data[c+1] = append(p.Data[c+1], v)
			}
			p.rows = append(p.rows, []string{fmt.Sprint(n), fmt.Sprint(l.Number), label(s, slice.Side), render.Quantity(p50, "us"), render.Quantity(p99, "us")})
		}
	}
	p.caption = "One point for each slice, the sides in turns; vertical lines begin a launch."
	if left > 0 {
		p.caption += fmt.Sprintf(" %d slices that are not valid are left out.", left)
	}
	return p
}

func get(s *record.Slice, name string) (float64, bool) {
	for _, f := range s.Figures {
		if f.Name == name {
			return f.Value, true
		}
	}
	return 0, false
}

// sweep is the p99 of either side over the rate of arrivals, with the objective and the knees.
func sweep(s *render.Published) plot {
	p := plot{title: "Rate sweep", X: axis{Label: "arrivals", Unit: "1/s", Log: true}, Y: axis{Label: "response", Unit: "us", Log: true},
		Data: [][]value{{}, {}, {}, {}, {}}, head: []string{"arrivals", "system p50", "system p99", "floor p50", "floor p99"}}
	for _, side := range sides {
		p.Series = append(p.Series, series{Name: label(s, side) + " p50", Colour: string(side), Line: true, Dashed: true},
			series{Name: label(s, side) + " p99", Colour: string(side), Line: true, Points: true})
	}
	objective, ok := s.ObjectiveUs()
	if !ok {
		return p
	}
	p.Marks = append(p.Marks, mark{Y: true, At: objective, Text: "objective, p99 ≤ " + render.Quantity(objective, "us")})
	values, atLeast := map[float64]map[record.Side][2][]float64{}, map[float64]map[record.Side]bool{}
	for i := range s.Launches {
		for _, r := range s.Launches[i].Rungs {
			if r.Verdict != record.OK {
				continue
			}
			if values[r.RatePerSecond] == nil {
				values[r.RatePerSecond], atLeast[r.RatePerSecond] = map[record.Side][2][]float64{}, map[record.Side]bool{}
			}
			atLeast[r.RatePerSecond][r.Side] = atLeast[r.RatePerSecond][r.Side] || r.AtLeast
			v := values[r.RatePerSecond][r.Side]
			values[r.RatePerSecond][r.Side] = [2][]float64{append(v[0], r.P50Us), append(v[1], r.P99Us)}
		}
	}
	var rates []float64
	for rate := range values {
		rates = append(rates, rate)
	}
	slices.Sort(rates)
	for _, rate := range rates {
		p.Data[0] = append(p.Data[0], value(rate))
		row := []string{render.Quantity(rate, "1/s")}
		for i, side := range sides {
			for k := range 2 {
				v, text := none, "–"
				if all := values[rate][side][k]; len(all) > 0 {
					v, text = value(stats.Median(all)), render.Quantity(stats.Median(all), "us")
				}
				if k == 1 && atLeast[rate][side] {
					text = "≥ " + text
				}
				p.Data[1+2*i+k], row = append(p.Data[1+2*i+k], v), append(row, text)
			}
		}
		p.rows = append(p.rows, row)
	}
	for _, side := range sides {
		if knee, ok := kneeOf(s, side, objective); ok {
			p.Marks = append(p.Marks, mark{At: knee, Text: label(s, side) + "’s knee " + render.Quantity(knee, "1/s")})
		}
	}
	p.caption = "Medians over the launches that are valid at a rate. The knee is the highest rate whose p99 keeps the objective."
	return p
}

// kneeOf is the median over launches, as the table beside it has it.
func kneeOf(s *render.Published, side record.Side, objective float64) (float64, bool) {
	var rates []float64
	for i := range s.Launches {
		if k, ok := record.FindKnee(s.Launches[i].Rungs, side, objective); ok {
			rates = append(rates, k.RatePerSecond)
		}
	}
	if len(rates) == 0 {
		return 0, false
	}
	knee := stats.Median(rates)
	return knee, knee > 0
}

// incidents are the gaps of a failover, one by one: a distribution of twenty is better seen whole.
func incidents(s *render.Published) plot {
	p := plot{title: "Gap in writes, incident by incident", X: axis{Label: "incidents in the order they happened", Unit: "1"},
		Y: axis{Label: "gap", Unit: "us", Log: true}, Data: [][]value{{}}, head: []string{"incident", "what", "node", "led", "gap", "franz-go's gap"}}
	var sorts []record.IncidentSort // that there are
	for _, sort := range record.IncidentSorts {
		if slices.ContainsFunc(s.Launches, func(l record.Launch) bool {
			return slices.ContainsFunc(l.Incidents, func(in record.Incident) bool { return in.Sort == sort })
		}) {
			sorts = append(sorts, sort)
		}
	}
	for i := range sorts {
		p.Data = append(p.Data, []value{}, []value{})
		colour := fmt.Sprintf("c%d", i%6+1)
		name := string(sorts[i])
		p.Series = append(p.Series, series{Name: name, Colour: colour, Points: true}, series{Name: name + ", franz-go", Colour: colour, Points: true, Hollow: true})
	}
	n := 0
	for k := range s.Launches {
		for _, in := range s.Launches[k].Incidents {
			n++
			p.Data[0] = append(p.Data[0], value(n))
			library := "–"
			for i, sort := range sorts {
				gap, lib := none, none
				if in.Sort == sort {
					gap = value(in.GapMs * 1e3)
					if in.LibraryGapMs > 0 {
						lib, library = value(in.LibraryGapMs*1e3), render.Quantity(in.LibraryGapMs, "ms")
					}
				}
				p.Data[1+2*i], p.Data[2+2*i] = append(p.Data[1+2*i], gap), append(p.Data[2+2*i], lib)
			}
			p.rows = append(p.rows, []string{fmt.Sprint(n), string(in.Sort), fmt.Sprint(in.Node), fmt.Sprint(in.Led), render.Quantity(in.GapMs, "ms"), library})
		}
	}
	p.caption = "Filled: a client that is set up for failovers; hollow: franz-go as people use it."
	return p
}
