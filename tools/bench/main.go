// Command bench measures the broker beside the floor: how far from the least that any program could do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"ackline/loadgen/pace"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/hosts"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/tools/bench/suite"
	"ackline/tools/bench/target"
	"ackline/tools/report/html"
	"ackline/tools/report/render"
	"ackline/tools/version"
	"ackline/walbench/raw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // something broke, or a launch lost data
	exitUsage       = 2 // the command line or a profile cannot be right
	exitInvalid     = 3 // measured, but by the rules nothing of it may be published
	exitInterrupted = 130
)

type cli struct {
	Profile  string           `default:"${quick}" placeholder:"NAME|FILE.toml" help:"Suite to run: ${suites}, or a file of your own (${default})."`
	Hosts    string           `placeholder:"FILE.toml" help:"Measure brokers that run already, on other machines: the file names them, and a floor beside them if there is one (profiles/deploy/hosts.toml explains its keys). Nothing is started; topics are made and deleted."`
	Dir      string           `default:"out" placeholder:"DIR" help:"Directory on the disk to measure; data lie in it only while the run lasts (${default})."`
	Out      string           `default:"out" placeholder:"DIR" help:"Where results go: DIR/<time>/ and DIR/latest (${default})."`
	AllowFS  []string         `name:"allow-fs" placeholder:"TYPE" help:"Measure on this type of file system although it has no disk of its own (tmpfs, overlay)."`
	Scenario []string         `placeholder:"NAME" help:"Run only these scenarios of the suite."`
	Launches int              `placeholder:"N" help:"Run so many launches of each scenario instead of the suite's number; what it has fewer of for a reason of its own, such as failover, keeps that. Fewer than six give no interval."`
	Seed     uint64           `placeholder:"N" help:"Seed of all arrivals and payloads (default: drawn and printed)."`
	Continue string           `placeholder:"DIR" help:"Go on with a run that was interrupted, from the launch that it stopped in: out/latest, or a folder beside it. The other arguments, the commit and the machine have to be the same."`
	Show     bool             `help:"Print what would be run and for how long, and leave."`
	Version  kong.VersionFlag `help:"Print the commit and leave."`

	adviseFlags
}

const description = `Runs a suite of scenarios, each on fresh broker processes beside a fresh floor (the bare durable echo), in turns.

  bench                                    the quick suite, ten minutes, on the disk of ./out
  bench --profile full --dir /mnt/nvme     ten launches of everything on another disk
  bench --profile multi-dc                 across regions: latency by producers' region, losses of regions
  bench --profile full --continue out/latest   the rest of one that was interrupted
  bench --scenario latency-1 --launches 2  a look, without an interval
  bench --hosts hosts.toml --show          what of the suite can be run on brokers that are there already
  bench --hosts hosts.toml                 and run it, from this machine as the client
  bench --advise world-3                   where should the leader be? theory, and what was measured beside it
  bench --advise world-5 --producers frankfurt=3,tokyo=1 --sync 100us

The broker and the floor are taken from the directory that bench lies in. With --hosts nothing is started: scenarios that
kill processes or look into them are left out, and what cannot be seen from here is said to be unknown. With --advise nothing is
run either: every host has a replica, the sync is measured in --dir, and measured latencies come from --result; netlab advise is the
arithmetic alone, and chooses which of many hosts have replicas. Exit codes: 0 measured, 1 failed, 2 wrong
arguments, 3 measured but INVALID by the rules (the reasons are printed), 130 interrupted.`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	p := kong.Must(&c, kong.Name("bench"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Description(description), kong.Vars{"version": version.String(), "suites": strings.Join(profiles.Names(), ", "),
			"topologies": strings.Join(region.Names(), ", "), "quick": defaultProfile}, kong.ExplicitGroups([]kong.Group{{Key: "advise", Title: "Where to place the leader:"}}))
	_, err := p.Parse(args)
	if exit >= 0 {
		return exit
	}
	var cfg suite.Config
	var there *hosts.Config
	advised := false
	if err == nil {
		advised, err = c.advised()
	}
	if advised && err == nil {
		return c.advise(ctx, stdout, stderr)
	}
	if err == nil {
		cfg, there, err = c.config()
	}
	if err == nil && c.Continue != "" {
		err = cfg.Take(c.Continue)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v (bench --help explains)\n", err)
		return exitUsage
	}
	if there != nil {
		tellHosts(stdout, there, cfg.Elsewhere.About.LeftOut)
	} else {
		fmt.Fprint(stdout, cfg.Place)
	}
	fmt.Fprintf(stdout, "suite        %s; seed %d; about %v\n", cfg.Suite, cfg.Seed, cfg.Suite.Estimate().Round(time.Second))
	if done, total := cfg.Done(); done > 0 {
		fmt.Fprintf(stdout, "continues    %s: %d of %d launches are there\n", c.Continue, done, total)
	}
	if c.Show {
		show(stdout, cfg.Suite)
		return exitOK
	}
	if there != nil {
		if err := there.Look(ctx); err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", c.Hosts, err)
			return exitFailed
		}
	} else if err := cfg.Programs.Check(); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	return measure(ctx, cfg, stdout, stderr)
}

// config loads the suite and looks at where it is to be run.
func (c *cli) config() (suite.Config, *hosts.Config, error) {
	s, err := profiles.LoadSuite(c.Profile)
	if err == nil {
		err = c.narrow(s)
	}
	if err != nil {
		return suite.Config{}, nil, err
	}
	if c.Hosts != "" {
		return c.remote(s)
	}
	cfg, err := c.local(s)
	return cfg, nil, err
}

// local is config for brokers that are to be started.
func (c *cli) local(s *profiles.Suite) (suite.Config, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return suite.Config{}, err
	}
	notes := c.awake(s)
	place, err := raw.FindPlace(c.Dir, c.AllowFS)
	if err != nil {
		return suite.Config{}, err
	}
	programs, err := target.Beside()
	if err != nil {
		return suite.Config{}, err
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	return suite.Config{Suite: s, Place: place, Dir: c.Dir, Out: c.Out, Seed: c.Seed, Programs: programs, Started: time.Now(), Notes: notes}, nil
}

// awake keeps this machine's idle CPUs from halting, if that is the tuning: until this process ends, and before the machine is
// described, of which it is part. It returns what is to be known about that.
func (c *cli) awake(s *profiles.Suite) []string {
	if s.Tuning.IdleCPUs != profiles.Poll || c.Show {
		return nil
	}
	if _, err := pace.KeepAwake(); err != nil {
		return []string{fmt.Sprintf("idle CPUs halt, although the tuning is to have them poll (%v): all that sleeps wakes later", err)}
	}
	return nil
}

// narrow leaves only the scenarios and launches that were asked for. The name says that it is not the whole suite.
func (c *cli) narrow(s *profiles.Suite) error {
	if c.Launches < 0 {
		return fmt.Errorf("--launches %d: want 1 or more", c.Launches)
	}
	if c.Launches > 0 {
		part := s.Launches != c.Launches
		for i := range s.Scenarios {
			own := &s.Scenarios[i].Launches
			part = part || *own > c.Launches
			*own = min(*own, c.Launches)
		}
		if s.Launches = c.Launches; part {
			s.Name, s.BudgetS = s.Name+" (part)", 0
		}
	}
	if len(c.Scenario) == 0 {
		return s.Validate()
	}
	var names []string
	for _, sc := range s.Scenarios {
		names = append(names, sc.Name)
	}
	for _, want := range c.Scenario {
		if !slices.Contains(names, want) {
			return fmt.Errorf("--scenario %s: the suite has %s", want, strings.Join(names, ", "))
		}
	}
	s.Scenarios = slices.DeleteFunc(s.Scenarios, func(sc profiles.Scenario) bool { return !slices.Contains(c.Scenario, sc.Name) })
	if !strings.HasSuffix(s.Name, " (part)") {
		s.Name += " (part)"
	}
	return s.Validate()
}

// show prints the scenarios.
func show(out io.Writer, s *profiles.Suite) {
	for _, sc := range s.Scenarios {
		fmt.Fprintf(out, "  %-14s %s; %d launches of about %v\n", sc.Name, sc.Workload.Note, s.LaunchesOf(sc), s.EstimateScenario(sc).Round(100*time.Millisecond))
	}
}

// measure runs the suite and prints the ending.
func measure(ctx context.Context, cfg suite.Config, stdout, stderr io.Writer) int {
	tell := progress(stderr)
	cfg.Progress = tell.show
	r, out, err := suite.Run(ctx, cfg)
	tell.end()
	if ctx.Err() != nil {
		if _, left := errors.AsType[*launch.LeftBehind](err); left {
			fmt.Fprintln(stderr, "bench:", err)
		}
		fmt.Fprintf(stderr, "bench: interrupted; what was measured is in %s (--continue %s goes on)\n", out, out)
		return exitInterrupted
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		if out != "" {
			fmt.Fprintf(stderr, "bench: what was measured until then is in %s\n", out)
		}
		return exitFailed
	}
	for _, line := range render.Ending(r) {
		fmt.Fprintln(stdout, line)
	}
	fmt.Fprintf(stdout, "files      %s\n", files(ctx, r, out, stderr))
	verdict, reasons := record.Judge(r)
	for _, reason := range reasons {
		fmt.Fprintf(stderr, "bench: %s\n", reason)
	}
	return map[record.Verdict]int{record.OK: exitOK, record.Invalid: exitInvalid, record.Failed: exitFailed}[verdict]
}

// files says where everything is. Beside the record there is a page for a browser; a run without one is as good.
func files(ctx context.Context, r *record.Results, out string, stderr io.Writer) string {
	page, err := html.Make(ctx, &render.Document{Results: r}, out, "")
	if err == nil {
		err = os.WriteFile(filepath.Join(out, html.Name), page, 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: no page for a browser: %v\n", err)
		return out
	}
	return out + "; for a browser: " + filepath.Join(out, html.Name)
}

// teller shows progress: on a terminal one line that is rewritten, elsewhere one line per launch.
type teller struct {
	out   io.Writer
	tty   bool
	width int
	last  string
}

func progress(out io.Writer) *teller {
	t := &teller{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.tty = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			t.width = w
		}
	}
	return t
}

func (t *teller) show(p suite.Progress) {
	left := p.Left.Round(time.Second)
	if !t.tty {
		what := p.Scenario
		if what == "" {
			what = p.Step
		}
		if line := fmt.Sprintf("%d/%d %s", p.Done, p.Total, what); line != t.last {
			t.last = line
			fmt.Fprintf(t.out, "%s (about %v left)\n", line, left)
		}
		return
	}
	line := fmt.Sprintf("%d/%d %s (about %v left)", p.Done, p.Total, strings.TrimPrefix(p.Scenario+": "+p.Step, ": "), left)
	if t.width > 0 && len(line) >= t.width {
		line = line[:t.width-1]
	}
	fmt.Fprintf(t.out, "\r\x1b[K%s", line)
	t.last = line
}

// end leaves the cursor on an empty line.
func (t *teller) end() {
	if t.tty && t.last != "" {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
}
