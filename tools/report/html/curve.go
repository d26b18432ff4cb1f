package html

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ackline/tools/report/page"
)

// units are how tables write quantities, and what one is in the unit that a plot counts in.
var units = map[string]struct {
	of    string
	times float64
}{
	"ns": {"us", 1e-3}, "µs": {"us", 1}, "ms": {"us", 1e3}, "s": {"us", 1e6}, "": {"1", 1},
	"B": {"bytes", 1}, "KiB": {"bytes", 1 << 10}, "MiB": {"bytes", 1 << 20}, "GiB": {"bytes", 1 << 30}, "TiB": {"bytes", 1 << 40},
}

// quantity reads what a cell says, without the interval behind it: "1.15 s [1.02 to 1.20 s]" is 1,150,000 us.
func quantity(c string) (v float64, unit string, ok bool) {
	c, _ = bracket(c)
	number, name, _ := strings.Cut(strings.TrimLeft(c, "≥≤ "), " ")
	rate := strings.HasSuffix(number, "/s") || strings.HasSuffix(name, "/s")
	number, name = strings.TrimSuffix(number, "/s"), strings.TrimSuffix(name, "/s")
	v, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64)
	u, known := units[name]
	if err != nil || !known {
		return 0, "", false
	}
	if rate {
		return v * u.times, u.of + "/s", true
	}
	return v * u.times, u.of, true
}

// curve makes a plot of a table that is one: durations over a quantity that rises from row to row, such as the time of a
// recovery over the size of the log, or durations for each of several regions. Whatever scenario has such a table gets the
// plot; the table stays, below it.
func curve(b page.Block) (plot, bool) {
	p := plot{title: "By " + b.Head[0], open: true, head: b.Head, rows: b.Rows, X: axis{Label: b.Head[0]},
		Y: axis{Label: "duration", Unit: "us", Log: true}, Data: [][]value{{}}}
	regions := strings.Contains(strings.ToLower(b.Head[0]), "region")
	if !regions {
		b.Rows, p.caption = alike(b)
	}
	if !p.abscissa(b, regions) {
		return plot{}, false
	}
	for i := 1; i < len(b.Head); i++ {
		row, points := []value{}, 0
		for _, r := range b.Rows {
			v, unit, ok := quantity(r[i])
			if !ok || unit != "us" || v <= 0 {
				row = append(row, none)
				continue
			}
			row, points = append(row, value(v)), points+1
		}
		if points < 2 {
			continue
		}
		colour := fmt.Sprintf("c%d", len(p.Series)%6+1)
		for _, side := range sides {
			if strings.HasPrefix(b.Head[i], string(side)) {
				colour = string(side)
			}
		}
		p.Series = append(p.Series, series{Name: b.Head[i], Colour: colour, Line: !regions, Points: true, Hollow: strings.Contains(b.Head[i], "p99")})
		p.Data = append(p.Data, row)
	}
	return p, len(p.Series) > 0
}

// alike are the rows that differ in the first quantity only. Where the second column counts something, such as groups, they are
// those of the count that has the most rows; the others stay in the table.
func alike(b page.Block) (rows [][]string, caption string) {
	if len(b.Head) < 2 {
		return b.Rows, ""
	}
	of := map[string][][]string{}
	most := ""
	for _, r := range b.Rows {
		if v, unit, ok := quantity(r[1]); !ok || unit != "1" || v != math.Trunc(v) {
			return b.Rows, ""
		}
		if of[r[1]] = append(of[r[1]], r); len(of[r[1]]) > len(of[most]) {
			most = r[1]
		}
	}
	if len(of) == 1 || len(of) == len(b.Rows) {
		return b.Rows, ""
	}
	return of[most], fmt.Sprintf("Drawn: %s = %s. The table has the other rows.", b.Head[1], most)
}

// abscissa fills in where the rows are: at their quantity, or one behind the other. It is false when neither is possible.
func (p *plot) abscissa(b page.Block, regions bool) bool {
	if regions && len(b.Rows) >= 2 {
		p.X.Unit, p.X.Low, p.X.High = "1", 0.5, float64(len(b.Rows))+0.5
		for i, r := range b.Rows {
			p.X.Ticks = append(p.X.Ticks, tick{float64(i + 1), r[0]})
			p.Data[0] = append(p.Data[0], value(i+1))
		}
		return true
	}
	last := math.Inf(-1)
	for i, r := range b.Rows {
		v, unit, ok := quantity(r[0])
		if !ok || v <= last || i > 0 && unit != p.X.Unit {
			return false
		}
		last, p.X.Unit = v, unit
		p.Data[0] = append(p.Data[0], value(v))
	}
	first := float64(slices.Min(append(p.Data[0], value(last))))
	p.X.Log = first > 0 && last/first >= 8
	return len(b.Rows) >= 3
}
