// Package progress says how far a comparison is, for whoever waits for it: on a terminal one line that is rewritten, elsewhere a line
// for each launch, so that a log shows where the time went.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"ackline/tools/compare/trial"
)

// Line is what is written to.
type Line struct {
	out    io.Writer
	prefix string
	tty    bool
}

// New makes a line; prefix stands before all that it says.
func New(out io.Writer, prefix string) *Line {
	f, ok := out.(*os.File)
	return &Line{out: out, prefix: prefix, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// Show says which launch comes next.
func (l *Line) Show(p trial.Progress) {
	left := ""
	if p.SecondsEach > 0 {
		d := time.Duration(float64(p.Most-p.Done) * p.SecondsEach * float64(time.Second))
		left = fmt.Sprintf(" (at most about %v left)", d.Round(time.Second))
	}
	line := fmt.Sprintf("%s%d/%d %s, pair %d, %s%s", l.prefix, p.Done, p.Most, p.Step.Phase, p.Step.Pair+1, p.Step.Side, left)
	if l.tty {
		fmt.Fprintf(l.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(l.out, line)
}

// End leaves the cursor on an empty line.
func (l *Line) End() {
	if l.tty {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}
