package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ackline/tools/compare/files"
	"ackline/tools/compare/session"
	"ackline/tools/compare/trial"
	"ackline/tools/report/number"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// table writes rows in aligned columns. Counting characters, not bytes: µ and … are two and three of these.
func table(w io.Writer, rows [][]string) {
	width := map[int]int{}
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// percentage writes a share with the digits that matter: 3%, 0.4%.
func percentage(v float64) string {
	if v < 0.0995 {
		return fmt.Sprintf("%.1f%%", 100*v)
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

// tell prints a comparison of two commits.
func tell(w io.Writer, s *session.Session, o *trial.Outcome, broken []string) {
	c := s.Settings
	fmt.Fprintf(w, "before  %s %s\nafter   %s %s\n", c.Base.Short(), c.Base.Subject, c.Head.Short(), c.Head.Subject)
	fmt.Fprintf(w, "load    %s in %s, %d pairs of launches", c.Scenario, c.Dir, o.Pairs)
	if o.Pairs > 0 {
		fmt.Fprintf(w, ", each interval at %.2f%%\n\n", 100*o.Confidence)
		table(w, figures(o))
	} else {
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, line := range remarks(s, o, broken) {
		fmt.Fprintf(w, "- %s\n", line)
	}
	fmt.Fprintf(w, "%s: %s\n", o.Verdict, meaning(o))
	fmt.Fprintf(w, "files   %s\n", s.Folder)
}

// figures are the rows of the table.
func figures(o *trial.Outcome) [][]string {
	rows := [][]string{{"figure", "before", "after", "change", "δ", "verdict"}}
	for _, r := range o.Rows {
		change, delta, verdict := "–", "–", "–"
		if r.Change.N > 0 {
			change = number.Percent(r.Change)
		}
		if r.Gated {
			delta, verdict = fmt.Sprintf("%.0f%%", 100*r.Delta), string(r.Verdict)
		}
		if r.Note != "" {
			verdict += " (" + r.Note + ")"
		}
		rows = append(rows, []string{r.Name, number.Quantity(r.Before, r.Unit), number.Quantity(r.After, r.Unit), change, delta, verdict})
	}
	return rows
}

// remarks say what the table does not: what this host can see, what was wrong, what would help.
func remarks(s *session.Session, o *trial.Outcome, broken []string) []string {
	out := append(append([]string(nil), broken...), s.Notes()...)
	var sees []string
	for _, r := range o.Rows {
		if r.Gated && r.Sees > 0 {
			sees = append(sees, fmt.Sprintf("%s %s", r.Name, percentage(r.Sees)))
		}
	}
	if len(sees) > 0 {
		out = append(out, fmt.Sprintf("the smallest change that %d pairs can tell here, by A against A: %s", o.Plan.Last(), strings.Join(sees, ", ")))
	}
	for _, r := range o.Rows {
		if r.Verdict != stats.Inconclusive || !r.Blind() {
			continue
		}
		advice := fmt.Sprintf("about %d pairs would", stats.PairsFor(r.Sees, r.Delta, o.Plan.Last()))
		if s.Settings.Quick {
			advice += ", of which a comparison without --quick has 40"
		}
		out = append(out, fmt.Sprintf("this host cannot decide δ = %.0f%% for %s in %d pairs; %s, or a quieter machine", 100*r.Delta, r.Name, o.Plan.Last(), advice))
	}
	if n := len(o.Spoilt); n > 0 {
		out = append(out, fmt.Sprintf("%d launches were not valid, so that their pairs count for nothing; the first: %s", n, o.Spoilt[0]))
	}
	if o.Exhausted {
		out = append(out, "too many launches were not valid: the comparison ended before its last look; --fresh measures again, on a quieter machine")
	}
	return out
}

// meaning puts the verdict into a sentence.
func meaning(o *trial.Outcome) string {
	var worse, better, open []string
	for _, r := range o.Rows {
		switch {
		case !r.Gated:
		case r.Verdict == stats.Regressed:
			worse = append(worse, r.Name)
		case r.Verdict == stats.Improved:
			better = append(better, r.Name)
		case r.Verdict == stats.Inconclusive:
			open = append(open, r.Name)
		}
	}
	gain := ""
	if len(better) > 0 {
		gain = "; better by more than δ: " + strings.Join(better, ", ")
	}
	switch o.Verdict {
	case stats.Regressed:
		return "worse by more than δ: " + strings.Join(worse, ", ") + gain
	case stats.Passed:
		return "nothing that decides is worse by δ or more" + gain
	}
	if len(open) == 0 {
		return "nothing could be compared"
	}
	return "not decided: " + strings.Join(open, ", ") + gain
}

// tellFiles prints a comparison of two records.
func tellFiles(w io.Writer, o *files.Outcome) {
	fmt.Fprintf(w, "before  %s\nafter   %s\n\n", o.Before, o.After)
	judged := [][]string{{"scenario", "figure", "before", "after", "change", "verdict"}}
	shown := [][]string{{"scenario", "figure", "before", "after"}}
	for _, r := range o.Rows {
		before, after := number.Quantity(r.Before, r.Unit), number.Quantity(r.After, r.Unit)
		if r.Kind == render.Absolute {
			shown = append(shown, []string{r.Scenario, r.Name, before, after})
			continue
		}
		name, change, verdict := r.Name, "–", string(r.Verdict)
		if r.Kind != render.Counter {
			name = string(r.Kind) + " " + name
		}
		if r.Gated {
			name += " *"
		}
		if r.Change.N > 0 && r.Kind == render.Excess {
			change = number.Spread(r.Change, r.Unit)
		} else if r.Change.N > 0 {
			change = number.Percent(r.Change)
		}
		if r.Note != "" {
			verdict += " (" + r.Note + ")"
		}
		judged = append(judged, []string{r.Scenario, name, before, after, change, verdict})
	}
	table(w, judged)
	fmt.Fprintln(w, "\nAbsolute figures depend on the day's disk and get no verdict:")
	fmt.Fprintln(w)
	table(w, shown)
	fmt.Fprintln(w)
	for _, n := range o.Notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
	fmt.Fprintf(w, "%s (by the figures marked *, whose intervals hold together; each of the others is judged by itself)\n", o.Verdict)
}
