package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/pace"
	loadrun "ackline/loadgen/run"
	"ackline/loadgen/workload"
)

// Flags that commands share, by what they are about.

// systemFlags say what is driven.
type systemFlags struct {
	Brokers []string `name:"brokers" placeholder:"HOST:PORT,…" help:"Brokers to ask first."`
	Floor   string   `placeholder:"HOST:PORT" help:"A floor server (bin/floor serve; of several, the one with --followers), which takes the least that any system would: alone, the frames go there; beside --brokers, both get the load in turns, and the summary has the limit_ratio."`
	Topic   string   `placeholder:"NAME,…" help:"Topic to write to, or several, which are made for the run and deleted at its end (loadgen-DATE-ID, a name that is the run's own). With --topics N: NAME-0 and so on."`

	Existing    bool              `help:"The topics of --topic are there: use them as they are, and do not delete them."`
	Keep        bool              `help:"Do not delete the topics that were made."`
	Partitions  int32             `default:"1" help:"Number of partitions of each topic that is made (${default})."`
	Replication int16             `default:"0" help:"Its replication factor; 0 leaves it to the cluster (${default})."`
	TopicConfig map[string]string `placeholder:"KEY=VALUE" help:"Its configuration."`

	securityFlags `group:"What the brokers want to see"`
}

// loadFlags say what the operations are and who makes them.
type loadFlags struct {
	Driver string `default:"wire" enum:"wire,kgo,kgo-default" help:"wire sends pre-encoded frames and costs next to nothing; kgo is franz-go set up to measure the system; kgo-default is franz-go as people use it (${default})."`

	WorkloadFile    workloadFile `placeholder:"FILE" help:"A TOML file with the workload: the flags from --topics to --consumers and --partitions by their names, with _ for -. Flags that are given override it."`
	workload.Config `embed:""`

	Threads    int           `default:"0" help:"Threads of load; 0: one per CPU for one in flight, else half as many (${default})."`
	Timeout    time.Duration `default:"10s" help:"How long an operation may stay unanswered, and how long a lost broker is tried again (${default})."`
	Resend     bool          `help:"Survive failovers: send again, as an idempotent producer, what had no answer when a connection or a leader was lost. Needs the wire driver, a connection for each partition and at most 5 in flight (off)."`
	Stages     string        `default:"auto" enum:"auto,on,off" help:"Ask the brokers how long each request's stages took, and show where the time went; ackline's tell, others pass over it. auto is on for the wire driver's produce requests (${default})."`
	FetchBytes int32         `default:"1048576" help:"With --workload fetch: bytes per answer (${default})."`
	FetchOrder string        `default:"sequential" enum:"sequential,random" help:"With --workload fetch: where to read (${default})."`
	EndToEnd   bool          `help:"Add a consumer that waits at the end of the topic, and time records until it has them."`
	Check      bool          `default:"true" negatable:"" help:"Read everything back afterwards (on)."`
	Realtime   bool          `default:"true" negatable:"" help:"Be late less often: where that is permitted, threads that keep a schedule get a real-time priority, and idle CPUs of this machine are kept from halting while the run lasts (on)."`
	Spin       time.Duration `default:"250us" help:"How long a thread may spin before an arrival, because sleeping threads wake late; 0 never spins (${default})."`
}

// arrivalFlags say when operations begin.
type arrivalFlags struct {
	Rate     float64 `default:"1000" help:"Operations per second of all connections together (${default})."`
	Arrivals string  `default:"poisson" enum:"poisson,constant,bursts,closed" help:"When operations begin: by a schedule that knows nothing of the answers, or (closed) whenever there is room, which hides waiting (${default})."`
	Burst    int     `default:"32" help:"With --arrivals bursts: how many arrive at once (${default})."`
	Seed     uint64  `default:"1" help:"Selects the Poisson arrivals (${default})."`

	RampTo   float64       `placeholder:"RATE" help:"Change the rate in a straight line from --rate to this one, which then stays. Needs --ramp-over and a --warm-up of a fixed length."`
	RampOver time.Duration `placeholder:"DURATION" help:"How long the ramp takes."`
	On       time.Duration `placeholder:"DURATION" help:"Let operations arrive for so long, at --rate, then not for as long as --off says, and so on."`
	Off      time.Duration `placeholder:"DURATION" help:"How long none arrives."`
}

// windowFlags say what of the load is measured and how it is judged.
type windowFlags struct {
	For    time.Duration `default:"15s" help:"Length of the measured window (${default}). p99 needs 10,000 operations."`
	WarmUp string        `default:"auto" help:"auto runs the load until its median stands still, for at most 30 s; a duration is run and discarded (${default})."`
	Gap    time.Duration `default:"100ms" help:"List every stretch longer than this in which operations of a partition were due and none was acknowledged (${default})."`
	Judge  float64       `default:"99" placeholder:"P" help:"The run is INVALID without enough operations for this percentile; 0 asks for none (${default})."`
}

// outputFlags say what is written beside the summary.
type outputFlags struct {
	JSON string `name:"json" placeholder:"FILE" help:"Write the whole result, histograms included; - is standard output, and the summary then goes to standard error."`
	Hlog string `placeholder:"FILE" help:"Write an HdrHistogram log with an interval for each second."`

	Benchfmt string `placeholder:"FILE" help:"Add the run to this file in Go's benchmark format, for benchstat; - is standard output, and the summary then goes to standard error."`
	Quiet    bool   `help:"Print the summary and nothing before it. Otherwise a terminal shows how it goes, and anything else gets a line a second."`
}

// config is what a session is opened with.
func config(s *systemFlags, l *loadFlags) (loadrun.Config, error) {
	cfg := loadrun.Config{
		Brokers: s.Brokers, Floor: s.Floor, Topic: s.Topic, Topics: l.Topics, Security: s.config(), Existing: s.Existing, Keep: s.Keep, Partitions: s.Partitions, Replication: s.Replication,
		TopicConfig: s.TopicConfig, Driver: l.Driver, Workload: l.Workload, Shape: l.Shape(), FetchBytes: l.FetchBytes,
		FetchOrder: client.FetchOrder(l.FetchOrder), EndToEnd: l.EndToEnd, Consumers: l.Consumers, NoCheck: !l.Check, SpinMax: l.Spin, NoRealtime: !l.Realtime, NoAwake: !l.Realtime,
		Client: client.Config{Connections: l.Connections, InFlight: l.InFlight, Threads: l.Threads, RecordsPerRequest: l.RecordsPerRequest, Timeout: l.Timeout, Resend: l.Resend,
			PartitionBy: l.PartitionBy, Acks: l.Acks, Compression: l.Compression, Idempotence: l.Idempotence, Stages: l.Stages == "on" || l.Stages == "auto" && l.Driver == loadrun.DriverWire && l.Workload == loadrun.Produce && l.Acks != client.AcksNone},
	}
	if l.Spin == 0 {
		cfg.SpinMax = -1
	}
	if cfg.Floor == "" && len(cfg.Brokers) == 0 {
		return cfg, errors.New("give --brokers host:port, or --floor host:port")
	}
	return cfg, cfg.Validate()
}

// spec is a slice of load.
func spec(a *arrivalFlags, w *windowFlags) (loadrun.Spec, error) {
	sp := loadrun.Spec{For: w.For, Percentile: w.Judge, Gap: w.Gap,
		Arrivals: pace.Spec{Kind: pace.Kind(a.Arrivals), RatePerSecond: a.Rate, Burst: a.Burst, Seed: a.Seed,
			Shape: pace.Shape{RampTo: a.RampTo, RampOver: a.RampOver, On: a.On, Off: a.Off}}}
	if err := w.warmUp(&sp); err != nil {
		return sp, err
	}
	return sp, sp.Validate()
}

func (w *windowFlags) warmUp(sp *loadrun.Spec) error {
	if w.WarmUp == "auto" {
		sp.WarmUp = 30 * time.Second
		return nil
	}
	d, err := time.ParseDuration(w.WarmUp)
	if err != nil {
		// ParseDuration's own words would name a Go function.
		return fmt.Errorf("warm-up %s: want auto, or a duration such as 5s or 0s", strconv.Quote(w.WarmUp))
	}
	sp.Discard = d
	return nil
}
