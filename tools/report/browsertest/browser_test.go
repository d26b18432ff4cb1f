// Package browsertest opens the page that `bin/report --html` makes of this tree's RESULTS.md as a person would, in Chromium and
// without a network: what a parser of HTML would accept may still draw nothing, ask for something, or leave the keyboard
// somewhere. The package is a module of its own, so that nothing else is built with a browser's protocol, and runs the
// command instead of importing it.
package browsertest

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// maxSize is what a page may take.
const maxSize = 3 << 20

// patience is how long the browser may take for all of it, on a machine that has other work to do.
const patience = 2 * time.Minute

// browser is one tab of a Chromium, and what it complained about.
type browser struct {
	t          *testing.T
	ctx        context.Context
	mu         sync.Mutex
	complaints []string // console messages, exceptions, violations of the page's policy
	requests   []string // all but the page itself
}

// open starts Chromium with one tab.
func open(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("needs chromium: to open the report")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.WindowSize(1280, 1000), chromedp.DisableGPU)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it has none for root
	}
	limited, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: tab}
	if err := chromedp.Listen(tab, b.hear); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if _, err := chromedp.Call(tab, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, fmt.Sprintf("exception: %+v", e.ExceptionDetails))
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "file:") || !strings.HasSuffix(e.Request.URL, ".html") {
			b.requests = append(b.requests, e.Request.URL)
		}
	}
}

func (b *browser) heard() (complaints, requests []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints), slices.Clone(b.requests)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// show opens a file and waits until it is complete; its script runs before that.
func (b *browser) show(file string) {
	b.t.Helper()
	b.do(chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()), chromedp.WaitReady(chromedp.CSS("body")))
}

// eval asks the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until asks the page until it answers what is wanted; a page draws when it gets to it.
func (b *browser) until(expression string, wanted func(string) bool, otherwise string) string {
	b.t.Helper()
	for {
		now, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
		if err != nil {
			b.t.Fatalf("%s (%v)", otherwise, err)
		}
		if wanted(now) {
			return now
		}
	}
}

// render makes the page of a record with the command of this tree, into a folder of the test.
func render(t *testing.T, results string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "report.html")
	cmd := exec.CommandContext(t.Context(), "go", "run", "./tools/report", "--html", results, "-o", out)
	cmd.Dir = filepath.Join("..", "..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
	return out
}

func TestPage(t *testing.T) {
	b := open(t)
	file := render(t, "RESULTS.md")
	content, err := os.ReadFile(file)
	if err != nil || len(content) > maxSize {
		t.Fatalf("%d bytes, %v: want at most %d", len(content), err, maxSize)
	}
	b.show(file)
	b.plots()
	b.theme(file)
	b.keyboard(file)
	b.narrow(file)
	if complaints, requests := b.heard(); len(complaints)+len(requests) > 0 {
		t.Errorf("the browser complained: %q\nand the page asked for %q; want neither", complaints, requests)
	}
	b.policy(content)
}

// happening gives a valid launch of RESULTS.md a timeline, which its scenario then draws, and returns the record's folder and the scenario.
func happening(t *testing.T) (folder, scenario string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```ackline-results-gzip-base64\n")
	packed, _, _ := strings.Cut(rest, "```")
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var document, results map[string]any
	if err := json.NewDecoder(z).Decode(&document); err != nil {
		t.Fatal(err)
	}
	results, ok := document["results"].(map[string]any)
	if !ok {
		t.Fatalf("RESULTS.md's data has no results")
	}
	var p50, worst []float64
	for i := range 240 {
		p50, worst = append(p50, 300+float64(i%7)), append(worst, 900+float64(i*37%400))
	}
	worst[60], worst[180] = 240_000, 90_000
	launches := results["launches"].([]any)
	for _, l := range launches {
		l := l.(map[string]any)
		if l["verdict"] != "ok" || l["incidents"] == nil {
			continue
		}
		scenario = l["scenario"].(string)
		l["timeline"] = map[string]any{"step_ms": 500, "us_p50": p50, "us_worst": worst, "spans": []map[string]any{
			{"what": "kill of node 2", "from_ms": 30_000, "to_ms": 38_500, "us_worst": 240_000}, {"what": "pause of node 1", "from_ms": 90_200, "to_ms": 94_000, "us_worst": 90_000}}}
		other := maps.Clone(l) // so that one is folded
		other["number"] = 1000
		results["launches"] = append(launches, other)
		break
	}
	data, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "results.json"), data, 0o600); err != nil || scenario == "" {
		t.Fatalf("%v; RESULTS.md has a valid launch with incidents: %q", err, scenario)
	}
	return folder, scenario
}

// TestBands walks to a row of the table beside a timeline, and wants its band marked as long as the row has the focus.
func TestBands(t *testing.T) {
	folder, scenario := happening(t)
	b := open(t)
	b.show(render(t, folder))
	const first = `document.querySelector("[data-band]").closest("figure")`
	if at := eval[string](b, first+`.closest("section").id`); at != "scenario-"+scenario {
		t.Fatalf("the first timeline is in section %q, want that of %s", at, scenario)
	}
	const drawn = first + `.querySelector("canvas").toDataURL()`
	const blur = `(document.activeElement.blur(), 0)`
	plain := eval[string](b, drawn)
	b.do(chromedp.KeyEvent("\t")) // before the first key the page itself has no focus, and hears of none
	b.do(chromedp.Focus(chromedp.CSS(`[data-band="0"]`)))
	marked := b.until(drawn, func(now string) bool { return now != plain }, "the first row has the focus, and its band is as it was")
	b.do(chromedp.KeyEvent("\t")) // to the next row
	if on := eval[string](b, `document.activeElement.dataset.band`); on != "1" {
		t.Errorf("Tab goes from the first row to %q, want the second", on)
	}
	b.until(drawn, func(now string) bool { return now != plain && now != marked }, "the second row has the focus, and its band is as it was")
	eval[int](b, blur)
	b.until(drawn, func(now string) bool { return now == plain }, "no row has the focus, and a band is marked")
	// A plot that was folded is as wide as its place when it is opened.
	wide := eval[bool](b, `(() => { const d = [...document.querySelectorAll("details")].find((d) => d.querySelector("[data-plot]")); d.open = true; return !!d; })()`)
	if !wide {
		t.Fatal("no other launch's timeline is folded")
	}
	const width = `(() => { const at = document.querySelector("details[open] [data-plot]"); return at.clientWidth + " " + at.querySelector(".uplot").clientWidth; })()`
	b.until(width, func(now string) bool {
		place, drawn, _ := strings.Cut(now, " ")
		return place == drawn && place != "0" && place != "240"
	}, "the plot that was folded is not as wide as its place")
	b.do(chromedp.EmulateViewport(390, 844))
	b.narrow(render(t, folder))
	if complaints, requests := b.heard(); len(complaints)+len(requests) > 0 {
		t.Errorf("the browser complained: %q\nand the page asked for %q; want neither", complaints, requests)
	}
}

// plots wants ink of the page's own colours on every canvas, and a table behind every plot.
func (b *browser) plots() {
	b.t.Helper()
	type plot struct {
		Title   string
		Colours int
		Rows    int
	}
	all := eval[[]plot](b, `[...document.querySelectorAll("[data-plot]")].map((at) => {
		const canvas = at.querySelector("canvas"), seen = new Set();
		const pixels = canvas ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data : [];
		for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 250) seen.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
		const figure = at.closest("figure");
		return { Title: figure.closest("section").id + ": " + at.ariaLabel, Colours: seen.size, Rows: figure.querySelectorAll("tbody tr").length };
	})`)
	if len(all) < 10 {
		b.t.Errorf("%d plots; RESULTS.md has data for more", len(all))
	}
	for _, p := range all {
		// Axes, grid and text make three; whatever is drawn in between makes more.
		if p.Colours < 4 || p.Rows == 0 {
			b.t.Errorf("%s: %d colours, want 4 and more; %d rows in the table behind it, want some", p.Title, p.Colours, p.Rows)
		}
	}
}

// theme changes to dark and back with the keyboard, and wants the choice kept when the page is opened again.
func (b *browser) theme(file string) {
	b.t.Helper()
	const background = `getComputedStyle(document.body).backgroundColor`
	const curve = `(() => { const c = document.querySelector("canvas"); return c.toDataURL(); })()`
	light, drawn := eval[string](b, background), eval[string](b, curve)
	b.do(chromedp.Focus(chromedp.CSS("#theme")), chromedp.KeyEvent("\r"))
	dark := eval[string](b, background)
	if dark == light || eval[string](b, curve) == drawn {
		b.t.Errorf("the background stays %s, or the plots are as they were: want another theme", light)
	}
	b.show(file)
	if again := eval[string](b, background); again != dark {
		b.t.Errorf("the background is %s after opening the page again, want %s", again, dark)
	}
	b.do(chromedp.Focus(chromedp.CSS("#theme")), chromedp.KeyEvent("\r"))
	if back := eval[string](b, background); back != light {
		b.t.Errorf("the background is %s after changing back, want %s", back, light)
	}
}

// keyboard walks through the page with Tab alone: the way past the list of sections first, then every section and table.
func (b *browser) keyboard(file string) {
	b.t.Helper()
	b.show(file)
	sections := eval[[]string](b, `[...document.querySelectorAll("main section, main > header")].map((s) => s.id)`)
	stops := eval[int](b, `document.querySelectorAll("a, button, summary, [tabindex]").length`)
	if len(sections) < 10 {
		b.t.Fatalf("%d sections: %q", len(sections), sections)
	}
	// The page keeps a list of what had the focus, so that a stop costs one message and not three.
	eval[int](b, `(window.stops = [], addEventListener("focusin", (e) => stops.push(e.target.className || e.target.id)), 0)`)
	for range (stops + 50) / 20 { // a browser stops at what scrolls, too
		b.do(slices.Repeat([]chromedp.Action[chromedp.Void]{chromedp.KeyEvent("\t")}, 20)...)
		if eval[bool](b, fmt.Sprintf("stops.includes(%q)", sections[len(sections)-1])) {
			break
		}
	}
	reached := eval[[]string](b, "stops")
	first := reached[0]
	if first != "skip" {
		b.t.Errorf("the first stop is of class %q, want the link that skips the list of sections", first)
	}
	for _, s := range sections {
		if !slices.Contains(reached, s) {
			b.t.Errorf("Tab never stops at section %s", s)
		}
	}
}

// narrow wants nothing beside the page on a telephone: wide tables scroll within themselves.
func (b *browser) narrow(file string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(390, 844))
	b.show(file)
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		b.t.Errorf("the page is %d wide on a screen of 390", wide)
	}
}

// policy puts into the page what somebody might: a picture from elsewhere, a script. The browser must refuse both; that it says
// so shows that nothing of the kind went unheard before.
func (b *browser) policy(content []byte) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "changed.html")
	changed := strings.Replace(string(content), "</main>", `<img src="http://127.0.0.1:9/x.png"><script>document.title = "changed"</script></main>`, 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.show(file)
	complaints, _ := b.heard()
	said := strings.Join(complaints, "\n")
	if !strings.Contains(said, "x.png") || !strings.Contains(said, "script-src") || eval[string](b, `document.title`) == "changed" {
		b.t.Errorf("want the picture and the script refused; the browser said:\n%s", said)
	}
}
