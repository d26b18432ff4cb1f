package plot

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// marks are the lines' characters, in order; more lines share the last one. beyond stands for a value that is only known to be no lower.
var marks = []rune("o*+x")

const beyond = '^'

func mark(i int) rune { return marks[min(i, len(marks)-1)] }

// Text draws the chart with characters, width × height of them between the axes, at least 20 × 5.
func (c *Chart) Text(out io.Writer, width, height int) error {
	width, height = max(width, 20), max(height, 5)
	x, y := c.axes()
	column := func(at float64) int { return min(max(int(math.Round(at*float64(width-1))), 0), width-1) }
	row := func(at float64) int { return height - 1 - min(max(int(math.Round(at*float64(height-1))), 0), height-1) }
	grid := make([][]rune, height)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", width))
	}
	if c.Level != nil {
		for i := range grid[row(y.at(c.Level.Y))] {
			grid[row(y.at(c.Level.Y))][i] = '-'
		}
	}
	for i, l := range c.Lines {
		for _, p := range l.visible() {
			m := mark(i)
			if p.AtLeast {
				m = beyond
			}
			grid[row(y.at(p.Y))][column(x.at(p.X))] = m
		}
	}
	labels := map[int]string{}
	for _, v := range y.ticks(height / 2) {
		labels[row(y.at(v))] = write(c.FormatY, v)
	}
	left := utf8.RuneCountInString(c.Y)
	for _, l := range labels {
		left = max(left, utf8.RuneCountInString(l))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%*s\n", c.Title, left, c.Y)
	for i, line := range grid {
		edge := "│"
		if labels[i] != "" {
			edge = "┤"
		}
		fmt.Fprintf(&b, "%*s %s%s\n", left, labels[i], edge, strings.TrimRight(string(line), " "))
	}
	c.bottom(&b, x, left, width, column)
	_, err := io.WriteString(out, b.String())
	return err
}

// bottom draws the horizontal axis with its labels, and says what the characters mean.
func (c *Chart) bottom(b *strings.Builder, x axis, left, width int, column func(float64) int) {
	rule := []rune(strings.Repeat("─", width))
	labels := []rune(strings.Repeat(" ", width+20))
	free := 0 // the first column without a label
	for _, v := range x.ticks(width / 8) {
		at := column(x.at(v))
		rule[at] = '┬'
		text := []rune(write(c.FormatX, v))
		if start := max(at-len(text)/2, 0); start >= free && start+len(text) <= len(labels) {
			copy(labels[start:], text)
			free = start + len(text) + 1
		}
	}
	if c.Band != nil {
		from, to := c.Band.ends(x)
		for i := column(from); i <= column(to); i++ {
			rule[i] = '█'
		}
	}
	fmt.Fprintf(b, "%*s └%s %s\n%*s  %s\n", left, "", string(rule), c.X, left, "", strings.TrimRight(string(labels), " "))
	var legend []string
	atLeast := false
	for i, l := range c.Lines {
		legend = append(legend, fmt.Sprintf("%c %s", mark(i), l.Name))
		for _, p := range l.visible() {
			atLeast = atLeast || p.AtLeast
		}
	}
	if atLeast {
		legend = append(legend, fmt.Sprintf("%c as much or more", beyond))
	}
	if c.Level != nil {
		legend = append(legend, "- "+c.Level.Name)
	}
	if c.Band != nil {
		legend = append(legend, "█ "+c.Band.Name)
	}
	fmt.Fprintf(b, "%*s  %s\n", left, "", strings.Join(legend, "   "))
}
