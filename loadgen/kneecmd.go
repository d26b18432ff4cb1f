package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ackline/loadgen/climb"
	"ackline/loadgen/knee"
	"ackline/loadgen/pace"
	loadrun "ackline/loadgen/run"
)

// kneeCmd is loadgen knee.
type kneeCmd struct {
	systemFlags `group:"What is driven"`
	searchFlags `group:"What is looked for"`
	trialFlags  `group:"What a trial is"`
	loadFlags   `group:"What the operations are"`
	metricsFlags

	JSON string `name:"json" placeholder:"FILE" group:"What is written" help:"Write the whole result, every trial's histograms included; - is standard output, and the summary then goes to standard error."`
	SVG  string `name:"svg" placeholder:"FILE" group:"What is written" help:"Draw latency against rate."`
}

// searchFlags say which rate is looked for.
type searchFlags struct {
	Objective  string  `default:"p99<=5ms" help:"What is to be kept: p50, p90, p95, p99 or p99.9 of the response time, <= and a duration (${default})."`
	From       float64 `default:"1000" help:"The first and lowest rate, per second; it is doubled until the objective is missed (${default})."`
	To         float64 `default:"1000000" help:"The highest rate that is tried (${default})."`
	Trials     int     `default:"3" help:"Of how many trials a majority decides about a rate; odd (${default})."`
	Resolution float64 `default:"0.05" help:"How close the ends of the interval that is found are to be; 0.05 is 5% (${default})."`
}

// trialFlags say how a rate is tried.
type trialFlags struct {
	Arrivals string        `default:"poisson" enum:"poisson,constant,bursts" help:"When operations begin (${default})."`
	Burst    int           `default:"32" help:"With --arrivals bursts: how many arrive at once (${default})."`
	Seed     uint64        `default:"1" help:"Selects the Poisson arrivals of the first trial; each has another (${default})."`
	For      time.Duration `default:"5s" help:"Length of a trial. It is made longer, up to --longest, where the objective's percentile takes more operations (${default})."`
	Longest  time.Duration `default:"2m" help:"No trial is longer (${default})."`
	Discard  time.Duration `default:"1s" help:"How much of the beginning of each trial is run and not measured (${default})."`
	Rest     time.Duration `default:"1s" help:"Pause between trials, after all answers have come, for what a system owes its disk (${default})."`
	WarmUp   string        `default:"auto" help:"auto runs the lowest rate before the first trial until its median stands still, for at most 30 s; a duration runs it for so long (${default})."`
}

// Help is shown by loadgen knee --help.
func (*kneeCmd) Help() string {
	return `Doubles the rate until the objective is missed, then halves the interval between the highest rate that kept it and the lowest that
did not. Each rate is tried until a majority of trials agrees. A trial whose generator was late or got no CPU has no vote: if that is
what ends the search, the knee is not established, and why is said. Afterwards everything that was acknowledged is read back; if
that is not intact, there is no knee.

Arrivals that find no room wait, and that counts: give enough --connections and --in-flight, or the knee is that of the window.

  loadgen knee --brokers localhost:9092 --objective "p99<=5ms" \
          --connections 8 --in-flight 64 --svg knee.svg`
}

// configs is what the flags ask for.
func (c *kneeCmd) configs() (loadrun.Config, climb.Config, error) {
	cfg, err := config(&c.systemFlags, &c.loadFlags)
	objective, objErr := knee.ParseObjective(c.Objective)
	cl := climb.Config{Objective: objective, Limits: knee.Limits{From: c.From, To: c.To, Trials: c.Trials, Resolution: c.Resolution},
		Arrivals: pace.Spec{Kind: pace.Kind(c.Arrivals), Burst: c.Burst, Seed: c.Seed}, For: c.For, Longest: c.Longest, Discard: c.Discard, Rest: c.Rest}
	var warm loadrun.Spec
	warmErr := (&windowFlags{WarmUp: c.WarmUp}).warmUp(&warm)
	cl.WarmUp, cl.WarmUpFixed = warm.WarmUp, warm.Discard
	if err := errors.Join(err, objErr, warmErr); err != nil {
		return cfg, cl, err
	}
	switch {
	case c.EndToEnd:
		return cfg, cl, errors.New("a knee is that of the response time: --end-to-end has no place here")
	case c.For <= 0 || c.Trials == 0 || c.Resolution == 0:
		return cfg, cl, fmt.Errorf("%d trials of %v, resolution %g: want more than 0 of each", c.Trials, c.For, c.Resolution)
	}
	return cfg, cl, cl.Validate()
}

// exec looks for the knee and writes everything that was asked for.
func (c *kneeCmd) exec(ctx context.Context, e env) (code int, err error) {
	cfg, cl, err := c.configs()
	if err != nil {
		return exitUsage, err
	}
	watch, stop, err := c.metricsFlags.serve(e)
	if err != nil {
		return exitError, err
	}
	defer stop()
	cfg.Watch = watch
	defer quiet(cfg)()
	s, err := loadrun.Open(ctx, cfg)
	if err != nil {
		return exitError, err
	}
	p := newProgress(e.errOut, loadrun.Spec{})
	r, err := climb.Run(ctx, s, cl, climbEvents(p))
	p.end()
	if err != nil {
		return exitError, errors.Join(err, s.Close())
	}
	r.Session, r.Effective, r.Target = s.Config(), s.Effective(), s.Target()
	err = s.Close()
	if werr := errors.Join(writeReport(c.JSON, r, e), c.draw(r)); werr != nil {
		return exitError, errors.Join(err, werr)
	}
	return exitOf(r.Verdict.Status, err), err
}

// climbEvents tells a person how it goes: a line stays for each trial. What happens within one is shown on a terminal only.
func climbEvents(p *progress) climb.Events {
	ev := climb.Events{
		Begins: func(rate float64, n int, length time.Duration) {
			what := fmt.Sprintf("trial %d", n)
			if n == 0 {
				what = "warm-up"
			}
			p.line("%.0f/s: %s, for at most %v", rate, what, length.Round(100*time.Millisecond))
		},
		Ended: func(t *climb.Trial) {
			p.line("%s", t)
			p.end()
		},
		Checking: p.checking,
	}
	if p.terminal {
		ev.Second = p.second
	}
	return ev
}

// draw writes the picture. There is none of a system that failed the check, or of which no trial counts: what lies at the path from
// another day would pass for it, so that goes too.
func (c *kneeCmd) draw(r *climb.Result) error {
	if c.SVG == "" {
		return nil
	}
	if len(r.Rates()) == 0 {
		if err := os.Remove(c.SVG); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("svg: %w", err)
		}
		return nil
	}
	f, err := os.Create(c.SVG)
	if err != nil {
		return fmt.Errorf("svg: %w", err)
	}
	return errors.Join(r.SVG(f), f.Close())
}
