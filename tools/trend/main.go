// Command trend shows how the ratios of the headline went from commit to commit, from the RESULTS.md that each commit
// kept. Machines are never mixed: what a ratio was on another one says nothing about a change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"ackline/tools/report/trend"
	"ackline/tools/version"
)

// Exit codes.
const (
	exitDone        = 0
	exitUsage       = 2
	exitNothing     = 3 // no history, or none that could be read
	exitInterrupted = 130
)

type flags struct {
	File    string           `arg:"" optional:"" default:"RESULTS.md" placeholder:"FILE" help:"The results file whose history is read (${default})."`
	Last    int              `default:"5" placeholder:"N" help:"How many runs of a machine are shown, the newest last (${default})."`
	JSON    bool             `name:"json" help:"Print every run as JSON."`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Shows the ratios of the headline over the commits that brought a RESULTS.md, read from git's history.

  trend                  of RESULTS.md in this folder
  trend --last 10        more of the past
  trend --json           for other tools

One table for each machine (fingerprint), the newest first. A ratio is the system's figure over the floor's, in brackets its 95%
interval; verdicts are by today's bars. A | behind a run's floor and profile says that the floor or the profile is not that of the run before
it, so that a difference between the two is no trend. A file that was rendered again is the same run. Versions that cannot be read are skipped
by name. For a verdict on a change use compare.

Exit codes: 0 shown, 2 wrong arguments, 3 there is no history that can be read.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var f flags
	left := -1
	parser := kong.Must(&f, kong.Name("trend"), kong.Description(description), kong.Writers(out, errOut),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { left = code }))
	_, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err == nil && f.Last < 1 {
		err = fmt.Errorf("--last %d: want 1 or more", f.Last)
	}
	if err != nil {
		fmt.Fprintf(errOut, "trend: %v (trend --help shows examples)\n", err)
		return exitUsage
	}
	h, err := trend.Read(ctx, filepath.Dir(f.File), filepath.Base(f.File), progress(errOut))
	if ctx.Err() != nil {
		return exitInterrupted
	}
	if err == nil {
		err = f.show(out, errOut, h)
	}
	if err != nil {
		fmt.Fprintf(errOut, "trend: %v\n", err)
		return exitNothing
	}
	return exitDone
}

func (f *flags) show(out, errOut io.Writer, h *trend.History) error {
	for _, s := range h.Skipped {
		fmt.Fprintf(errOut, "trend: skipped %.12s: %s\n", s.Revision, s.Reason)
	}
	if h.Shallow {
		fmt.Fprintln(errOut, "trend: this clone is shallow, older runs are not in it: git fetch --unshallow brings them")
	}
	if len(h.Runs) == 0 {
		return errors.New("none of the versions could be read")
	}
	if f.JSON {
		e := json.NewEncoder(out)
		e.SetIndent("", " ")
		return e.Encode(h)
	}
	return trend.Table(out, h, f.Last)
}

// progress shows on a terminal how far the reading is; elsewhere nothing.
func progress(out io.Writer) func(done, total int) {
	t, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(t.Fd())) {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(t, "\r\x1b[Kreading version %d of %d", done+1, total)
		if done+1 == total {
			fmt.Fprint(t, "\r\x1b[K")
		}
	}
}
