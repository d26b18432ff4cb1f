package render

import (
	"strings"
	"testing"

	"ackline/tools/bench/record"
)

// The parts of a response are means over launches, and stand above their sum. A launch that was asked for other parts is left out.
func TestSplitAddsUp(t *testing.T) {
	r := sample("c1", 1)
	n := 0
	for i := range r.Launches {
		if l := &r.Launches[i]; l.Scenario == "latency-1" {
			n++
			l.Split = []record.Split{{Name: "network", MedianUs: 10, SlowestUs: 40}, {Name: "sync", MedianUs: float64(100 + n), SlowestUs: 300}}
		}
	}
	r.Launches[0].Split = r.Launches[0].Split[:1]
	r.Launches[0].Split[0].MedianUs = 10
	v := newView(&Document{Results: r})
	c := &v.scenarios[0]
	if len(c.split) != 1 || c.split[0].MedianUs != 10 {
		t.Errorf("the first launch says what is asked for: %+v", c.split)
	}
	r.Launches[0].Split = nil
	text := render(t, r, nil)
	for _, want := range []string{"part of the response", "| network ", "10.0 µs", "40.0 µs", "| response ", "340 µs"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Count(string(text), "part of the response") != 1 {
		t.Error("scenarios that were not asked have a table")
	}
}
