// Package page writes Markdown that benchstat reads too.
//
// One file is for people and for benchstat, which takes every line for data that looks like it. So no line of prose may, however
// it happens to wrap, and none may be long.
package page

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is the longest line of a page in bytes, newline not counted. benchstat gives up silently on lines of 64 KiB;
// a screen and a review tool give up far earlier.
const MaxLine = 120

// textWidth is where prose is wrapped, in bytes.
const textWidth = 110

// Page collects the lines of a Markdown file that is also read by benchstat. benchstat takes every line for data that
// begins with "Benchmark" or "Unit", and every "word: value" for a configuration line that holds from there on, so
// prose may not begin a line in one of these ways, however it happens to wrap. The methods of Page see to it.
type Page struct {
	b      strings.Builder
	blocks []Block
}

// Block is a piece of prose or a table as it was handed over, before it was wrapped, padded or cut. Another renderer shows the
// same from it.
type Block struct {
	Level int        // 1 to 3: a heading
	Item  bool       // Text is an entry of a list
	Text  string     // of a heading, paragraph or entry: Markdown with **bold**, *emphasis* and `code`
	Head  []string   // of a table
	Rows  [][]string // of a table
}

// Blocks are what was written with Heading, Text, Item and Table, in order.
func (p *Page) Blocks() []Block { return p.blocks }

// Special tells whether benchstat would read the line (golang.org/x/perf/benchfmt, Reader.Scan).
func Special(line string) bool {
	if strings.HasPrefix(line, "Benchmark") {
		return true
	}
	if f := strings.Fields(line); len(f) > 0 && f[0] == "Unit" && line[0] == 'U' {
		return true
	}
	for i, r := range line {
		switch {
		case i == 0 && !unicode.IsLower(r), unicode.IsSpace(r), unicode.IsUpper(r):
			return false
		case i > 0 && r == ':':
			rest := line[i+1:]
			return rest == "" || rest[0] == ' ' || rest[0] == '\t'
		}
	}
	return false
}

// Put writes one line as it is. Only lines whose shape the program decides go through here: one that breaks the rules
// is a mistake in the program.
func (p *Page) Put(line string) {
	if len(line) > MaxLine || Special(line) || strings.Contains(line, "\n") {
		panic(fmt.Sprintf("page: %d bytes, at most %d, and nothing that benchstat reads: %q", len(line), MaxLine, line))
	}
	p.b.WriteString(line)
	p.b.WriteByte('\n')
}

// Data writes a line that benchstat is meant to read.
func (p *Page) Data(line string) {
	if len(line) > MaxLine || !Special(line) || strings.Contains(line, "\n") {
		panic(fmt.Sprintf("page: %d bytes, at most %d, and only what benchstat reads: %q", len(line), MaxLine, line))
	}
	p.b.WriteString(line)
	p.b.WriteByte('\n')
}

// Heading writes one, between empty lines.
func (p *Page) Heading(level int, text string) {
	p.blocks = append(p.blocks, Block{Level: level, Text: Clean(text)})
	p.Gap()
	p.Put(Cut(strings.Repeat("#", level)+" "+Clean(text), MaxLine))
	p.Put("")
}

// Gap ends a block: one empty line, never two.
func (p *Page) Gap() {
	if s := p.b.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		p.Put("")
	}
}

// Text writes a paragraph, wrapped.
func (p *Page) Text(format string, args ...any) {
	p.Gap()
	text := fmt.Sprintf(format, args...)
	p.blocks = append(p.blocks, Block{Text: Clean(text)})
	p.wrap("", "", text)
}

// Item writes one entry of a list, wrapped.
func (p *Page) Item(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.blocks = append(p.blocks, Block{Item: true, Text: Clean(text)})
	p.wrap("- ", "  ", text)
}

// wrap breaks text at spaces, and a word that fills a line alone wherever the line ends.
func (p *Page) wrap(first, next, text string) {
	line, empty := first, true
	flush := func() {
		if Special(line) {
			line = " " + line // a leading space changes nothing in Markdown and everything for benchstat
		}
		p.Put(strings.TrimRight(line, " "))
		line, empty = next, true
	}
	for word := range strings.FieldsSeq(Clean(text)) {
		for len(word) > textWidth-len(next) {
			if !empty {
				flush()
			}
			head := cutBytes(word, textWidth-len(next))
			line, word = line+head, word[len(head):]
			flush()
		}
		if word == "" {
			continue
		}
		if !empty && len(line)+1+len(word) > textWidth {
			flush()
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	if !empty {
		flush()
	}
}

// Table writes a Markdown table. Its columns are padded if every line stays short enough with it; a row that is too long
// even unpadded loses the end of its longest cells.
func (p *Page) Table(head []string, rows [][]string) {
	p.blocks = append(p.blocks, Block{Head: head, Rows: rows})
	p.Gap()
	lines := make([][]string, 0, len(rows)+2)
	width := make([]int, len(head))
	for _, r := range append([][]string{head, make([]string, len(head))}, rows...) {
		if len(r) != len(head) {
			panic(fmt.Sprintf("page: a row of %d cells in a table of %d: %q", len(r), len(head), r))
		}
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = Cut(strings.ReplaceAll(Clean(c), "|", "/"), MaxLine)
			width[i] = max(width[i], 3, utf8.RuneCountInString(cells[i]))
		}
		lines = append(lines, cells)
	}
	if !fit(lines, width) {
		for i := range width {
			width[i] = 0
		}
	}
	for i := range width {
		lines[1][i] = strings.Repeat("-", max(width[i], 3))
	}
	for _, cells := range lines {
		for len(row(cells, width)) > MaxLine {
			longest := 0
			for i := range cells {
				if len(cells[i]) > len(cells[longest]) {
					longest = i
				}
			}
			cells[longest] = Cut(cells[longest], len(cells[longest])-1)
		}
		p.Put(row(cells, width))
	}
}

// fit tells whether all lines stay within MaxLine when they are padded to width.
func fit(lines [][]string, width []int) bool {
	for _, cells := range lines {
		if len(row(cells, width)) > MaxLine {
			return false
		}
	}
	return true
}

// row joins cells, each padded to its width in characters.
func row(cells []string, width []int) string {
	var b strings.Builder
	for i, c := range cells {
		b.WriteString("| " + c + strings.Repeat(" ", max(width[i]-utf8.RuneCountInString(c), 0)) + " ")
	}
	return b.String() + "|"
}

// Clean makes foreign text (a note, a reason, a device's name) one line of printable characters that Markdown does not
// take for HTML, and keeps it from closing the fold that the raw data stands in.
func Clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.IsSpace(r):
			return ' '
		case r == '<':
			return '‹'
		case r == '>':
			return '›'
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Cut shortens s to at most n bytes, marking that something is gone.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	return strings.TrimSuffix(cutBytes(s, max(n-len(mark), 0)), mark) + mark
}

// cutBytes returns the longest prefix of s that has at most n bytes and whole characters.
func cutBytes(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:min(n, len(s))]
}

// String is what was written.
func (p *Page) String() string { return p.b.String() }
