// Package selftest measures the generator instead of a system, and says up to where it can be believed on this host.
//
// The problem: an instrument that is late, or that takes a good part of what it measures, does not show it in its own figures.
// So the generator is put in front of a responder that takes next to nothing (package null), in another process, and five things
// are asked: how late it is at 1,000/s, what a request costs beyond a bare echo of the same sizes, how many requests and how many
// records a second one core of it can make, and at which rate its lag becomes more than a verdict would allow. The last depends on
// what is measured: a lag of 40 µs spoils a system that answers in 200 µs and is nothing beside one that takes 5 ms.
//
// The responder is spoken to as a broker, with the ledger for the check filled as in any run. (A floor would be the simpler
// target, but the driver does not look into a floor's answers, so that part of its cost would not be seen.)
package selftest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
	"ackline/tools/version"
)

// Config is what a self-test needs.
type Config struct {
	// Null and Echo are the host:port addresses of a responder. Needed.
	Null, Echo string
	// PID is the responder's process, which is kept off the generator's core while one core is measured. 0: it is left alone.
	PID int
	// For is the length of each step. 0: as long as each needs, about 50 s in all.
	For time.Duration
	// Seed selects the Poisson arrivals. Every value is a seed.
	Seed uint64
	// Progress is told what happens next; nil is allowed.
	Progress func(what string)
}

// What is asked of the generator on an otherwise idle host.
const (
	maxLagP50US  = 15
	maxLagP99US  = 50
	maxCPUShare  = 0.05
	maxBeyondUS  = 10
	minRequests  = 100_000
	minRecords   = 500_000
	pacingRate   = 1000
	valueBytes   = 1024
	batchRecords = 100
	// connections and window are those of every step but the one with a single request in flight.
	connections = 8
	window      = 32
)

const (
	// discard is what each step leaves out at its beginning.
	discard = 200 * time.Millisecond
	// stepFor is the length of a step that needs no count, echoFor of the comparison with the echo.
	stepFor = 3 * time.Second
	echoFor = 4 * time.Second
	// timeout bounds a request. Nothing here takes a thousandth of it.
	timeout = 5 * time.Second
	// topic is one that every responder knows.
	topic = "selftest"
)

// lengthAt is how long arrivals at a rate are measured: long enough for a p99.
func (c *Config) lengthAt(rate float64) time.Duration {
	if c.For > 0 {
		return c.For
	}
	return max(stepFor, time.Duration(math.Ceil(1.02*float64(hist.Needed(99))/rate*1e9)))
}

// length is how long a step of rounds takes.
func (c *Config) length(otherwise time.Duration) time.Duration {
	if c.For > 0 {
		return c.For
	}
	return otherwise
}

func (c *Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// Validate says what is wrong with c.
func (c *Config) Validate() error {
	if c.Null == "" || c.Echo == "" {
		return errors.New("self-test: the address of the responder or of its echo is missing")
	}
	if c.For < 0 || c.For > time.Hour || (c.For > 0 && c.For < 100*time.Millisecond) {
		return fmt.Errorf("self-test: steps of %v, want 0 (as long as each needs) or 100ms to 1h", c.For)
	}
	return nil
}

// Run does all of it. The error says that there is nothing to report; ctx ends it so.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	defer run.Quiet(runtime.NumCPU())()
	r := &Report{Format: Format, Version: version.String(), Started: time.Now(), CPUs: runtime.NumCPU(), Seed: cfg.Seed}
	for _, step := range []func(context.Context, *Config, *Report) error{ladder, beyondEcho, oneCore} {
		if err := step(ctx, &cfg, r); err != nil {
			if ctx.Err() != nil {
				return nil, errInterrupted
			}
			return nil, err
		}
	}
	r.judge()
	return r, nil
}

var errInterrupted = errors.New("interrupted")

// open opens a session with the responder.
func open(ctx context.Context, cfg *Config, c client.Config) (*run.Session, error) {
	c.Timeout = timeout
	return run.Open(ctx, run.Config{Brokers: []string{cfg.Null}, Topic: topic, Existing: true, ValueBytes: valueBytes, Client: c})
}

// slice puts load on a session. A load that did not come to its end gives nothing.
func slice(ctx context.Context, s *run.Session, spec run.Spec) (*run.Slice, error) {
	out, err := s.Slice(ctx, spec)
	switch {
	case err != nil:
		return nil, err
	case out.Interrupted:
		return nil, errInterrupted
	case out.Ended != "":
		return nil, fmt.Errorf("the responder cannot be reached any more: %s", out.Ended)
	case out.Counts.Failed > out.Counts.Unsent:
		return nil, fmt.Errorf("the responder failed %d of %d requests: %v", out.Counts.Failed, out.Counts.Arrivals, out.Counts.Errors)
	}
	return out, nil
}

// rates are the rungs of the ladder. The first is also the one at which pacing is judged.
var rates = []float64{pacingRate, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000}

// ladder raises the rate of Poisson arrivals until the generator would not be believed whatever it measured.
func ladder(ctx context.Context, cfg *Config, r *Report) error {
	s, err := open(ctx, cfg, client.Config{Connections: connections, InFlight: window})
	if err != nil {
		return err
	}
	defer s.Close()
	e := s.Effective()
	r.Ladder.Connections, r.Ladder.InFlight, r.Ladder.Threads = len(e.Connections), e.InFlight, e.Threads
	for _, rate := range rates {
		length := cfg.lengthAt(rate)
		rung, err := undisturbed(func(try int) (Rung, error) {
			cfg.say("pacing: Poisson arrivals at %.0f/s for %v", rate, length.Round(100*time.Millisecond))
			out, err := slice(ctx, s, run.Spec{Arrivals: pace.Spec{Kind: pace.Poisson, RatePerSecond: rate, Seed: cfg.Seed + uint64(try)}, For: length, Discard: discard, Percentile: 99})
			if err != nil {
				return Rung{}, err
			}
			return rungOf(rate, out), nil
		})
		if err != nil {
			return err
		}
		r.Ladder.Rungs = append(r.Ladder.Rungs, rung)
		if rung.Saturated || rung.LagP99US > allowedUS(slowestClass) {
			break
		}
	}
	return nil
}

// rungTries is how often a rung is run while the host gives the CPU to others: what was measured then is the host.
const rungTries = 2

// undisturbed is the first rung that the host let alone, or the last.
func undisturbed(try func(n int) (Rung, error)) (r Rung, err error) {
	for n := range rungTries {
		if r, err = try(n); err != nil || !r.disturbed() {
			break
		}
	}
	return r, err
}

// rungOf puts a slice into figures.
func rungOf(rate float64, out *run.Slice) Rung {
	us := func(h *hist.Hist, p float64) float64 { return float64(h.Percentile(p, out.TimeoutNS).NS) / 1e3 }
	g := out.Generator
	r := Rung{RatePerSecond: rate, Operations: out.Set.Response.Total(), LagP50US: us(out.Set.Lag, 50), LagP99US: us(out.Set.Lag, 99), P50US: us(out.Set.Response, 50),
		P99US: us(out.Set.Response, 99), Enough: out.Set.Response.Supports(99), Lag: out.Set.Lag, Response: out.Set.Response,
		CPUShare: (g.UserSeconds + g.SystemSeconds) / (out.Counts.WindowSeconds + discard.Seconds())}
	r.Saturated = out.Counts.Unsent > 0 || us(out.Set.Backlog, 50) > r.P50US/2
	v := out.Verdict()
	r.Valid, r.Reasons = v.Status == result.Valid, v.Reasons
	return r
}

// oneCore makes requests as fast as they are answered, on one core of the generator's.
func oneCore(ctx context.Context, cfg *Config, r *Report) error {
	undo, how, err := oneCPU(cfg.PID)
	if err != nil {
		return err
	}
	r.OneCore.How = how
	err = errors.Join(closed(ctx, cfg, 1, &r.OneCore.Single), closed(ctx, cfg, batchRecords, &r.OneCore.Batched))
	return errors.Join(err, undo())
}

func closed(ctx context.Context, cfg *Config, records int, out *Throughput) error {
	length := cfg.length(stepFor)
	cfg.say("closed loop on one core: %d × %d in flight, records in a request: %d, for %v", connections, window, records, length)
	s, err := open(ctx, cfg, client.Config{Connections: connections, InFlight: window, Threads: 1, RecordsPerRequest: records})
	if err != nil {
		return err
	}
	defer s.Close()
	before, err := counted(ctx, cfg)
	if err != nil {
		return err
	}
	sl, err := slice(ctx, s, run.Spec{Arrivals: pace.Spec{Kind: pace.Closed}, For: length, Discard: discard})
	if err != nil {
		return err
	}
	after, err := counted(ctx, cfg)
	if err != nil {
		return err
	}
	c := sl.Counts
	if err := agree(after-before, c.AllRecords); err != nil {
		return err
	}
	*out = Throughput{RecordsPerRequest: records, Requests: c.Acked, Seconds: c.WindowSeconds, RequestsPerSecond: c.Rate(),
		RecordsPerSecond: float64(c.Records) / c.WindowSeconds, RequestBytes: s.Effective().RequestBytes}
	return nil
}

// counted is how many records the responder has answered for.
func counted(ctx context.Context, cfg *Config) (n int64, err error) {
	cl, err := cluster.New([]string{cfg.Null}, timeout)
	if err != nil {
		return 0, err
	}
	t, err := cl.Topic(ctx, topic)
	if err != nil {
		return 0, err
	}
	ends, err := cl.EndOffsets(ctx, t)
	for _, end := range ends {
		n += end
	}
	return n, err
}

// agree compares what the responder and the generator counted. A throughput that only the one who is measured has seen is not believed.
func agree(responder, generator int64) error {
	if responder != generator {
		return fmt.Errorf("the responder answered for %d records and the generator counts %d", responder, generator)
	}
	return nil
}
