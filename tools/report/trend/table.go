package trend

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ackline/tools/report/render"
)

// Table prints a table for each machine: a row per ratio, a column per run, the newest last; at most columns of them.
func Table(out io.Writer, h *History, columns int) error {
	for _, m := range h.Machines() {
		runs := m.Runs[max(len(m.Runs)-columns, 0):]
		if _, err := fmt.Fprintf(out, "machine %s: %s\n", m.Fingerprint, m.Name); err != nil {
			return err
		}
		if len(runs) < len(m.Runs) {
			fmt.Fprintf(out, "  the last %d of %d runs\n", len(runs), len(m.Runs))
		}
		rows := [][]string{head("commit"), head("started"), head("floor, profile")}
		for i := range runs {
			r := &runs[i]
			from := ""
			if i > 0 && !r.Comparable(&runs[i-1]) {
				from = " |" // what is before it was measured otherwise
			}
			rows[0] = append(rows[0], r.Commit)
			rows[1] = append(rows[1], r.Started.Format("2006-01-02 15:04"))
			rows[2] = append(rows[2], fmt.Sprintf("%d, %.8s%s", r.Floor, r.Profile, from))
		}
		for _, of := range Ratios(runs) {
			row := head(of.Scenario + " " + of.Of)
			for i := range runs {
				row = append(row, cell(&runs[i], of))
			}
			rows = append(rows, row)
		}
		if err := align(out, rows); err != nil {
			return err
		}
	}
	return nil
}

func head(text string) []string { return []string{text} }

func cell(r *Run, of Ratio) string {
	p, ok := r.Point(of)
	switch {
	case !ok:
		return "–"
	case p.Verdict != "":
		return render.Times(p.Ratio) + " " + p.Verdict
	}
	return render.Times(p.Ratio)
}

// align pads columns to equal widths and leaves an empty line behind.
func align(out io.Writer, rows [][]string) error {
	width := []int{}
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range rows {
		line := ""
		for i, c := range r {
			line += "  " + c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
