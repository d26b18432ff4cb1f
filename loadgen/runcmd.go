package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"ackline/loadgen/client"
	"ackline/loadgen/pace"
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
	metricsFlags

	Agents []string `group:"Who makes it" placeholder:"HOST:PORT,…" help:"Have these agents (loadgen agent) make the load together, each a share of the rate on connections of its own; this command only leads them."`
}

// Help is shown by loadgen run --help.
func (*runCmd) Help() string {
	return `Each operation is timed from when the schedule said it begins, whether or not the system had room for it. Afterwards everything
that was acknowledged is read back; a run whose data is not intact has no latency. A run is INVALID when the generator itself
was late, starved of CPU or collecting garbage when the tail happened, when the system did not settle, or when there are too
few operations for a p99. ackline's broker also tells where the time of each request went, and the summary shows it (--stages).

A run makes its own topic, says its name and deletes it at the end, also when it is interrupted. One that is there already is
used with --topic NAME --existing, and never deleted. With --topics N there are N topics, named after the run with a number behind; with
--topic a,b,c --existing the load goes to three that are there. Of each, every partition is read back.

A record's partition is the next one of its connection, or with --partition-by key the one that its key chooses, as it would with any of
Kafka's clients: murmur2 of the key, modulo the topic's partitions. Each thread (with kgo: each client) is then a producer that reaches all
partitions. A record waits for room on its own partition's connection, and those behind it wait with it: that is what a hot key costs,
and the backlog has it. The wire driver sends each record by itself then; kgo fills batches by partition, as applications' clients do.
The summary lists the busiest partitions, the result (--json) all.

  loadgen --brokers localhost:9092 --rate 2000                     write latency at 2,000/s
  loadgen --brokers localhost:9092 --arrivals closed \
          --connections 8 --in-flight 32 --records-per-request 100   throughput
  loadgen --brokers localhost:9092 --rate 500 --size p50=300,p99=4000 --key zipf:100000,1.1 \
          --compression zstd --ratio 3 --records-per-request 20      records like an application's; see --workload-file
  loadgen --brokers localhost:9092 --topics 4 --partitions 6 --connections 8 \
          --key zipf:100000,1.2 --partition-by key                   24 partitions, of which the hot keys make some hot
  loadgen --floor localhost:7000 --rate 2000                       the same frames to a floor server (bin/floor serve)
  loadgen --brokers localhost:9092 --floor localhost:7000          both in turns, and how far apart they are
  loadgen --brokers localhost:9092 --topic t --keep                write to a topic t, which must not be there yet, and leave it
  loadgen --brokers localhost:9092 --topic t --existing \
          --workload fetch --arrivals closed                       read it
  LOADGEN_SASL_PASSWORD=… loadgen --brokers kafka.example:9093 --tls --sasl scram-sha-512 --sasl-user bench`
}

// exec runs and writes everything that was asked for.
func (c *runCmd) exec(ctx context.Context, e env) (code int, err error) {
	system, floor := c.systemFlags, ""
	if len(system.Brokers) > 0 {
		system.Floor, floor = "", system.Floor
	}
	cfg, err := config(&system, &c.loadFlags)
	sp, specErr := spec(&c.arrivalFlags, &c.windowFlags)
	if c.Hlog != "" && c.Acks == client.AcksNone {
		err = errors.Join(err, errors.New("hlog with acks 0: without answers there are no latencies to write down"))
	}
	if err := errors.Join(err, specErr); err != nil {
		return exitUsage, err
	}
	if err := c.outputFlags.validate(); err != nil {
		return exitUsage, err
	}
	if len(c.Agents) > 0 && floor != "" {
		return exitUsage, errors.New("a floor beside agents: lead them once against the brokers and once against the floor")
	}
	if len(c.Agents) > 0 {
		return c.lead(ctx, e, cfg, sp)
	}
	watch, stop, err := c.metricsFlags.serve(e)
	if err != nil {
		return exitError, err
	}
	defer stop()
	cfg.Watch = watch
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
	p.quiet, p.lively = c.Quiet, true
	p.warn(cfg.Security.Warnings())
	sp.Progress = p.second
	sp.Seconds = log.second
	ev := loadrun.Events{Opened: p.opened, Checking: p.checking}
	var r *result.Result
	if floor == "" {
		r, err = loadrun.Run(ctx, cfg, sp, ev)
	} else {
		r, err = loadrun.Beside(ctx, cfg, floor, sp, ev)
	}
	p.end()
	return c.conclude(r, err, e)
}

// conclude writes what came of a run, and says what to exit with. err is what went wrong beside it.
func (c *runCmd) conclude(r *result.Result, err error, e env) (code int, _ error) {
	if r == nil {
		return exitError, err
	}
	if werr := c.write(r, &c.arrivalFlags, e); werr != nil {
		return exitError, errors.Join(err, werr)
	}
	return exitOf(r.Verdict.Status, err), err
}

// quiet keeps the runtime out of the way of a load's threads, until undo is called.
func quiet(cfg loadrun.Config) (undo func()) {
	threads := cfg.Client.Normal(runtime.NumCPU()).Threads
	if cfg.Driver != loadrun.DriverWire {
		threads = cfg.Client.Connections // a thread for each client
	}
	return loadrun.Quiet(threads)
}

// validate says what is wrong with c.
func (c *outputFlags) validate() error {
	if c.JSON == "-" && c.Benchfmt == "-" {
		return errors.New("--json - and --benchfmt -: standard output takes one of them")
	}
	return nil
}

// write prints the summary and writes the files.
func (c *outputFlags) write(r *result.Result, load *arrivalFlags, e env) error {
	summary := e.out
	if c.JSON == "-" || c.Benchfmt == "-" {
		summary = e.errOut
	}
	if err := r.Print(summary); err != nil {
		return err
	}
	return errors.Join(c.writeJSON(r, e.out), c.writeBench(r, load, e.out))
}

func (c *outputFlags) writeJSON(r *result.Result, out io.Writer) error {
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

// writeBench appends: benchstat wants several runs of a kind, and takes them from one file.
func (c *outputFlags) writeBench(r *result.Result, load *arrivalFlags, out io.Writer) error {
	if c.Benchfmt == "" {
		return nil
	}
	if c.Benchfmt == "-" {
		return r.Bench(out, load.name()...)
	}
	f, err := os.OpenFile(c.Benchfmt, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("benchfmt: %w", err)
	}
	if err := errors.Join(r.Bench(f, load.name()...), f.Close()); err != nil {
		return fmt.Errorf("benchfmt %s: %w", c.Benchfmt, err)
	}
	return nil
}

// name says how operations arrive, in a benchmark's name. The seed is no part of it: runs that differ by it are of one kind.
func (a *arrivalFlags) name() []string {
	out := []string{"arrivals=" + a.Arrivals}
	if a.Arrivals == string(pace.Closed) {
		return out
	}
	out = append(out, fmt.Sprintf("rate=%g", a.Rate))
	if a.Arrivals == string(pace.Bursts) {
		out = append(out, fmt.Sprintf("burst=%d", a.Burst))
	}
	if a.RampOver > 0 {
		out = append(out, fmt.Sprintf("ramp=%g-over-%v", a.RampTo, a.RampOver))
	}
	if a.Off > 0 {
		out = append(out, fmt.Sprintf("on=%v", a.On), fmt.Sprintf("off=%v", a.Off))
	}
	return out
}
