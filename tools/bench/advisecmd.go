package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/advice"
	"ackline/tools/bench/record"
	runs "ackline/tools/compare/files"
	"ackline/tools/netlab/advise"
	"ackline/walbench/raw"
)

// adviseFlags are what bench takes when it is to advise and not to measure.
type adviseFlags struct {
	Advise    string         `placeholder:"TOPOLOGY" group:"advise" help:"Run nothing: name the host that should lead a cluster with a replica on each host of TOPOLOGY (${topologies}, or a TOML file with its regions, distances and hosts), with the latency of every leader from every region, and what a lost region costs."`
	Sync      *time.Duration `placeholder:"TIME" group:"advise" help:"What a durable write takes, such as 100us; not given: it is measured in --dir, about ten seconds, as the scenarios across regions do."`
	SyncP99   *time.Duration `name:"sync-p99" placeholder:"TIME" group:"advise" help:"Its p99, with --sync; not given: as --sync."`
	Producers []string       `placeholder:"REGION=WEIGHT" group:"advise" help:"Where records come from, such as frankfurt=3,tokyo=1, of any sum; REGION/ZONE names a zone. Not given: from every region alike."`
	Result    string         `placeholder:"FILE" group:"advise" help:"A run whose measured latencies stand beside: RESULTS.md, results.json or its folder. Not given: latest in --out, if it is there."`
	JSON      bool           `name:"json" group:"advise" help:"Print JSON; times are nanoseconds."`
}

// defaultProfile is what --profile is when nobody gives it.
const defaultProfile = "quick"

// acrossRegions is the suite whose load says how a durable write is measured.
const acrossRegions = "multi-dc"

// advised tells whether these flags are used, and what of them cannot go together.
func (c *cli) advised() (bool, error) {
	a := &c.adviseFlags
	switch {
	case a.Advise == "" && (a.Sync != nil || a.SyncP99 != nil || len(a.Producers) > 0 || a.Result != "" || a.JSON):
		return false, errors.New("--sync, --sync-p99, --producers, --result and --json go with --advise TOPOLOGY")
	case a.Advise != "" && (c.Hosts != "" || len(c.Scenario) > 0 || c.Launches != 0 || c.Seed != 0 || c.Show || c.Profile != defaultProfile):
		return false, errors.New("--advise runs nothing: want it without --profile, --hosts, --scenario, --launches, --seed and --show")
	case a.Sync == nil && a.SyncP99 != nil:
		return false, errors.New("--sync-p99 goes with --sync: a write that is measured has a p99 of its own")
	}
	return a.Advise != "", nil
}

// advise prints where the leader should be. The result is an exit code.
func (c *cli) advise(ctx context.Context, stdout, stderr io.Writer) int {
	usage := func(err error) int {
		fmt.Fprintf(stderr, "bench: --advise: %v (bench --help explains)\n", err)
		return exitUsage
	}
	t, err := region.Load(c.Advise)
	if err != nil {
		return usage(err)
	}
	cfg, err := c.question()
	if err == nil {
		_, err = advise.Advise(t, cfg) // before anything is measured for it
	}
	if err != nil {
		return usage(err)
	}
	run, from, err := c.result()
	if err != nil && c.Result != "" {
		return usage(err)
	}
	without := fmt.Sprintf("no run was found in %s (bench --profile %s makes one)", from, acrossRegions)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		without = err.Error()
	}
	out := &advice.Advice{Sync: &advice.Sync{P50: cfg.Sync, P99: cfg.SyncP99}}
	if c.Sync == nil {
		if err := c.place(); err != nil {
			return usage(err)
		}
		if out.Sync, err = c.measureSync(ctx, stderr); ctx.Err() != nil {
			fmt.Fprintln(stderr, "bench: interrupted")
			return exitInterrupted
		} else if err != nil {
			fmt.Fprintln(stderr, "bench: a durable write by itself:", err)
			return exitFailed
		}
		cfg.Sync, cfg.SyncP99 = out.Sync.P50, out.Sync.P99
	}
	if out.Theory, err = advise.Advise(t, cfg); err == nil {
		if out.Without = without; run != nil {
			out.Measured, out.Without = advice.Beside(out.Theory, t, from, run)
		}
		err = c.print(stdout, out)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

// question is what the flags ask; the sync is 0 if it is to be measured.
func (c *cli) question() (cfg advise.Config, err error) {
	if c.Sync != nil {
		cfg.Sync = *c.Sync
	}
	if c.SyncP99 != nil {
		cfg.SyncP99 = *c.SyncP99
	}
	for _, text := range c.Producers {
		p, err := advise.ParseProducer(text)
		if err != nil {
			return cfg, fmt.Errorf("--producers %w", err)
		}
		cfg.Producers = append(cfg.Producers, p)
	}
	if cfg.Producers, err = advise.Weigh(cfg.Producers); err != nil {
		return cfg, fmt.Errorf("--producers: %w", err)
	}
	return cfg, nil
}

// result is the run that was named, or the latest, and where it is from.
func (c *cli) result() (r *record.Results, from string, err error) {
	if from = c.Result; from == "" {
		from = filepath.Join(c.Out, "latest")
	}
	r, err = runs.Load(from)
	return r, from, err
}

// place makes sure that a write in --dir reaches a disk.
func (c *cli) place() error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	_, err := raw.FindPlace(c.Dir, c.AllowFS)
	return err
}

func (c *cli) measureSync(ctx context.Context, stderr io.Writer) (*advice.Sync, error) {
	s, err := profiles.LoadSuite(acrossRegions)
	if err != nil {
		return nil, err
	}
	return advice.MeasureSync(ctx, c.Dir, s.Tuning.SyncMethod, s.Scenarios[0].Workload, hist.Needed(99), func(done, of int64) {
		fmt.Fprintf(stderr, "bench: a durable write by itself, in %s: %d of %d\n", c.Dir, done, of)
	})
}

func (c *cli) print(out io.Writer, a *advice.Advice) error {
	if !c.JSON {
		return a.Print(out)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(a)
}
