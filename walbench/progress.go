package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows how far a run is: one line that is overwritten on a terminal, a line every ten seconds elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	mu     sync.Mutex // raw calls from one goroutine at a time, but nothing says that it must
	phase  string
	begin  time.Time // of the phase
	shown  time.Time
	length int // of the line on the terminal
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), now: time.Now, shown: time.Now()}
}

// Report is a raw.Progress.
func (p *progress) Report(phase string, fraction float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if phase != p.phase {
		p.phase, p.begin = phase, now
	}
	every := 10 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	line := fmt.Sprintf("%s %3.0f%%", phase, 100*fraction)
	if gone := now.Sub(p.begin); fraction > 0.02 && gone > time.Second {
		line += fmt.Sprintf(", %v left", (time.Duration(float64(gone) * (1 - fraction) / fraction)).Round(time.Second))
	}
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	fmt.Fprintf(p.out, "\r%-*s", p.length, line)
	p.length = len(line)
}

// Done clears the line.
func (p *progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.length > 0 {
		fmt.Fprintf(p.out, "\r%-*s\r", p.length, "")
		p.length = 0
	}
}
