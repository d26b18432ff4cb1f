// Package view shows a run on a terminal while it goes on.
//
// The problem: a person who watches a run wants to see at a glance whether it stands still, drifts or stalls, and lines that scroll by
// do not show that; yet whoever draws on the machine that measures takes time from what is measured. So the picture is a pure function
// of what the collector says once a second anyway, drawn at most four times a second by a goroutine that no worker ever waits for.
//
// Keys are not read and the terminal is not put into raw mode: ^C stays the signal that it is without a view, and a program that
// is killed leaves the terminal as it was.
package view

import (
	"fmt"
	"strings"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
)

// Model is all that is shown.
type Model struct {
	// Title says what is driven.
	Title string
	// For is how long is measured; WarmUp is how long the warm-up may take, 0 when its length is fixed.
	For, WarmUp time.Duration
	// Seconds are the last ones, at most Kept, the newest at the end.
	Seconds []result.Second
	// Measured is how many seconds of the measured window have gone by.
	Measured int
	// Failed is how many operations failed so far.
	Failed int64
	// Checking: the load is over and the data is read back. Read of Acked records were.
	Checking    bool
	Read, Acked int64
}

// Kept is how many seconds a model remembers: as many as the widest sparkline shows.
const Kept = 120

const (
	minWidth = 20
	label    = 10
)

// add takes a second.
func (m *Model) add(s result.Second) {
	if m.Seconds = append(m.Seconds, s); len(m.Seconds) > Kept {
		m.Seconds = m.Seconds[1:]
	}
	if !s.WarmUp {
		m.Measured++
	}
	m.Failed += s.Failed
}

// Render draws m for a terminal of width columns: lines without a newline at the end, none of them wider.
func (m *Model) Render(width int) string {
	width = max(width, minWidth)
	lines := []string{m.Title, m.phase(width)}
	if n := len(m.Seconds); n > 0 {
		s := m.Seconds[n-1]
		lines = append(lines, m.figures(s)...)
		spark := min(width-label, Kept)
		lines = append(lines,
			row("rate", Spark(m.series(func(s result.Second) float64 { return float64(s.Acked) }), spark)),
			row("p99", Spark(m.series(func(s result.Second) float64 { return s.P99US }), spark)))
	}
	if !m.Checking {
		lines = append(lines, "^C ends the load; what was acknowledged is then checked")
	}
	for i, l := range lines {
		lines[i] = cut(l, width)
	}
	return strings.Join(lines, "\n")
}

func row(name, text string) string { return fmt.Sprintf("%-*s%s", label, name, text) }

// phase says what goes on, and for how long yet.
func (m *Model) phase(width int) string {
	if m.Checking {
		done := 0.0
		if m.Acked > 0 {
			done = float64(m.Read) / float64(m.Acked)
		}
		return fmt.Sprintf("reading back  %s %3.0f%%  %d of %d records", bar(done, width/4), 100*done, m.Read, m.Acked)
	}
	if m.Measured == 0 {
		passed := ""
		if n := len(m.Seconds); n > 0 {
			passed = fmt.Sprintf(", %d s so far", m.Seconds[n-1].Second+1)
		}
		if m.WarmUp > 0 {
			return fmt.Sprintf("warming up for at most %v%s; then measuring for %v", m.WarmUp, passed, m.For)
		}
		return fmt.Sprintf("begun%s; measuring for %v", passed, m.For)
	}
	gone := time.Duration(m.Measured) * time.Second
	left := max(m.For-gone, 0).Round(time.Second)
	return fmt.Sprintf("measuring  %s %3.0f%%  %v left", bar(min(gone.Seconds()/m.For.Seconds(), 1), width/4), 100*min(gone.Seconds()/m.For.Seconds(), 1), left)
}

// figures are the last second's.
func (m *Model) figures(s result.Second) []string {
	us := func(v float64) hist.Value { return hist.Value{NS: int64(v * 1e3)} }
	errs := row("errors", fmt.Sprintf("%d in this second, %d so far", s.Failed, m.Failed))
	if s.Acked == 0 {
		return []string{row("now", "nothing was answered"), errs}
	}
	return []string{
		row("now", fmt.Sprintf("%d/s  p50 %v  p99 %v  max %v", s.Acked, us(s.P50US), us(s.P99US), us(s.MaxUS))),
		row("lag", fmt.Sprintf("p99 %v, the generator's", us(s.LagP99US))),
		row("backlog", fmt.Sprintf("p99 %v  max %v, the system's", us(s.BacklogUS), us(s.BacklogMax))),
		errs,
	}
}

// series is a figure of each second that is remembered.
func (m *Model) series(f func(result.Second) float64) []float64 {
	out := make([]float64, len(m.Seconds))
	for i, s := range m.Seconds {
		out[i] = f(s)
	}
	return out
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// Spark draws the last values, at most width of them, from 0 to the largest. A value of 0 is a gap.
func Spark(values []float64, width int) string {
	values = values[max(len(values)-width, 0):]
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(blocks[min(int(v/most*float64(len(blocks))), len(blocks)-1)])
	}
	return b.String()
}

// bar is filled in part.
func bar(part float64, width int) string {
	width = max(width, 4)
	full := min(max(int(part*float64(width)), 0), width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// cut shortens a line to width columns. Every rune that is drawn here takes one.
func cut(line string, width int) string {
	r := []rune(line)
	if len(r) <= width {
		return line
	}
	return string(r[:width-1]) + "…"
}
