package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"ackline/loadgen/fleet"
	"ackline/loadgen/result"
	loadrun "ackline/loadgen/run"
)

// tokenVariable is where agents and those who lead them have their token from: a flag would show it to whoever lists processes.
const tokenVariable = "LOADGEN_AGENT_TOKEN"

// agentCmd is loadgen agent.
type agentCmd struct {
	Listen string        `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Where whoever leads connects (${default})."`
	Idle   time.Duration `placeholder:"DURATION" help:"Leave when nobody has had a load made for so long, so that a job that started the agent comes to its end (never)."`
	metricsFlags
}

// Help is shown by loadgen agent --help.
func (*agentCmd) Help() string {
	return `Waits for a "loadgen run --agents" elsewhere to connect, makes its share of a load, and sends back what came of it, one load at a time.
Start one on each machine with what you start programs with. The load's flags are given to run, with paths of files (certificates,
passwords) as they are on the agents' machines; the environment is each agent's own.

Whoever reaches an agent can have it put a load on whatever it reaches. Give both sides the same ` + tokenVariable + ` to have it ask.

  loadgen agent --listen 10.0.0.11:7070                    on one machine
  loadgen agent --listen 10.0.0.12:7070                    on another
  loadgen run --agents 10.0.0.11:7070,10.0.0.12:7070 \
          --brokers kafka.example:9092 --rate 20000        anywhere`
}

// exec serves until it is told to end.
func (c *agentCmd) exec(ctx context.Context, e env) (code int, err error) {
	if c.Idle < 0 {
		return exitUsage, fmt.Errorf("idle %v: want more than 0", c.Idle)
	}
	watch, stop, err := c.metricsFlags.serve(e)
	if err != nil {
		return exitError, err
	}
	defer stop()
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return exitError, fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	say := func(text string) { fmt.Fprintf(e.errOut, "%s %s\n", time.Now().Format(time.TimeOnly), text) }
	a := fleet.Agent{Token: os.Getenv(tokenVariable), Say: say, Idle: c.Idle,
		Run: func(ctx context.Context, cfg loadrun.Config, spec loadrun.Spec, ev loadrun.Events) (*result.Result, error) {
			defer quiet(cfg)()
			cfg.Watch = watch
			return loadrun.Run(ctx, cfg, spec, ev)
		}}
	if host, _, err := net.SplitHostPort(ln.Addr().String()); err == nil && a.Token == "" && !net.ParseIP(host).IsLoopback() {
		say("warning: without " + tokenVariable + " whoever reaches this address can have loads made from here")
	}
	fmt.Fprintf(e.out, "agent ready: %s\n", ln.Addr())
	if err := a.Serve(ctx, ln); err != nil {
		return exitError, err
	}
	return exitValid, nil
}

// lead has agents make the load.
func (c *runCmd) lead(ctx context.Context, e env, cfg loadrun.Config, sp loadrun.Spec) (code int, err error) {
	if c.Hlog != "" {
		return exitUsage, errors.New("hlog with agents: they send no second's histograms; take --json, which has those of the whole")
	}
	if c.MetricsAddr != "" {
		return exitUsage, errors.New("metrics-addr with agents: give it to each loadgen agent, which knows what it does")
	}
	placed, remove, err := loadrun.Place(ctx, cfg)
	if err != nil {
		return exitError, err
	}
	p := newProgress(e.errOut, sp)
	p.quiet = c.Quiet
	p.warn(cfg.Security.Warnings())
	if cfg.Keep && !cfg.Existing {
		p.kept = placed.Topic
	}
	if sp.WarmUp > 0 {
		p.line("the agents warm up for %v, whether or not that settles the system", fleet.FixedWarmUp)
	}
	l := fleet.Lead{Agents: c.Agents, Token: os.Getenv(tokenVariable), Second: p.second, Say: func(text string) { p.line("%s", text) }}
	r, err := l.Run(ctx, placed, sp)
	err = errors.Join(err, remove())
	p.end()
	return c.conclude(r, err, e)
}
