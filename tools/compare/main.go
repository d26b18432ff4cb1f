// Command compare answers "did my change make it slower?", with an interval, a verdict and what this machine cannot see.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"ackline/tools/compare/files"
	"ackline/tools/compare/session"
	"ackline/tools/stats"
	"ackline/tools/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitPassed       = 0
	exitRegressed    = 1
	exitInconclusive = 2
	exitFailed       = 3   // could not run, or may not be compared
	exitInterrupted  = 130 // the same command goes on with it
)

type cli struct {
	Files    []string         `arg:"" optional:"" placeholder:"FILE" help:"Two records to compare instead of two commits, the earlier first: RESULTS.md, results.json, or the folder that holds it."`
	Base     string           `placeholder:"REV" help:"The commit that is compared with."`
	Head     string           `default:"HEAD" placeholder:"REV" help:"The commit that is judged (${default})."`
	Quick    bool             `help:"One look after ten pairs, in at most six minutes: enough for what is 10% slower, and for the counters."`
	Scenario []string         `placeholder:"NAME" help:"The load: ${scenarios} (latency-1). Of two files: only these scenarios."`
	Gate     []string         `placeholder:"FIGURE" help:"Let only these figures of the table decide; fewer of them need fewer pairs (default: latencies over the floor's, and six counters)."`
	Dir      string           `default:"out" placeholder:"DIR" help:"Folder on the disk to measure (${default})."`
	AllowFS  []string         `name:"allow-fs" placeholder:"TYPE" help:"Measure on this type of file system although it has no disk of its own (tmpfs, overlay)."`
	Out      string           `default:"out/compare" placeholder:"DIR" help:"Where builds and launches are kept (${default})."`
	Seed     uint64           `placeholder:"N" help:"Seed of all arrivals and payloads (default: drawn)."`
	Fresh    bool             `help:"Measure again instead of going on with, or repeating, what is there."`
	JSON     bool             `name:"json" help:"Print the result as JSON."`
	Version  kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Did a change make it slower?

  compare --base HEAD~1                    builds both commits and measures them in turns: about twenty minutes at most
  compare --base v1 --head topic --quick   one look, six minutes
  compare --base main --gate "p50 / floor" only the median decides
  compare old/RESULTS.md RESULTS.md        two records of one machine

The base is measured against itself first: that is what this host cannot tell from nothing. Then launches of both alternate,
A B B A, and after 10, 20 and 40 pairs every figure's interval is held against δ, the smallest change that matters: 3% of a p50,
10% of everything else. A whole interval beyond δ has regressed, one within it has passed, anything else is open. All intervals
of all looks together are wrong one time in twenty at most. Latencies are held against the floor that was measured in the same launch.
What is counted per request is quieter than any latency, and decides first on a noisy machine.

^C stops; the same command goes on where it stopped. Exit codes: 0 passed, 1 regressed, 2 inconclusive, 3 could not run,
130 interrupted.`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	left := -1
	parser := kong.Must(&c, kong.Name("compare"), kong.Description(description), kong.Writers(stdout, stderr), kong.Exit(func(code int) { left = code }),
		kong.Vars{"version": version.String(), "scenarios": strings.Join(session.Scenarios(), ", ")})
	_, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "compare: %v (compare --help shows examples)\n", err)
		return exitFailed
	}
	verdict := stats.Inconclusive
	if len(c.Files) > 0 {
		verdict, err = c.files(stdout)
	} else {
		verdict, err = c.commits(ctx, stdout, stderr)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(stderr, "compare: interrupted; the same command goes on from here")
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(stderr, "compare: %v\n", err)
		return exitFailed
	}
	return map[stats.Verdict]int{stats.Passed: exitPassed, stats.Improved: exitPassed, stats.Regressed: exitRegressed, stats.Inconclusive: exitInconclusive}[verdict]
}

// validate refuses what cannot be meant.
func (c *cli) validate() error {
	switch {
	case len(c.Files) == 0 && c.Base == "":
		return errors.New("nothing to compare: want --base REV, or two files")
	case len(c.Files) > 0 && len(c.Files) != 2:
		return fmt.Errorf("%d files: want two, the earlier first", len(c.Files))
	case len(c.Files) > 0 && (c.Base != "" || c.Quick || c.Fresh || len(c.Gate) > 0 || c.Seed != 0):
		return errors.New("two files are compared as they are: --base, --quick, --gate, --seed and --fresh are for commits")
	case len(c.Files) == 0 && len(c.Scenario) > 1:
		return errors.New("commits are compared on one --scenario at a time")
	case len(c.Files) == 0 && len(c.Scenario) == 1 && !slices.Contains(session.Scenarios(), c.Scenario[0]):
		return fmt.Errorf("there is no scenario %q to compare; there are %s", c.Scenario[0], strings.Join(session.Scenarios(), ", "))
	}
	return nil
}

// files compares two records.
func (c *cli) files(stdout io.Writer) (stats.Verdict, error) {
	before, err := files.Load(c.Files[0])
	if err != nil {
		return "", err
	}
	after, err := files.Load(c.Files[1])
	if err != nil {
		return "", err
	}
	o, err := files.Compare(before, after, c.Scenario)
	if err != nil {
		return "", err
	}
	if c.JSON {
		return o.Verdict, encode(stdout, o)
	}
	tellFiles(stdout, o)
	return o.Verdict, nil
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}
