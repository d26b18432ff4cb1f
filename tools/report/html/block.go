package html

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"ackline/tools/report/page"
)

// blocks writes prose, lists and tables.
func (w *writer) blocks(all []page.Block) {
	for _, b := range all {
		w.block(b)
	}
	w.endList()
}

func (w *writer) block(b page.Block) {
	if !b.Item {
		w.endList()
	}
	switch {
	case b.Item:
		if w.depth == 0 {
			w.WriteString("<ul>\n")
			w.depth = 1
		}
		fmt.Fprintf(w, "<li>%s</li>\n", inline(b.Text))
	case b.Head != nil:
		w.table(b.Head, b.Rows, nil)
	default:
		fmt.Fprintf(w, "<p>%s</p>\n", inline(b.Text))
	}
}

func (w *writer) endList() {
	if w.depth > 0 {
		w.WriteString("</ul>\n")
		w.depth = 0
	}
}

// marked is what is marked in a text: code, in which nothing else is, strong words, emphasized ones.
var marked = regexp.MustCompile("`([^`]+)`" + `|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*`)

// inline turns the little Markdown that blocks use into elements.
func inline(s string) string {
	return marked.ReplaceAllStringFunc(esc(s), func(m string) string {
		for i, element := range []string{"code", "strong", "em"} {
			if text := marked.FindStringSubmatch(m)[i+1]; text != "" {
				return "<" + element + ">" + text + "</" + element + ">"
			}
		}
		return m
	})
}

// extra is what a table gets beside what the page has: a column with a picture of what stands in the row, for those who see, or attributes.
type extra struct {
	head  string
	cells []string           // markup
	at    int                // before which column
	row   func(k int) string // attributes of a row; nil for none
}

// nowhere is no column: an extra that has no picture.
const nowhere = -1

// table writes a table whose numbers are aligned: what stands in brackets behind a number is a column of its own, so that the
// numbers end below each other.
func (w *writer) table(head []string, rows [][]string, more *extra) {
	split, number := make([]bool, len(head)), make([]bool, len(head))
	for i := range head {
		n, s, filled := 0, 0, 0
		for _, r := range rows {
			if r[i] != "–" && r[i] != "" {
				filled++
			}
			if isNumber(r[i]) {
				n++
			}
			if _, b := bracket(r[i]); b != "" {
				s++
			}
		}
		number[i] = i > 0 && 10*n >= 9*filled && n > 0
		split[i] = number[i] && s > 0
	}
	w.WriteString("<div class=\"scroll\"><table>\n<thead><tr>")
	for i, h := range head {
		w.picture(more, i, "th", -1)
		class := ""
		if number[i] {
			class = " class=\"n\""
		}
		if split[i] {
			class = " class=\"w\" colspan=\"2\""
		}
		fmt.Fprintf(w, "<th scope=\"col\"%s>%s</th>", class, esc(h))
	}
	w.picture(more, len(head), "th", -1)
	w.WriteString("</tr></thead>\n<tbody>\n")
	for k, r := range rows {
		attributes := ""
		if more != nil && more.row != nil {
			attributes = more.row(k)
		}
		fmt.Fprintf(w, "<tr%s>", attributes)
		for i, c := range r {
			w.picture(more, i, "td", k)
			w.cell(i, c, number[i], split[i])
		}
		w.picture(more, len(head), "td", k)
		w.WriteString("</tr>\n")
	}
	w.WriteString("</tbody></table></div>\n")
}

func (w *writer) picture(more *extra, at int, tag string, row int) {
	if more == nil || more.at != at {
		return
	}
	content := more.head
	if row >= 0 {
		content = more.cells[row]
	}
	fmt.Fprintf(w, "<%s class=\"pic\" aria-hidden=\"true\">%s</%s>", tag, content, tag)
}

func (w *writer) cell(i int, c string, number, split bool) {
	verdict := verdictClass(c)
	switch {
	case i == 0:
		fmt.Fprintf(w, "<th scope=\"row\">%s</th>", breakable(c))
	case verdict != "":
		fmt.Fprintf(w, "<td><span class=\"v %s\">%s</span></td>", verdict, esc(c))
	case split:
		value, b := bracket(c)
		fmt.Fprintf(w, "<td class=\"n\">%s</td><td class=\"ci\">%s</td>", esc(value), esc(b))
	case number:
		fmt.Fprintf(w, "<td class=\"n\">%s</td>", esc(c))
	case utf8.RuneCountInString(c) > 40:
		fmt.Fprintf(w, "<td class=\"long\">%s</td>", breakable(c))
	default:
		fmt.Fprintf(w, "<td>%s</td>", esc(c))
	}
}

// breakable lets a long name of a figure break at its underscores.
func breakable(c string) string { return strings.ReplaceAll(esc(c), "_", "_<wbr>") }

var verdicts = map[string]string{"met": "met", "missed": "missed", "undecided": "open", "INVALID": "invalid", "not measured": "none", "regressed": "missed",
	"improved": "met", "passed": "met", "inconclusive": "open"}

// verdictClass is how a verdict is marked; "" for anything else. One that goes on, as "inconclusive, sees 12%", is one too.
func verdictClass(c string) string {
	word, _, _ := strings.Cut(c, ",")
	return verdicts[word]
}

func isNumber(c string) bool {
	c = strings.TrimLeft(c, "≤≥ +-−")
	return c != "" && (c[0] >= '0' && c[0] <= '9')
}

// bracket takes an interval or range from behind a number.
func bracket(c string) (value, rest string) {
	for _, open := range []string{" [", " ("} {
		if i := strings.Index(c, open); i > 0 && isNumber(c) && strings.ContainsAny(c[len(c)-1:], "])") {
			return c[:i], c[i+1:]
		}
	}
	return c, ""
}
