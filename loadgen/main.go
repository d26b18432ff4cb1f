// Command loadgen puts a load on a Kafka-protocol cluster, times every operation from when it should have begun, reads back
// all that was acknowledged, and says whether the figures may be believed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ackline/loadgen/client"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	loadrun "ackline/loadgen/run"
	"ackline/tools/version"
)

// What loadgen exits with.
const (
	exitValid   = 0
	exitError   = 1
	exitUsage   = 2
	exitInvalid = 3
	exitFailed  = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the load and lets the check and the clean-up follow; one that comes a second later or more ends the
	// program. Not sooner: timeout(1) and some shells send the first one twice.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type cli struct {
	Brokers []string `name:"brokers" placeholder:"HOST:PORT,…" help:"Brokers to ask first."`
	Floor   string   `placeholder:"HOST:PORT" help:"Send the same frames to a floor server (tools/floor) instead, to learn what any system would take."`
	Topic   string   `default:"loadgen" help:"Topic to write to or read from (${default})."`

	Create      bool              `help:"Create the topic first, and delete it at the end."`
	Keep        bool              `help:"With --create: do not delete it."`
	Partitions  int32             `default:"1" help:"With --create: number of partitions (${default})."`
	Replication int16             `default:"0" help:"With --create: replication factor; 0 leaves it to the cluster (${default})."`
	TopicConfig map[string]string `placeholder:"KEY=VALUE" help:"With --create: topic configuration."`

	Driver   string `default:"wire" enum:"wire,kgo,kgo-default" help:"wire sends pre-encoded frames and costs next to nothing; kgo is franz-go set up to measure the system; kgo-default is franz-go as people use it (${default})."`
	Workload string `default:"produce" enum:"produce,fetch" help:"produce writes; fetch reads an existing topic (${default})."`

	Rate     float64 `default:"1000" help:"Operations per second of all connections together (${default})."`
	Arrivals string  `default:"poisson" enum:"poisson,constant,bursts,closed" help:"When operations begin: by a schedule that knows nothing of the answers, or (closed) whenever there is room, which hides waiting (${default})."`
	Burst    int     `default:"32" help:"With --arrivals bursts: how many arrive at once (${default})."`
	Seed     uint64  `default:"1" help:"Selects the Poisson arrivals (${default})."`

	RampTo   float64       `placeholder:"RATE" help:"Change the rate in a straight line from --rate to this one, which then stays. Needs --ramp-over and a --warm-up of a fixed length."`
	RampOver time.Duration `placeholder:"DURATION" help:"How long the ramp takes."`
	On       time.Duration `placeholder:"DURATION" help:"Let operations arrive for so long, at --rate, then not for as long as --off says, and so on."`
	Off      time.Duration `placeholder:"DURATION" help:"How long none arrives."`

	Connections       int           `default:"1" help:"TCP connections (${default})."`
	InFlight          int           `default:"1" help:"Operations without an answer per connection (${default}). An arrival that finds no room waits; that is its backlog."`
	Threads           int           `default:"0" help:"Threads of load; 0: one per CPU for one in flight, else half as many (${default})."`
	Size              int           `default:"1024" help:"Bytes of each record's value (${default})."`
	RecordsPerRequest int           `default:"1" help:"Records in one request, as one batch (${default})."`
	Timeout           time.Duration `default:"10s" help:"How long an operation may stay unanswered, and how long a lost broker is tried again (${default})."`
	Resend            bool          `help:"Survive failovers: send again, as an idempotent producer, what had no answer when a connection or a leader was lost. Needs the wire driver, a connection for each partition and at most 5 in flight (off)."`
	FetchBytes        int32         `default:"1048576" help:"With --workload fetch: bytes per answer (${default})."`
	FetchOrder        string        `default:"sequential" enum:"sequential,random" help:"With --workload fetch: where to read (${default})."`
	EndToEnd          bool          `help:"Add a consumer that waits at the end of the topic, and time records until it has them."`

	For    time.Duration `default:"15s" help:"Length of the measured window (${default}). p99 needs 10,000 operations."`
	WarmUp string        `default:"auto" help:"auto runs the load until its median stands still, for at most 30 s; a duration is run and discarded (${default})."`
	Gap    time.Duration `default:"100ms" help:"List every stretch longer than this in which operations of a partition were due and none was acknowledged (${default})."`
	Judge  float64       `default:"99" placeholder:"P" help:"The run is INVALID without enough operations for this percentile; 0 asks for none (${default})."`
	Check  bool          `default:"true" negatable:"" help:"Read everything back afterwards (on)."`
	Spin   time.Duration `default:"250us" help:"How long a thread may spin before an arrival, because sleeping threads wake late; 0 never spins (${default})."`

	JSON string `name:"json" placeholder:"FILE" help:"Write the whole result, histograms included; - is standard output, and the summary then goes to standard error."`
	Hlog string `placeholder:"FILE" help:"Write an HdrHistogram log with an interval for each second."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

const description = `Put a load on a Kafka-protocol cluster and measure how long records take to be acknowledged.

Each operation is timed from when the schedule said it begins, whether or not the system had room for it. Afterwards everything
that was acknowledged is read back; a run whose data is not intact has no latency. A run is INVALID when the generator itself
was late, starved of CPU or collecting garbage when the tail happened, when the system did not settle, or when there are too
few operations for a p99.

  loadgen --brokers localhost:9092 --topic t --create --rate 2000            write latency at 2,000/s
  loadgen --brokers localhost:9092 --topic t --create --arrivals closed \
          --connections 8 --in-flight 32 --records-per-request 100           throughput
  loadgen --floor localhost:7000 --rate 2000                                 the same frames to a floor server
  loadgen --brokers localhost:9092 --topic t --workload fetch --arrivals closed   read a topic that was kept

Exit codes: 0 VALID, 1 error, 2 bad usage, 3 INVALID, 4 the check found records lost, repeated, misplaced or changed.`

// exited is how kong's wish to end the program is passed through run.
type exited int

func run(ctx context.Context, args []string, out, errOut io.Writer) (code int) {
	var c cli
	parser, err := kong.New(&c, kong.Name("loadgen"), kong.Description(description), kong.Vars{"version": version.String()},
		kong.Writers(out, errOut), kong.Exit(func(code int) { panic(exited(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\n", err)
		return exitError
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\nTry loadgen --help.\n", err)
		return exitUsage
	}
	cfg, spec, err := c.plan()
	if err == nil {
		err = errors.Join(cfg.Validate(), spec.Validate())
	}
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\nTry loadgen --help.\n", err)
		return exitUsage
	}
	threads := cfg.Client.Normal(runtime.NumCPU()).Threads
	if c.Driver != loadrun.DriverWire {
		threads = c.Connections // a thread for each client
	}
	defer loadrun.Quiet(threads)()
	code, err = c.measure(ctx, cfg, spec, strings.Join(args, " "), out, errOut)
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\n", err)
	}
	return code
}

// plan turns the flags into what package run wants.
func (c *cli) plan() (loadrun.Config, loadrun.Spec, error) {
	cfg := loadrun.Config{
		Brokers: c.Brokers, Floor: c.Floor, Topic: c.Topic, Create: c.Create, Keep: c.Keep, Partitions: c.Partitions, Replication: c.Replication,
		TopicConfig: c.TopicConfig, Driver: c.Driver, Workload: c.Workload, ValueBytes: c.Size, FetchBytes: c.FetchBytes,
		FetchOrder: client.FetchOrder(c.FetchOrder), EndToEnd: c.EndToEnd, NoCheck: !c.Check, SpinMax: c.Spin,
		Client: client.Config{Connections: c.Connections, InFlight: c.InFlight, Threads: c.Threads, RecordsPerRequest: c.RecordsPerRequest, Timeout: c.Timeout, Resend: c.Resend},
	}
	if c.Spin == 0 {
		cfg.SpinMax = -1
	}
	if cfg.Floor == "" && len(cfg.Brokers) == 0 {
		return cfg, loadrun.Spec{}, errors.New("give --brokers host:port, or --floor host:port")
	}
	spec := loadrun.Spec{For: c.For, Percentile: c.Judge, Gap: c.Gap,
		Arrivals: pace.Spec{Kind: pace.Kind(c.Arrivals), RatePerSecond: c.Rate, Burst: c.Burst, Seed: c.Seed,
			Shape: pace.Shape{RampTo: c.RampTo, RampOver: c.RampOver, On: c.On, Off: c.Off}}}
	if c.WarmUp == "auto" {
		spec.WarmUp = 30 * time.Second
		return cfg, spec, nil
	}
	d, err := time.ParseDuration(c.WarmUp)
	if err != nil {
		// ParseDuration's own words would name a Go function.
		return cfg, spec, fmt.Errorf("warm-up %s: want auto, or a duration such as 5s or 0s", strconv.Quote(c.WarmUp))
	}
	spec.Discard = d
	return cfg, spec, nil
}

// measure runs and writes everything that was asked for.
func (c *cli) measure(ctx context.Context, cfg loadrun.Config, spec loadrun.Spec, what string, out, errOut io.Writer) (code int, err error) {
	log, err := openLog(c.Hlog, what)
	if err != nil {
		return exitError, err
	}
	defer func() {
		if e := log.finish(code != exitFailed && code != exitError); e != nil && err == nil {
			code, err = exitError, e
		}
	}()
	p := newProgress(errOut, spec)
	spec.Progress = p.second
	spec.Seconds = log.second
	r, err := loadrun.Run(ctx, cfg, spec, loadrun.Events{Opened: p.opened, Checking: p.checking})
	p.end()
	if r == nil {
		return exitError, err
	}
	if werr := c.write(r, out, errOut); werr != nil {
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

// write prints the summary and writes the JSON.
func (c *cli) write(r *result.Result, out, errOut io.Writer) error {
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
