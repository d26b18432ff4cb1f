package render

import (
	"fmt"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// Ending is what a terminal shows at the end of a run: nine lines of at most MaxLine bytes. Whoever prints it adds the
// tenth, where the files are, which the record does not know.
func Ending(r *record.Results) []string {
	v := newView(&Document{Results: r})
	lines := []string{
		fmt.Sprintf("run        %s, commit %s, %d scenarios, %d launches", orElse(r.Suite, "unnamed suite"), orElse(r.Commit, "unknown"), len(r.Scenarios), len(r.Launches)),
		"valid      " + validity(v),
	}
	c := v.lead()
	for _, pair := range []string{"p50", "p99"} {
		lines = append(lines, fmt.Sprintf("%-10s %s", pair, v.against(c, pair)))
	}
	lines = append(lines, fmt.Sprintf("%-10s %s", "rate", v.against(v.rated(), "rate")),
		"bars       "+tally(v.bars),
		"open       "+open(v.bars))
	worst, next := "no stage times in this run", "–"
	if c != nil {
		if s, total, ok := c.slowest(); ok {
			worst = fmt.Sprintf("%s, %s of %s (%s, medians)", s.name, quantity(s.p50, "us"), quantity(total, "us"), c.Name)
		}
		next = c.next()
	}
	lines = append(lines, "slowest    "+worst, "try next   "+next)
	for i := range lines {
		lines[i] = page.Cut(strings.TrimRight(oneLine(lines[i]), " "), page.MaxLine)
	}
	return lines
}

// oneLine keeps the columns, which clean would close up.
func oneLine(s string) string { return s[:min(11, len(s))] + page.Clean(s[min(11, len(s)):]) }

// validity is the verdict, what the host took if that is much, and the first reason. What the host took comes first: it
// explains, and the line may be cut.
func validity(v *view) string {
	text := "yes"
	if v.verdict != record.OK {
		text = strings.ToUpper(string(v.verdict))
	}
	if v.hostOnly {
		text += " because of the host alone"
	}
	if theft := v.theft(); theft != "" {
		text += "; " + theft
	}
	if n := len(v.reasons) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	if v.verdict != record.OK {
		text += ": " + v.reasons[0]
	}
	return text
}

// lead is the scenario that the headline is about: latency of one request at a time, else the first published one.
func (v *view) lead() *scenario {
	if c, ok := v.first("Produce", "single", "latency"); ok {
		return c
	}
	for i := range v.scenarios {
		if len(v.scenarios[i].pairs) > 0 {
			return &v.scenarios[i]
		}
	}
	return nil
}

// rated is the first published scenario that measures a rate.
func (v *view) rated() *scenario {
	for i := range v.scenarios {
		if _, ok := v.scenarios[i].pair("rate"); ok {
			return &v.scenarios[i]
		}
	}
	return nil
}

// against is one pair in a line: 1.09 [1.07–1.12] x the floor (118 µs / 108 µs), latency-1, bar ≤ 1.20: met.
func (v *view) against(c *scenario, pair string) string {
	if c == nil {
		for _, row := range v.unlimited() {
			if row[1] == pair {
				return fmt.Sprintf("no floor; %s, %s", row[2], row[0])
			}
		}
		return "not measured"
	}
	s, ok := c.pair(pair)
	if !ok {
		return "not measured"
	}
	text := fmt.Sprintf("%s x the floor (%s / %s), %s", ratio(s.Ratio), quantity(s.System, s.Unit), quantity(s.Floor, s.Unit), c.Name)
	if j, ok := v.bar(c, pair); ok {
		text += fmt.Sprintf(", bar %s: %s", barOnRatio(&j.Bar), j.verdict)
	}
	return text
}

// open names the bars that are not met, missed ones first.
func open(bars []judged) string {
	names := []string{}
	for _, verdict := range []string{string(stats.Missed), string(stats.Undecided), invalid} {
		for i := range bars {
			if j := &bars[i]; j.verdict == verdict {
				names = append(names, fmt.Sprintf("%s: %s (%s)", j.Name, j.measured(), verdict))
			}
		}
	}
	return orElse(strings.Join(names, "; "), "none of the measured bars")
}
