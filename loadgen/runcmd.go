package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"ackline/loadgen/result"
	loadrun "ackline/loadgen/run"
)

// runCmd is loadgen run, and loadgen without a command.
type runCmd struct {
	systemFlags  `group:"What is driven"`
	arrivalFlags `group:"When operations begin"`
	loadFlags    `group:"What the operations are"`
	windowFlags  `group:"What is measured"`
	outputFlags  `group:"What is written"`
}

// Help is shown by loadgen run --help.
func (*runCmd) Help() string {
	return `Each operation is timed from when the schedule said it begins, whether or not the system had room for it. Afterwards everything
that was acknowledged is read back; a run whose data is not intact has no latency. A run is INVALID when the generator itself
was late, starved of CPU or collecting garbage when the tail happened, when the system did not settle, or when there are too
few operations for a p99.

  loadgen --brokers localhost:9092 --topic t --create --rate 2000            write latency at 2,000/s
  loadgen --brokers localhost:9092 --topic t --create --arrivals closed \
          --connections 8 --in-flight 32 --records-per-request 100           throughput
  loadgen --floor localhost:7000 --rate 2000                                 the same frames to a floor server
  loadgen --brokers localhost:9092 --topic t --workload fetch --arrivals closed   read a topic that was kept`
}

// exec runs and writes everything that was asked for.
func (c *runCmd) exec(ctx context.Context, e env) (code int, err error) {
	cfg, err := config(&c.systemFlags, &c.loadFlags)
	sp, specErr := spec(&c.arrivalFlags, &c.windowFlags)
	if err := errors.Join(err, specErr); err != nil {
		return exitUsage, err
	}
	defer quiet(cfg)()
	log, err := openLog(c.Hlog, e.args)
	if err != nil {
		return exitError, err
	}
	defer func() {
		if e := log.finish(code != exitFailed && code != exitError); e != nil && err == nil {
			code, err = exitError, e
		}
	}()
	p := newProgress(e.errOut, sp)
	sp.Progress = p.second
	sp.Seconds = log.second
	r, err := loadrun.Run(ctx, cfg, sp, loadrun.Events{Opened: p.opened, Checking: p.checking})
	p.end()
	if r == nil {
		return exitError, err
	}
	if werr := c.write(r, e.out, e.errOut); werr != nil {
		return exitError, errors.Join(err, werr)
	}
	switch {
	case r.Verdict.Status == result.Failed:
		code = exitFailed
	case r.Verdict.Status == result.Invalid:
		code = exitInvalid
	case err != nil:
		code = exitError // the run is valid, but cleaning up was not possible
	}
	return code, err
}

// quiet keeps the runtime out of the way of a load's threads, until undo is called.
func quiet(cfg loadrun.Config) (undo func()) {
	threads := cfg.Client.Normal(runtime.NumCPU()).Threads
	if cfg.Driver != loadrun.DriverWire {
		threads = cfg.Client.Connections // a thread for each client
	}
	return loadrun.Quiet(threads)
}

// write prints the summary and writes the JSON.
func (c *outputFlags) write(r *result.Result, out, errOut io.Writer) error {
	summary := out
	if c.JSON == "-" {
		summary = errOut
	}
	if err := r.Print(summary); err != nil {
		return err
	}
	if c.JSON == "" {
		return nil
	}
	b, err := r.JSON()
	if err != nil {
		return fmt.Errorf("json: %w", err)
	}
	if c.JSON == "-" {
		_, err = out.Write(b)
		return err
	}
	return os.WriteFile(c.JSON, b, 0o644)
}
