package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func sample() *Chart {
	return &Chart{Title: "latency <by> rate & more", X: "requests/s", Y: "ms",
		Lines: []Line{
			{"p50", []Point{{1000, 1, false}, {2000, 1, false}, {4000, 2, false}, {8000, 10, false}}},
			{"p99", []Point{{1000, 2, false}, {2000, 3, false}, {4000, 10, false}, {8000, 100, true}}},
		},
		Level: &Level{"limit", 10}, Band: &Band{"knee", 4000, 8000}}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Text(&b, 40, 11); err != nil {
		t.Fatal(err)
	}
	want := `latency <by> rate & more
 ms
100 ┤                                     ^
    │
    │
    │
    │
 10 ┤-------------------------*-----------o--
    │
    │              *
    │  *                      o
    │
  1 ┤  o           o
    └──┬───────────┬──────────█████████████── requests/s
     1e+03       2e+03          5e+03
     o p50   * p99   ^ as much or more   - limit   █ knee
`
	if got := b.String(); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// The picture is well-formed, and its points lie where the axes say.
func TestSVG(t *testing.T) {
	var b bytes.Buffer
	c := sample()
	if err := c.SVG(&b); err != nil {
		t.Fatal(err)
	}
	var circles, triangles int
	var centre []string
	var bandX, bandWidth string
	d := xml.NewDecoder(&b)
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		attr := func(name string) string {
			for _, a := range e.Attr {
				if a.Name.Local == name {
					return a.Value
				}
			}
			return ""
		}
		switch {
		case e.Name.Local == "circle":
			circles++
			centre = append(centre, attr("cx")+","+attr("cy"))
		case e.Name.Local == "path":
			triangles++
		case attr("class") == "band":
			bandX, bandWidth = attr("x"), attr("width")
		}
	}
	if circles != 7 || triangles != 1 {
		t.Errorf("%d circles, %d triangles", circles, triangles)
	}
	x, y := c.axes()
	at := func(v float64, a axis) float64 { return math.Log(v/a.low) / (math.Log(a.high) - math.Log(a.low)) }
	want := fmt.Sprintf("%.1f,%.1f", 90+at(4000, x)*740, 70+(1-at(2, y))*390)
	if !slices.Contains(centre, want) {
		t.Errorf("%v: no point at %s", centre, want)
	}
	if want := fmt.Sprintf("%.1f", 90+at(4000, x)*740); bandX != want {
		t.Errorf("the band begins at %s, want %s", bandX, want)
	}
	if want := fmt.Sprintf("%.1f", (at(8000, x)-at(4000, x))*740); bandWidth != want {
		t.Errorf("the band is %s wide, want %s", bandWidth, want)
	}
}

// Whatever is drawn, nothing lies outside, nothing panics, and nothing that is not a number is written.
func TestOddCharts(t *testing.T) {
	for name, c := range map[string]*Chart{
		"nothing":              {},
		"one point":            {Lines: []Line{{"a", []Point{{5, 5, false}}}}},
		"nothing but nonsense": {Lines: []Line{{"a", []Point{{0, 1, false}, {1, 0, false}, {math.NaN(), 1, false}, {1, math.Inf(1), false}, {-1, 2, false}}}}},
		"only a level":         {Level: &Level{"l", 3}},
		"a band without ends":  {Band: &Band{Name: "b"}},
		"a band without start": {Band: &Band{Name: "b", To: 7}, Lines: []Line{{"a", []Point{{5, 5, false}}}}},
		"many decades":         {Lines: []Line{{"a", []Point{{1e-6, 1e-9, false}, {1e12, 1e12, true}}}}},
		"many lines":           {Lines: []Line{{"a", nil}, {"b", nil}, {"c", nil}, {"d", nil}, {"e", []Point{{1, 1, false}}}}},
	} {
		var text, svg bytes.Buffer
		if err := errors.Join(c.Text(&text, 0, 0), c.SVG(&svg)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s := text.String() + svg.String(); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("%s:\n%s", name, s)
		}
	}
}
