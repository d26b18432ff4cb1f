package html

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// plot is what the page's script draws. Everything it needs is here: the script knows no scenario.
type plot struct {
	X      axis      `json:"x"`
	Y      axis      `json:"y"`
	Series []series  `json:"series"`
	Data   [][]value `json:"data"` // x first, then one row for each series
	Marks  []mark    `json:"marks,omitempty"`
	Bands  []band    `json:"bands,omitempty"` // the first rows of the table are about them, in this order

	title   string // of the figure, for people
	caption string
	head    []string // of the table behind it
	rows    [][]string
	open    bool // the table is shown, not folded
}

type axis struct {
	Label string  `json:"label"`
	Unit  string  `json:"unit"` // "us", "bytes", "1/s", "1": how ticks are written
	Log   bool    `json:"log,omitempty"`
	Ticks []tick  `json:"ticks,omitempty"` // nil: the script chooses
	Low   float64 `json:"low,omitempty"`   // with High: the ends; else the data's
	High  float64 `json:"high,omitempty"`
}

type tick struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
}

type series struct {
	Name   string `json:"name"`
	Colour string `json:"colour"` // "system", "floor" or "c1" to "c6": which of the page's colours
	Line   bool   `json:"line,omitempty"`
	Points bool   `json:"points,omitempty"`
	Hollow bool   `json:"hollow,omitempty"`
	Dashed bool   `json:"dashed,omitempty"`
	Gaps   bool   `json:"gaps,omitempty"` // where there is no point the line is broken
}

// mark is a line across the plot, at an x or at a y.
type mark struct {
	Y     bool    `json:"y,omitempty"`
	At    float64 `json:"at"`
	Text  string  `json:"text,omitempty"`
	Faint bool    `json:"faint,omitempty"`
}

// value is a number of five digits; what is not a number is no point.
type value float64

var none = value(math.NaN())

// MarshalJSON writes null where there is no point.
func (v value) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		return []byte("null"), nil
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', 5, 64), 64)
	if err != nil {
		return nil, err
	}
	return json.Marshal(rounded)
}

// empty tells that there is nothing to draw: the record has no such data.
func (p plot) empty() bool { return !slices.ContainsFunc(p.Data[1:], hasPoints) }

func hasPoints(row []value) bool {
	return slices.ContainsFunc(row, func(v value) bool { return !math.IsNaN(float64(v)) })
}

// beside ties the table's rows to the bands of the plot: a row that has the keyboard's focus, or the pointer on it, marks its band.
func (p plot) beside() *extra {
	if len(p.Bands) == 0 {
		return nil
	}
	return &extra{at: nowhere, row: func(k int) string {
		if k >= len(p.Bands) {
			return ""
		}
		return fmt.Sprintf(" tabindex=\"0\" data-band=\"%d\"", k)
	}}
}

// figure writes a plot, its caption and the table of its figures.
func (w *writer) figure(p plot) {
	for i := len(p.Series) - 1; i >= 0; i-- { // what has no point is not in the legend
		if !hasPoints(p.Data[i+1]) {
			p.Series, p.Data = slices.Delete(p.Series, i, i+1), slices.Delete(p.Data, i+1, i+2)
		}
	}
	fmt.Fprintf(w, "<figure>\n<figcaption><strong>%s.</strong> %s</figcaption>\n", esc(p.title), inline(p.caption))
	fmt.Fprintf(w, "<div class=\"plot\" data-plot=\"%d\" role=\"img\" aria-label=\"%s; the table below has its figures\"></div>\n", len(w.plots), esc(p.title))
	if p.open {
		w.table(p.head, p.rows, p.beside())
	} else {
		w.WriteString("<details><summary>Figures of this plot</summary>\n")
		w.table(p.head, p.rows, p.beside())
		w.WriteString("</details>\n")
	}
	w.WriteString("</figure>\n")
	w.plots = append(w.plots, p)
}
