// Package plot draws a few curves over logarithmic axes: with characters for a terminal, and as an SVG that needs nothing else.
//
// The problem: a table of latencies by rate does not show where the curve bends, which is what it was made for; and a picture
// that needs a plotting program beside it is not looked at. Rates and latencies both span decades, so both axes are logarithmic, and
// there is no choice of another.
package plot

import (
	"fmt"
	"math"
	"slices"
)

// Chart is what is drawn. Values that are not above 0 have no place on its axes and are left out.
type Chart struct {
	Title string
	// X and Y name the axes. FormatX and FormatY write a value of theirs; nil writes it with three digits.
	X, Y             string
	FormatX, FormatY func(float64) string
	Lines            []Line
	// Level is a horizontal line, such as a limit; Band a vertical stretch. nil: there is none.
	Level *Level
	Band  *Band
}

// Line is one curve, its points in order of X.
type Line struct {
	Name   string
	Points []Point
}

// Point is one value. AtLeast: the true one is no lower, and not known.
type Point struct {
	X, Y    float64
	AtLeast bool
}

// Level is a value on the vertical axis.
type Level struct {
	Name string
	Y    float64
}

// Band is a stretch of the horizontal axis. From 0 begins at the left end, To 0 ends at the right one.
type Band struct {
	Name     string
	From, To float64
}

// axis is a logarithmic scale.
type axis struct{ low, high float64 }

// pad is how far an axis goes beyond its values, as a ratio.
const pad = 1.15

// at is where v lies on the axis: 0 at its low end, 1 at its high one.
func (a axis) at(v float64) float64 { return math.Log(v/a.low) / math.Log(a.high/a.low) }

// span makes an axis that has room for all values.
func span(values []float64) axis {
	values = slices.DeleteFunc(values, func(v float64) bool { return !(v > 0) || math.IsInf(v, 1) })
	if len(values) == 0 {
		return axis{1, 10}
	}
	return axis{slices.Min(values) / pad, slices.Max(values) * pad}
}

// ticks are round values on the axis: 1, 2 and 5 times powers of ten, or only the powers where there would be more than most.
func (a axis) ticks(most int) []float64 {
	var out []float64
	for _, steps := range [][]float64{{1, 2, 5}, {1}} {
		out = nil
		for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
			for _, m := range steps {
				if v := m * math.Pow(10, e); v >= a.low && v <= a.high {
					out = append(out, v)
				}
			}
		}
		if len(out) <= most {
			break
		}
	}
	return out
}

// axes are the chart's.
func (c *Chart) axes() (x, y axis) {
	var xs, ys []float64
	for _, l := range c.Lines {
		for _, p := range l.visible() {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if c.Level != nil {
		ys = append(ys, c.Level.Y)
	}
	if c.Band != nil {
		xs = append(xs, c.Band.From, c.Band.To)
	}
	return span(xs), span(ys)
}

// visible are the points that have a place.
func (l Line) visible() []Point {
	return slices.DeleteFunc(slices.Clone(l.Points), func(p Point) bool {
		return !(p.X > 0) || !(p.Y > 0) || math.IsInf(p.X, 1) || math.IsInf(p.Y, 1)
	})
}

// ends are where the band begins and ends on x, from 0 to 1.
func (b *Band) ends(x axis) (from, to float64) {
	from, to = 0, 1
	if b.From > 0 {
		from = x.at(b.From)
	}
	if b.To > 0 {
		to = x.at(b.To)
	}
	return from, to
}

func write(format func(float64) string, v float64) string {
	if format == nil {
		return fmt.Sprintf("%.3g", v)
	}
	return format(v)
}
