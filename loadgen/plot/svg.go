package plot

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The picture, in pixels: its size, and where the axes are.
const (
	svgWidth, svgHeight   = 860, 520
	svgLeft, svgRight     = 90, 30
	svgTop, svgBottom     = 70, 60
	plotWidth, plotHeight = svgWidth - svgLeft - svgRight, svgHeight - svgTop - svgBottom
)

// colours are the lines', in order; told apart without red and green. More lines share the last one.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#777777"}

const svgStyle = `text{font:13px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.grid{stroke:#ddd}.frame{fill:none;stroke:#888}` +
	`.band{fill:#f0e442;fill-opacity:.45}.level{stroke:#222;stroke-dasharray:7 4}`

// SVG writes the chart as a picture.
func (c *Chart) SVG(out io.Writer) error {
	x, y := c.axes()
	px := func(at float64) float64 { return svgLeft + at*plotWidth }
	py := func(at float64) float64 { return svgTop + (1-at)*plotHeight }
	var b strings.Builder
	text := func(x, y float64, how, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, how, escape(s))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n<style>%s</style>\n", svgWidth, svgHeight, svgWidth, svgHeight, svgStyle)
	fmt.Fprintf(&b, "<title>%s</title>\n"+`<rect width="%d" height="%d" fill="white"/>`+"\n", escape(c.Title), svgWidth, svgHeight)
	text(svgLeft, 26, `class="title"`, c.Title)
	if c.Band != nil {
		from, to := c.Band.ends(x)
		// A narrow one is still seen.
		fmt.Fprintf(&b, `<rect class="band" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", px(from), svgTop, max(px(to)-px(from), 2), plotHeight)
	}
	for _, v := range x.ticks(10) {
		at := px(x.at(v))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", at, svgTop, at, svgTop+plotHeight)
		text(at, svgTop+plotHeight+18, `text-anchor="middle"`, write(c.FormatX, v))
	}
	for _, v := range y.ticks(12) {
		at := py(y.at(v))
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`+"\n", svgLeft, at, svgLeft+plotWidth, at)
		text(svgLeft-8, at+4, `text-anchor="end"`, write(c.FormatY, v))
	}
	fmt.Fprintf(&b, `<rect class="frame" x="%d" y="%d" width="%d" height="%d"/>`+"\n", svgLeft, svgTop, plotWidth, plotHeight)
	if c.Level != nil {
		at := py(y.at(c.Level.Y))
		fmt.Fprintf(&b, `<line class="level" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`+"\n", svgLeft, at, svgLeft+plotWidth, at)
	}
	for i, l := range c.Lines {
		svgLine(&b, l, colours[min(i, len(colours)-1)], func(p Point) (float64, float64) { return px(x.at(p.X)), py(y.at(p.Y)) })
	}
	text(svgLeft+plotWidth/2, svgHeight-14, `text-anchor="middle"`, c.X)
	text(16, svgTop-10, "", c.Y)
	c.legend(&b, text)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// svgLine draws a curve with a circle at each point, a hollow triangle where the value is only known to be no lower.
func svgLine(b *strings.Builder, l Line, colour string, at func(Point) (x, y float64)) {
	points := l.visible()
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
	for _, p := range points {
		x, y := at(p)
		fmt.Fprintf(b, "%.1f,%.1f ", x, y)
	}
	b.WriteString("\"/>\n")
	for _, p := range points {
		x, y := at(p)
		if p.AtLeast {
			fmt.Fprintf(b, `<path d="M%.1f,%.1f l-6,11 h12 z" fill="white" stroke="%s" stroke-width="2"/>`+"\n", x, y-7, colour)
			continue
		}
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x, y, colour)
	}
}

// legend stands in one row above the axes.
func (c *Chart) legend(b *strings.Builder, text func(x, y float64, how, s string)) {
	x := float64(svgLeft)
	entry := func(sample, name string) {
		fmt.Fprintf(b, sample+"\n", x, x+22)
		text(x+28, 50, "", name)
		x += 28 + 8*float64(len([]rune(name))) + 18
	}
	for i, l := range c.Lines {
		entry(`<line x1="%.1f" y1="46" x2="%.1f" y2="46" stroke-width="3" stroke="`+colours[min(i, len(colours)-1)]+`"/>`, l.Name)
	}
	if c.Level != nil {
		entry(`<line class="level" x1="%.1f" y1="46" x2="%.1f" y2="46"/>`, c.Level.Name)
	}
	if c.Band != nil {
		entry(`<line x1="%.1f" y1="46" x2="%.1f" y2="46" stroke-width="12" stroke="#f0e442" stroke-opacity=".6"/>`, c.Band.Name)
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
