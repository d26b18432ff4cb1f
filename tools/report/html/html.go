// Package html renders a run as one file for a browser, which needs nothing else: no server, no network, no second file.
//
// RESULTS.md is for reading in a repository and for programs, and neither shows a distribution. This page holds the same
// sections, from the blocks that RESULTS.md is made of, and beside them what only a picture shows: how far an interval is from
// its bar, where a tail begins, where a rate breaks. Whoever cannot see a picture, or prints the page, has the figures of
// each in a table behind it. The page's own policy forbids every request, so that it can be mailed, archived and opened years
// later, and tells nobody that it was.
package html

import (
	"crypto/sha256"
	_ "embed" // of the page's style and scripts
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/render"
	"ackline/tools/report/trend"
)

// MaxSize is the most that a page may take, in bytes: it is mailed and kept beside every run.
const MaxSize = 3 << 20

// Name is what the page is called in the folder of a run.
const Name = "report.html"

//go:embed assets/page.css
var style string

//go:embed assets/page.js
var script string

// uPlot 1.6.32, MIT: the plots. The page carries its licence.
var (
	//go:embed assets/uPlot.iife.min.js
	uplot string
	//go:embed assets/uPlot.min.css
	uplotStyle string
	//go:embed assets/uPlot.LICENSE
	uplotLicense string
)

// Page is what is rendered.
type Page struct {
	Document *render.Document
	Source   string         // where the record was read, for people
	Trend    *trend.History // nil: NoTrend says why
	NoTrend  string
}

// writer collects the body of the page, the data of its plots and its list of sections.
type writer struct {
	strings.Builder
	plots    []plot
	sections []section
	depth    int
}

type section struct {
	id, title string
	sub       bool
}

// Render returns the whole page.
func Render(p Page) ([]byte, error) {
	w := &writer{}
	w.body(p)
	data, err := json.Marshal(w.plots) // escapes <, > and &, so that no text in it can end the element
	if err != nil {
		return nil, fmt.Errorf("plots: %w", err)
	}
	r := p.Document.Results
	css, code := uplotStyle+"\n"+style, uplot+"\n"+script
	var out strings.Builder
	fmt.Fprintf(&out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; "+
		"form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"+
		"<meta name=\"color-scheme\" content=\"light dark\">\n<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n",
		digest(code), digest(css), esc("ackline results, "+r.Commit+", "+r.Started.UTC().Format("2006-01-02")), css)
	out.WriteString("<a class=\"skip\" href=\"#summary\">Skip to the figures</a>\n")
	w.navigation(&out)
	out.WriteString("<main id=\"top\">\n" + w.String() + "</main>\n")
	fmt.Fprintf(&out, "<script type=\"application/json\" id=\"plots\">%s</script>\n<script>%s</script>\n</body>\n</html>\n", data, code)
	if out.Len() > MaxSize {
		return nil, fmt.Errorf("the page takes %d bytes, at most %d are wanted: run fewer scenarios or launches", out.Len(), MaxSize)
	}
	return []byte(out.String()), nil
}

// digest names a script or style in the page's policy: only these run.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (w *writer) navigation(out *strings.Builder) {
	out.WriteString("<nav aria-label=\"Sections\">\n<p class=\"mark\"><a href=\"#top\">ackline</a></p>\n<ol>\n")
	sub := false
	for _, s := range w.sections {
		if s.sub != sub {
			sub = s.sub
			out.WriteString(map[bool]string{true: "<li><ol>\n", false: "</ol></li>\n"}[sub])
		}
		fmt.Fprintf(out, "<li><a href=\"#%s\">%s</a></li>\n", s.id, esc(s.title))
	}
	out.WriteString("</ol>\n<button type=\"button\" id=\"theme\" hidden>Dark</button>\n</nav>\n")
}

// body writes section after section: may it be believed, how far, by which bars, each scenario, and where it comes from.
func (w *writer) body(p Page) {
	d := p.Document
	blocks := chapters(render.Blocks(d))
	published := render.Publish(d)
	w.summary(p, blocks[""], published)
	w.invalid(d.Results)
	w.open("headline", "Headline", false)
	w.headline(blocks["Headline"], published)
	w.close()
	w.open("bars", "Bars", false)
	w.strip(render.Verdicts(d))
	w.blocks(blocks["Bars"])
	w.close()
	w.open("scenarios", "Scenarios", false)
	for i := range published {
		s := &published[i]
		w.open("scenario-"+s.Name, s.Name, true)
		w.scenario(s, blocks["### "+s.Name])
		w.close()
	}
	w.close()
	for _, c := range order(render.Blocks(d)) {
		switch c {
		case "Headline", "Bars", "Scenarios", "Machine":
			continue
		}
		w.open(slug(c), c, false)
		w.blocks(blocks[c])
		w.close()
	}
	w.open("trend", "Trend", false)
	w.trend(p)
	w.close()
	w.open("machine", "Machine", false)
	w.blocks(blocks["Machine"])
	w.close()
	w.open("notes", "Notes", false)
	w.notes(p)
	w.close()
}

// chapters cuts a page at its headings: by title, those of a scenario by "### " and its name, what is before the first by "".
func chapters(all []page.Block) map[string][]page.Block {
	out := map[string][]page.Block{}
	at := ""
	for _, b := range all {
		switch b.Level {
		case 1:
		case 2:
			at = b.Text
		case 3:
			at = "### " + b.Text
		default:
			out[at] = append(out[at], b)
		}
	}
	return out
}

// order is the titles of a page in their order.
func order(all []page.Block) (out []string) {
	for _, b := range all {
		if b.Level == 2 {
			out = append(out, b.Text)
		}
	}
	return out
}

// open begins a section that the keyboard reaches and the list of sections names.
func (w *writer) open(id, title string, sub bool) {
	level := 2
	if sub {
		level = 3
	}
	w.sections = append(w.sections, section{id, title, sub})
	fmt.Fprintf(w, "<section id=\"%s\" tabindex=\"0\" aria-labelledby=\"%s-title\">\n<h%d id=\"%s-title\">%s</h%d>\n", id, id, level, id, esc(title), level)
}

func (w *writer) close() { w.WriteString("</section>\n") }

// summary is what a reader sees first: whether the run may be believed, and the ratios that have a bar.
func (w *writer) summary(p Page, head []page.Block, published []render.Published) {
	r := p.Document.Results
	w.sections = append(w.sections, section{"summary", "Summary", false})
	w.WriteString("<header id=\"summary\" tabindex=\"0\" aria-labelledby=\"summary-title\">\n<h1 id=\"summary-title\">How far from the floor</h1>\n")
	verdict, _ := record.Judge(r)
	if verdict == record.OK {
		w.WriteString("<p class=\"verdict ok\">The run is valid.</p>\n")
	} else {
		fmt.Fprintf(w, "<p class=\"verdict bad\"><strong>This run is %s.</strong> What is concerned publishes no figure; <a href=\"#invalid\">why</a>.</p>\n",
			strings.ToUpper(string(verdict)))
	}
	w.WriteString("<noscript><p>Plots need JavaScript; the tables behind them do not.</p></noscript>\n")
	w.leads(published)
	for _, b := range head {
		if strings.HasPrefix(b.Text, "**This run is") || strings.HasPrefix(b.Text, "Notes of the run") {
			break
		}
		b.Text = strings.TrimPrefix(b.Text, "Rendered by `make results` from the raw data at the end; `make check` renders it again and compares. ")
		w.block(b)
	}
	w.endList()
	w.WriteString("</header>\n")
}

// invalid lists what speaks against the run.
func (w *writer) invalid(r *record.Results) {
	verdict, reasons := record.Judge(r)
	if verdict == record.OK {
		return
	}
	w.open("invalid", "What is "+strings.ToUpper(string(verdict))+", and why", false)
	for _, reason := range reasons {
		name, why, ok := strings.Cut(reason, ": ")
		if ok && len(r.Of(name)) > 0 {
			fmt.Fprintf(w, "<p><a href=\"#scenario-%s\">%s</a>: %s</p>\n", esc(name), esc(name), inline(why))
			continue
		}
		fmt.Fprintf(w, "<p>%s</p>\n", inline(reason))
	}
	w.close()
}

func (w *writer) notes(p Page) {
	for _, n := range p.Document.Results.Notes {
		w.block(page.Block{Item: true, Text: n})
	}
	w.endList()
	r := p.Document.Results
	fmt.Fprintf(w, "<p>Rendered from the raw data in %s: run %s, seed %d, profile %s. Nothing on this page was typed in, and it loads nothing: its policy "+
		"forbids every request.</p>\n", esc(p.Source), esc(r.Started.UTC().Format("2006-01-02T15:04:05Z")), r.Seed, esc(r.ProfileDigest))
	fmt.Fprintf(w, "<details><summary>The plots are drawn by uPlot; its licence</summary>\n<pre>%s</pre>\n</details>\n", esc(strings.TrimSpace(uplotLicense)))
}

func esc(s string) string { return html.EscapeString(s) }

// slug makes an id of a title.
func slug(title string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, title), "-")
}
