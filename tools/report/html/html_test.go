package html

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/report/page"
	"ackline/tools/report/render"
	"ackline/tools/report/trend"
)

// run is a record with one scenario that publishes everything a plot is made of, and one that publishes nothing.
func run(commit string, ratio float64) *record.Results {
	at := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	r := &record.Results{Format: record.Format, Suite: "quick", Commit: commit, FloorVersion: 1, ProfileDigest: "p", Started: at, Ended: at.Add(time.Minute),
		Host: fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", Operation: "Produce", Topology: "single", Workload: "latency", Tuning: "default", FloorIs: "durable echo"},
			{Name: "late", Operation: "Produce", Topology: "single", Workload: "steady", Tuning: "default", FloorIs: "durable echo"}}}
	for n := 1; n <= 6; n++ {
		l := record.Launch{Number: n, Scenario: "latency-1", Verdict: record.OK, Requests: 9000,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 100 * ratio, Floor: 100, Ratio: ratio, Excess: 100 * (ratio - 1), Gated: true}},
			Split: []record.Split{{Name: "sync", MedianUs: 80, SlowestUs: 300}, {Name: "network", MedianUs: 20, SlowestUs: 100}}}
		for i, side := range sides {
			h := hist.NewLatency()
			for k := range 10_000 {
				h.Record(int64(1000 * (100 + k/100) * (i + 1)))
			}
			l.Histograms = append(l.Histograms, record.Histogram{Side: side, Name: "response", Hist: h})
			l.Slices = append(l.Slices, record.Slice{Number: i, Side: side, Verdict: record.OK, Figures: []record.Figure{
				{Name: "latency_us_p50", Unit: "us", Side: side, Value: 150}, {Name: "latency_us_p99", Unit: "us", Side: side, Value: 199}}})
		}
		late := l
		late.Scenario, late.Verdict, late.Reasons = "late", record.Invalid, []string{"the generator was late"}
		r.Launches = append(r.Launches, l, late)
	}
	return r
}

func rendered(t *testing.T, p Page) string {
	t.Helper()
	out, err := Render(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestWhole renders this tree's RESULTS.md: whatever a table or paragraph of it says must be on the page, nothing may need
// another file, and every id is there once.
func TestWhole(t *testing.T) {
	content, err := os.ReadFile("../../../RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	d, err := render.Extract(content)
	if err != nil {
		t.Fatal(err)
	}
	out := rendered(t, Page{Document: d, Source: "RESULTS.md", NoTrend: "none"})
	body := out[strings.Index(out, "<main"):strings.Index(out, "</main>")]
	text := strings.NewReplacer("<wbr>", "", "</td><td class=\"ci\">", " ").Replace(body)
	for _, b := range render.Blocks(d) {
		for _, row := range append(b.Rows, b.Head) {
			for _, c := range row {
				c = strings.TrimPrefix(c, "excess ") // a table's head says so here
				if !strings.Contains(text, esc(c)) {
					t.Errorf("cell %q of table %q is not on the page", c, b.Head)
				}
			}
		}
	}
	for _, forbidden := range []string{" style=", " src=", "<link", " onclick=", "@import", "url("} {
		if strings.Contains(body, forbidden) || strings.Contains(style+uplotStyle, forbidden) {
			t.Errorf("the page has %q, which its policy forbids", forbidden)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(out, -1) {
		if ids[m[1]] {
			t.Errorf("the id %q is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(out, -1) {
		if !ids[m[1]] {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
	if strings.Count(body, "<section") != strings.Count(body, "</section>") || strings.Count(body, "<details") != strings.Count(body, "</details>") ||
		strings.Count(body, "<ul") != strings.Count(body, "</ul>") {
		t.Error("sections, details or lists are not closed")
	}
}

func TestUPlot(t *testing.T) {
	if !strings.HasPrefix(uplot, "/*! https://github.com/leeoniya/uPlot (v1.6.32) */") || strings.Contains(uplot+script, "</script") || !strings.Contains(uplotLicense, "MIT") {
		t.Error("want uPlot 1.6.32 with its licence, and nothing in a script that ends the element")
	}
}

// TestHostile has markup in everything that comes from outside.
func TestHostile(t *testing.T) {
	r := run("aaaa", 1.1)
	const bad = `</script><script>alert(1)</script>`
	r.Notes, r.Dir, r.Scenarios[0].Note = []string{bad}, bad, bad
	r.Launches[0].Split[0].Name = bad
	out := rendered(t, Page{Document: &render.Document{Results: r}, Source: bad, NoTrend: bad})
	if strings.Contains(out, "<script>alert") {
		t.Error("a note of the run became a script")
	}
}

// TestInvalid wants no picture of a scenario that publishes nothing, and the reason said.
func TestInvalid(t *testing.T) {
	out := rendered(t, Page{Document: &render.Document{Results: run("aaaa", 1.1)}, NoTrend: "none"})
	_, late, _ := strings.Cut(out, `<section id="scenario-late"`)
	late, _, _ = strings.Cut(late, "</section>")
	if strings.Contains(late, "data-plot") || strings.Contains(late, "<svg") || !strings.Contains(late, "Why 6 launches do not count") || !strings.Contains(late, "Nothing is published") {
		t.Errorf("want no plot, and the reasons:\n%s", late)
	}
	if !strings.Contains(out, `<a href="#scenario-late">late</a>: none of 6 launches is valid`) {
		t.Error("the section on what is INVALID does not name it")
	}
}

func TestPlots(t *testing.T) {
	s := render.Publish(&render.Document{Results: run("aaaa", 1.1)})[0]
	p := percentiles(&s)
	// 60,000 requests, spread evenly over 100 µs to 199 µs: the median is 150 µs, and of the floor twice that; p99.9 has 60 beyond
	// it, fewer than the hundred that make it a figure.
	for _, row := range p.rows {
		want := map[string][3]string{"p50": {"p50", "150 µs", "298 µs"}, "p99": {"p99", "198 µs", "396 µs"}, "p99.9": {"p99.9", "–", "–"}}[row[0]]
		if want[0] != "" && (row[0] != want[0] || row[1] != want[1] || row[2] != want[2]) {
			t.Errorf("%q, want %q", row, want)
		}
	}
	last := p.Data[0][len(p.Data[0])-1]
	if last >= 1000 || math.IsNaN(float64(p.Data[1][len(p.Data[1])-1])) {
		t.Errorf("the curve ends at 1 in %v, want it to end with its last supported point before 1 in 1000", last)
	}
	if o := overTime(&s); len(o.Data[0]) != 12 || len(o.rows) != 12 || len(o.Marks) != 6 {
		t.Errorf("%d points, %d rows, %d marks; want 12 slices of 6 launches", len(o.Data[0]), len(o.rows), len(o.Marks))
	}
	for _, p := range []plot{sweep(&s), incidents(&s)} {
		if !p.empty() {
			t.Errorf("%s is drawn, but the run has none", p.title)
		}
	}
	text, err := json.Marshal([]value{1.23456789, none})
	if err != nil || string(text) != "[1.2346,null]" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestCurve(t *testing.T) {
	sizes := page.Block{Head: []string{"WAL size", "to open", "p99 restored", "entries"}, Rows: [][]string{
		{"64 MiB", "93.0 ms [80.0 to 99.0 ms]", "1.20 s", "65,536"}, {"256 MiB", "290 ms", "–", "262,144"}, {"1.00 GiB", "1.09 s (1.00 to 1.20 s)", "3.30 s", "1,048,576"}}}
	p, ok := curve(sizes)
	if !ok || len(p.Series) != 2 || p.X.Unit != "bytes" || !p.X.Log || p.Data[0][2] != 1<<30 || p.Data[1][0] != 93_000 || !math.IsNaN(float64(p.Data[2][1])) {
		t.Errorf("%v: %+v", ok, p)
	}
	groups := page.Block{Head: []string{"records", "groups", "live WAL", "open", "ratio"}, Rows: [][]string{{"64.0 MiB", "1", "70.0 MiB", "90 ms", "1.20 [1.10–1.30]"},
		{"256 MiB", "1", "260 MiB", "300 ms", "1.10"}, {"1.00 GiB", "1", "1.10 GiB", "1.10 s", "1.05"}, {"1.00 GiB", "100", "1.10 GiB", "1.30 s", "1.20"}}}
	if p, ok := curve(groups); !ok || len(p.Data[0]) != 3 || len(p.Series) != 1 || len(p.rows) != 4 || p.caption != "Drawn: groups = 1. The table has the other rows." {
		t.Errorf("%v: %+v", ok, p)
	}
	regions := page.Block{Head: []string{"client region", "p50", "p99"}, Rows: [][]string{{"frankfurt", "20.1 ms", "24 ms"}, {"tokyo", "231 ms", "240 ms"}}}
	if p, ok := curve(regions); !ok || len(p.Series) != 2 || len(p.X.Ticks) != 2 || p.X.Ticks[1].Text != "tokyo" || p.Series[0].Line {
		t.Errorf("%v: %+v", ok, p)
	}
	for _, other := range []page.Block{
		{Head: []string{"stage", "p50"}, Rows: [][]string{{"decode", "1 µs"}, {"sync", "2 µs"}, {"reply", "3 µs"}}},
		{Head: []string{"size", "p50"}, Rows: [][]string{{"4 KiB", "1 µs"}, {"1 KiB", "2 µs"}, {"8 KiB", "3 µs"}}},
		{Head: []string{"size", "count"}, Rows: [][]string{{"1 KiB", "1"}, {"4 KiB", "2"}, {"8 KiB", "3"}}},
	} {
		if _, ok := curve(other); ok {
			t.Errorf("%q became a curve", other.Head)
		}
	}
}

func TestCells(t *testing.T) {
	for _, tt := range []struct{ cell, value, rest string }{
		{"1.05 [1.02–1.08]", "1.05", "[1.02–1.08]"}, {"5 (range, 94%)", "5", "(range, 94%)"}, {"latency-1 (single)", "latency-1 (single)", ""},
		{"87.2 µs", "87.2 µs", ""}, {"–", "–", ""},
	} {
		if value, rest := bracket(tt.cell); value != tt.value || rest != tt.rest {
			t.Errorf("%q: %q and %q", tt.cell, value, rest)
		}
	}
	if got, want := inline("**a** is *b* of `c*d*` <e> (*) f"), "<strong>a</strong> is <em>b</em> of <code>c*d*</code> &lt;e&gt; (*) f"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTrend(t *testing.T) {
	one, two, other := trend.Of(run("aaaa", 1.1)), trend.Of(run("bbbb", 1.2)), trend.Of(run("cccc", 1.3))
	other.Fingerprint = "elsewhere"
	of := trend.Ratio{Scenario: "latency-1", Of: "p50"}
	if drawn := past([]trend.Run{one, two}, of); strings.Count(drawn, `class="join"`) != 1 || strings.Count(drawn, `class="dot"`) != 2 {
		t.Errorf("two runs of one machine: want two joined points\n%s", drawn)
	}
	if drawn := past([]trend.Run{one, other}, of); strings.Contains(drawn, `class="join"`) || !strings.Contains(drawn, `class="grid"`) {
		t.Errorf("runs of two machines are joined\n%s", drawn)
	}
	out := rendered(t, Page{Document: &render.Document{Results: run("cccc", 1.3)}, Trend: &trend.History{Runs: []trend.Run{one, two, other}, Shallow: true,
		Skipped: []trend.Skip{{Revision: "0123456789abcdef", Reason: "no raw data"}}}})
	for _, want := range []string{"The clone is shallow", "Skipped <code>0123456789ab</code>: no raw data", "1.30", "elsewhere", "2026-11-01, aaaa"} {
		if !strings.Contains(out, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestNoHistory renders outside of any repository: the page says so and has everything else.
func TestNoHistory(t *testing.T) {
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(t.TempDir()))
	out, err := Make(context.Background(), &render.Document{Results: run("aaaa", 1.1)}, "out", filepath.Join(t.TempDir(), "RESULTS.md"))
	if err != nil || !bytes.Contains(out, []byte("There is no trend: no history")) || !bytes.Contains(out, []byte("data-plot")) {
		t.Errorf("%v: want a page that says why there is no trend", err)
	}
}

// TestTooLarge has more than a page may hold.
func TestTooLarge(t *testing.T) {
	p := Page{Document: &render.Document{Results: run("aaaa", 1.1)}, Source: strings.Repeat("long ", MaxSize/5)}
	if _, err := Render(p); err == nil || !strings.Contains(err.Error(), "at most 3145728 are wanted") {
		t.Errorf("%v", err)
	}
}

// An excess stands in a table of its own, without a place on the scale of ratios.
func TestExcessIsNoRatio(t *testing.T) {
	rows := [][]string{{"a", "p50", "1 µs", "1 µs", "1.00 [0.99–1.01]", "≤ 1.20", "met"}, {"b", "p50", "2 ms", "1 ms", "excess 1 ms [0 to 2 ms]", "excess ≤ 3 ms", "met"}}
	ratios, excesses := apart(rows)
	if len(ratios) != 1 || ratios[0][0] != "a" || len(excesses) != 1 || excesses[0][ratioColumn] != "1 ms [0 to 2 ms]" || excesses[0][ratioColumn+1] != "≤ 3 ms" {
		t.Errorf("ratios %q, excesses %q", ratios, excesses)
	}
	if rows[1][ratioColumn] != "excess 1 ms [0 to 2 ms]" {
		t.Errorf("the page's own row became %q", rows[1])
	}
}
