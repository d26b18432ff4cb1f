// Command plant holds compare to what is known: it makes whole comparisons of builds with a known difference, and counts the verdicts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ackline/tools/compare/builds"
	"ackline/tools/compare/plant"
	"ackline/tools/compare/progress"
	"ackline/tools/compare/session"
	"ackline/tools/compare/trial"
	"ackline/tools/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitMet         = 0
	exitMissed      = 1
	exitIncomplete  = 2
	exitFailed      = 3   // could not run
	exitInterrupted = 130 // the same command goes on with it
)

type cli struct {
	Run     runCommand       `cmd:"" help:"Make the trials that the log lacks."`
	Summary summaryCommand   `cmd:"" help:"Print the log as Markdown tables."`
	Out     string           `default:"out/plant" placeholder:"DIR" help:"Where the log, builds and launches are kept (${default})."`
	Nothing int              `default:"${nothing}" placeholder:"N" help:"Trials of a commit with itself (${default})."`
	Slower  int              `default:"${slower}" placeholder:"N" help:"Trials with a spin planted (${default})."`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

type summaryCommand struct{}

type runCommand struct {
	Commit   string   `placeholder:"REV" help:"The commit that is built (default: that of the log's last trial if its series is not finished, else HEAD)."`
	Scenario string   `default:"latency-1" placeholder:"NAME" help:"The load: ${scenarios} (${default})."`
	Quick    bool     `help:"Comparisons of one look after ten pairs, which cannot pass a p50 on most machines."`
	Rehearse bool     `help:"Comparisons of two pairs, one of each kind: shows that everything works, and decides nothing."`
	Gate     []string `placeholder:"FIGURE" help:"Let only these figures decide, as compare --gate. By default all do, and a spin is found by its CPU time first."`
	Dir      string   `default:"out" placeholder:"DIR" help:"Folder on the disk to measure (${default})."`
	AllowFS  []string `name:"allow-fs" placeholder:"TYPE" help:"Measure on this type of file system although it has no disk of its own (tmpfs, overlay)."`
}

const description = `Can compare's verdicts be believed on this machine?

  plant run                        twenty comparisons of HEAD with itself, ten with a busy spin of 10% of the p50 behind each WAL write
  plant run --gate "p50 / floor"   only the median decides; by default the spin's CPU time gives it away
  plant run --rehearse             two pairs each, one trial of each kind: a few minutes, to see that it works
  plant summary                    the log as tables

The spin is a patch that is applied in a worktree, and its length a tenth of the p50 that is measured before each trial. At least sixteen
of twenty have to pass with nothing planted and one may regress; of ten with the spin nine have to regress. Of other numbers of trials it is the
same part.

All of it takes ten hours and more. ^C, or a time limit (timeout -s INT 8h plant run), stops it, and the same command goes on at the launch it
had come to. A finished trial is a line of OUT/trials.jsonl.

Exit codes: 0 all bars are met, or a rehearsal went through, 1 one is missed, 2 trials are lacking, 3 could not run, 130 interrupted.`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	left := -1
	parser := kong.Must(&c, kong.Name("plant"), kong.Description(description), kong.Writers(stdout, stderr), kong.Exit(func(code int) { left = code }),
		kong.Vars{"version": version.String(), "scenarios": strings.Join(session.Scenarios(), ", "), "nothing": fmt.Sprint(plant.Usual.Nothing), "slower": fmt.Sprint(plant.Usual.Slower)})
	at, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "plant: %v (plant --help shows examples)\n", err)
		return exitFailed
	}
	counts := plant.Counts{Nothing: c.Nothing, Slower: c.Slower}
	if at.Command() == "run" {
		if c.Run.Rehearse {
			counts = plant.Counts{Nothing: 1, Slower: 1}
		}
		err = c.trials(ctx, counts, stderr)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(stderr, "plant: interrupted; the same command goes on from here, and plant summary shows what is there")
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(stderr, "plant: %v\n", err)
		return exitFailed
	}
	code := c.summarise(counts, stdout, stderr)
	if at.Command() == "run" && c.Run.Rehearse && code != exitFailed {
		fmt.Fprintln(stderr, "plant: everything works; two pairs decide nothing, so that no bar of a rehearsal can be met")
		return exitMet
	}
	return code
}

// summarise prints the log.
func (c *cli) summarise(counts plant.Counts, stdout, stderr io.Writer) int {
	all, err := plant.Read(c.Out)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no finished trial: plant run makes them", c.Out)
	}
	if err != nil {
		fmt.Fprintf(stderr, "plant: %v\n", err)
		return exitFailed
	}
	return map[plant.Score]int{plant.Met: exitMet, plant.Missed: exitMissed, plant.Incomplete: exitIncomplete}[plant.Summarise(stdout, all, counts)]
}

// validate refuses what cannot be meant.
func (c *cli) validate() error {
	switch r := &c.Run; {
	case c.Nothing < 0 || c.Slower < 0 || c.Nothing+c.Slower == 0:
		return fmt.Errorf("--nothing %d --slower %d: want none or more of each, and one trial at least", c.Nothing, c.Slower)
	case r.Quick && r.Rehearse:
		return errors.New("--quick and --rehearse are two plans: want one of them")
	case r.Scenario != "" && !slices.Contains(session.Scenarios(), r.Scenario):
		return fmt.Errorf("there is no scenario %q to compare; there are %s", r.Scenario, strings.Join(session.Scenarios(), ", "))
	}
	return nil
}

// rehearsalSpare is how many pairs may come to nothing in a rehearsal: who rehearses has not waited for a quiet machine.
const rehearsalSpare = 30

// plan is what every comparison of the series goes by.
func (r *runCommand) plan() trial.Plan {
	p := trial.Full()
	switch {
	case r.Quick:
		p = trial.Quick()
	case r.Rehearse:
		p = trial.Plan{SamePairs: 1, Looks: []int{2}, Spare: rehearsalSpare}
	}
	if len(r.Gate) > 0 {
		p.Gates = r.Gate
	}
	return p
}

// trials makes what the log lacks.
func (c *cli) trials(ctx context.Context, counts plant.Counts, stderr io.Writer) (err error) {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	repo, err := builds.Open(ctx, here)
	if err != nil {
		return err
	}
	log, err := plant.Open(c.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	series := plant.Series{Scenario: c.Run.Scenario, Quick: c.Run.Quick || c.Run.Rehearse, Plan: c.Run.plan(), Dir: c.Run.Dir}
	if went, ok := log.Unfinished(series, counts); ok && c.Run.Commit == "" {
		fmt.Fprintf(stderr, "going on with the trials of %s %s; --commit HEAD begins new ones\n", went.Commit.Short(), went.Commit.Subject)
		series = went
	} else {
		rev := c.Run.Commit
		if rev == "" {
			rev = "HEAD"
		}
		if series.Commit, err = repo.Resolve(ctx, rev); err != nil {
			return err
		}
	}
	r := plant.Runner{Out: c.Out, Series: series, Counts: counts, Calibrate: plant.Calibration, Now: time.Now,
		Build: func(ctx context.Context, p builds.Patch) (string, error) {
			fmt.Fprintf(stderr, "programs of %s %s\n", series.Commit.Short(), p.Name)
			return repo.BuildWith(ctx, series.Commit, p, filepath.Join(c.Out, "builds"))
		},
		Bench: func(bin map[trial.Side]string) session.Measure {
			b := session.Bench{Bin: bin, Dir: c.Run.Dir, AllowFS: c.Run.AllowFS}
			return b.Run
		},
		Tell: func(b plant.Begun) (func(trial.Progress), func()) {
			what := string(b.Kind)
			if b.Spin > 0 {
				what += fmt.Sprintf(" by %v", b.Spin)
			}
			line := progress.New(stderr, fmt.Sprintf("trial %d/%d (%s): ", b.Done+1, b.Of, what))
			return line.Show, line.End
		}}
	if c.Run.Rehearse {
		r.Calibrate = 1
	}
	return r.Run(ctx, log)
}
