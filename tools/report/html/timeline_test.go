package html

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/report/render"
)

// felt is a timeline of ten steps, in the third of which a node dies; nothing is due in the sixth.
func felt() *record.Timeline {
	t := &record.Timeline{StepMs: 100, Spans: []record.Span{{What: "kill of node 1", FromMs: 210, ToMs: 290, WorstUs: 77_000}, {What: "pause of node 2", FromMs: 800, ToMs: 1000, WorstUs: 400}}}
	for i := range 10 {
		p50, worst := 200.0, 400.0
		switch i {
		case 2:
			worst = 77_000
		case 5:
			p50, worst = 0, 0
		}
		t.P50Us, t.WorstUs = append(t.P50Us, p50), append(t.WorstUs, worst)
	}
	return t
}

func TestTimeline(t *testing.T) {
	r := run("aaaa", 1.1)
	for i := range r.Launches {
		r.Launches[i].Timeline = felt() // those of "late" are not valid and must not be seen
	}
	s := render.Publish(&render.Document{Results: r})[0]
	p := timeline(&s.Launches[0])
	want := [][]string{{"1", "kill of node 1", "210 ms", "80.0 ms", "77.0 ms"}, {"2", "pause of node 2", "800 ms", "200 ms", "400 µs"},
		{"–", "usual: outside of all of these, p50 200 µs", "–", "–", "400 µs"}}
	if len(p.rows) != len(want) {
		t.Fatalf("rows %q", p.rows)
	}
	for i, row := range want {
		if strings.Join(p.rows[i], "|") != strings.Join(row, "|") {
			t.Errorf("row %q, want %q", p.rows[i], row)
		}
	}
	if len(p.Bands) != 2 || p.Bands[0].From != 0.21 || p.Bands[0].To != 0.29 || p.Bands[0].Colour == p.Bands[1].Colour || p.X.High != 1 {
		t.Errorf("bands %+v until %v s", p.Bands, p.X.High)
	}
	if p.Data[0][2] != 0.25 || p.Data[2][2] != 77_000 || !math.IsNaN(float64(p.Data[1][5])) || !p.open || p.empty() {
		t.Errorf("data %v", p.Data)
	}
	out := rendered(t, Page{Document: &render.Document{Results: r}, NoTrend: "none"})
	if n := strings.Count(out, `<tr tabindex="0" data-band="0">`); n != 6 || strings.Count(out, `data-band="2"`) != 0 {
		t.Errorf("%d rows can be reached for the first band of 6 valid launches, want one each and none for the last row", n)
	}
	shown, folded, ok := strings.Cut(out, "<summary>Latency over time of other launches, 5</summary>")
	if !ok || strings.Count(shown, "what happened, launch 1.") != 1 || strings.Count(folded, "what happened, launch ") < 5 || strings.Contains(shown, "launch 2.</strong>") {
		t.Error("want the first launch's plot shown and the other five folded")
	}
	text, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(text), `"bands":[{"from":0.21,"to":0.29,"text":"1","colour":"c1"}`) {
		t.Errorf("%s, %v", text, err)
	}
}

// A launch with many incidents folds their table.
func TestManyIncidentsAreFolded(t *testing.T) {
	l := record.Launch{Number: 1, Timeline: felt()}
	for range openRows {
		l.Timeline.Spans = append(l.Timeline.Spans, l.Timeline.Spans[0])
	}
	if timeline(&l).open {
		t.Errorf("a table of %d rows is shown", len(l.Timeline.Spans)+1)
	}
}

// A record of an older version has none, and one that saw nothing draws nothing.
func TestNoTimeline(t *testing.T) {
	r := run("aaaa", 1.1)
	r.Launches[0].Timeline = &record.Timeline{StepMs: 100, P50Us: []float64{0}, WorstUs: []float64{0}, Spans: []record.Span{{What: "kill of node 1"}}}
	if out := rendered(t, Page{Document: &render.Document{Results: r}, NoTrend: "none"}); strings.Contains(out, "with what happened, launch") || strings.Contains(out, "<tr tabindex") {
		t.Error("a timeline is drawn that is not there")
	}
}
