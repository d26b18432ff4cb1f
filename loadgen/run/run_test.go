package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// floorServer answers every frame with one that holds its correlation id, after delay.
func floorServer(t *testing.T, delay *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		request, reply := make([]byte, 1<<20), make([]byte, 60)
		for {
			if _, err := io.ReadFull(c, request[:4]); err != nil {
				return
			}
			if _, err := io.ReadFull(c, request[4:4+binary.BigEndian.Uint32(request)]); err != nil {
				return
			}
			if d := delay.Load(); d > 0 {
				time.Sleep(time.Duration(d))
			}
			binary.BigEndian.PutUint32(reply, uint32(len(reply)-4))
			copy(reply[frame.ReplyCorrelationAt:], request[frame.CorrelationAt:frame.CorrelationAt+4])
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T, cfg Config) *Session {
	t.Helper()
	cfg.Topic = "t"
	if cfg.Client.Timeout == 0 {
		cfg.Client.Timeout = patience
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func slice(t *testing.T, s *Session, spec Spec) *Slice {
	t.Helper()
	out, err := s.Slice(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func constant(rate float64) pace.Spec { return pace.Spec{Kind: pace.Constant, RatePerSecond: rate} }

var closed = pace.Spec{Kind: pace.Closed}

// Slices on one session, open and closed: what is counted is what was asked for, and the parts of a response add up.
func TestSlices(t *testing.T) {
	s := open(t, Config{Floor: floorServer(t, new(atomic.Int64)), Client: client.Config{Connections: 2, InFlight: 4, Threads: 2}})
	for range 2 {
		out := slice(t, s, Spec{Arrivals: constant(1000), For: 500 * time.Millisecond, Discard: 200 * time.Millisecond})
		c := out.Counts
		if c.Arrivals != 500 || c.Acked != 500 || c.Failed != 0 || c.AllAcked != 700 || c.Records != 500 || c.ValueBytes != 500*1024 {
			t.Errorf("open: %+v, want 500 of 700", c)
		}
		if out.Set.Response.Count() != 500 || math.Abs(c.WindowSeconds-0.5) > 0.01 || math.Abs(c.Rate()-1000) > 20 {
			t.Errorf("open: %d responses in %g s", out.Set.Response.Count(), c.WindowSeconds)
		}
		sum := out.Set.Lag.Mean() + out.Set.Backlog.Mean() + out.Set.Service.Mean()
		if resp := out.Set.Response.Mean(); math.Abs(sum-resp) > 0.02*resp+1500 {
			t.Errorf("lag + backlog + service = %.0f ns, response %.0f", sum, resp)
		}
	}
	out := slice(t, s, Spec{Arrivals: closed, For: time.Hour, Count: 3001})
	if c := out.Counts; c.Arrivals != 3001 || c.Acked != 3001 || c.WindowSeconds >= 3600 {
		t.Errorf("closed: %+v, want 3001 operations", c)
	}
}

// An arrival that finds the window full is late because of the system. That is backlog, and no reason to discard the run.
func TestStallIsBacklogNotLag(t *testing.T) {
	delay := new(atomic.Int64)
	delay.Store(int64(5 * time.Millisecond))
	s := open(t, Config{Floor: floorServer(t, delay)})
	out := slice(t, s, Spec{Arrivals: constant(400), For: 500 * time.Millisecond})
	if out.Counts.Acked != 200 {
		t.Fatalf("%+v: every arrival must be sent and answered in the end", out.Counts)
	}
	if p := out.Set.Backlog.Percentile(90, 0).NS; p < int64(200*time.Millisecond) {
		t.Errorf("p90 backlog %v although the system takes twice as long as there is time", hist.Value{NS: p})
	}
	// Half of the arrivals wait for a hundred others, less the quarter of a second in which those came.
	if s, b := out.Set.Service.Percentile(50, 0).NS, out.Set.Backlog.Percentile(50, 0).NS; s > b/5 {
		t.Errorf("service %v contains the waiting, which was %v", hist.Value{NS: s}, hist.Value{NS: b})
	}
	if v := out.Verdict(); v.Has(result.Lag) {
		t.Errorf("%+v", v)
	}
}

// A collection within a slice is seen. What a verdict makes of it is TestCollectingGeneratorIsInvalid's.
func TestCollectionsAreSeen(t *testing.T) {
	s := open(t, Config{Floor: floorServer(t, new(atomic.Int64))})
	out := slice(t, s, Spec{Arrivals: constant(100), For: 1100 * time.Millisecond, Progress: func(Progress) { runtime.GC() }})
	// The slice's last second is finished when its monitor still runs.
	if out.Generator.GarbageCollections == 0 || len(out.Tail.Garbage) == 0 {
		t.Errorf("%d collections in %+v", out.Generator.GarbageCollections, out.Tail.Garbage)
	}
}

func cfgFor(b *brokertest.Cluster) Config {
	return Config{Brokers: []string{b.Addr()}, Topic: "t", ValueBytes: 100, Client: client.Config{Timeout: patience}}
}

func TestWholeRun(t *testing.T) {
	for _, driver := range []string{DriverWire, DriverKgo} {
		b := brokertest.Start(t, 1)
		cfg := cfgFor(b)
		cfg.Driver, cfg.Partitions, cfg.EndToEnd = driver, 2, true
		cfg.Client.Connections = 2
		var opened, seconds int
		var logged int64
		r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(500), For: 1500 * time.Millisecond,
			Progress: func(Progress) { seconds++ },
			Seconds: func(start, end time.Time, warm bool, set *hist.Set) {
				if end.Sub(start) != time.Second || warm {
					t.Errorf("a second from %v to %v, warm: %v", start, end, warm)
				}
				logged += set.Response.Count()
			}}, Events{Opened: func(*Session) { opened++ }})
		if err != nil {
			t.Fatal(err)
		}
		c := r.Counts
		if c.Acked != 750 || r.Check == nil || !r.Check.Passed() || r.Check.Acked != 750 || opened != 1 || seconds < 2 || logged != 750 {
			t.Errorf("%s: %+v, check %+v, %d seconds with %d operations", driver, c, r.Check, seconds, logged)
		}
		l := r.Latency
		if l.EndToEnd.Count() != 750 || l.Unread != 0 || l.Delivery.Count() != 750 || l.EndToEnd.Mean() < l.Delivery.Mean() {
			t.Errorf("%s: end to end of %d, %d unread", driver, l.EndToEnd.Count(), l.Unread)
		}
		if r.Verdict.Has(result.BadData) || r.Verdict.Has(result.Unchecked) || r.Verdict.Has(result.EndedEarly) {
			t.Errorf("%s: %+v", driver, r.Verdict)
		}
		if b.Has("t") {
			t.Errorf("%s: the topic was not deleted", driver)
		}
	}
}

// The log's seconds add up to the measured operations even when some were discarded within a second.
func TestSecondsAddUp(t *testing.T) {
	s := open(t, Config{Floor: floorServer(t, new(atomic.Int64))})
	var out bytes.Buffer
	log, err := hist.NewLog(&out, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res := slice(t, s, Spec{Arrivals: constant(1000), For: 1200 * time.Millisecond, Discard: 300 * time.Millisecond,
		Seconds: func(start, end time.Time, warm bool, set *hist.Set) {
			if err := log.Interval(start, end, set); err != nil {
				t.Error(err)
			}
		}})
	n := int64(0)
	for r := hdr.NewHistogramLogReader(&out); ; {
		h, err := r.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		if h.Tag() == "" {
			n += h.TotalCount()
		}
	}
	if n != 1200 || res.Counts.Acked != 1200 {
		t.Errorf("%d operations in the log, %d measured, want 1200", n, res.Counts.Acked)
	}
}

func TestFailedCheckHasNoLatency(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{LoseBatch: 100})
	cfg := cfgFor(b)
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(1000), For: 300 * time.Millisecond}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Status != result.Failed || r.Latency != nil || r.Check.Lost != 1 {
		t.Errorf("%+v, check %+v", r.Verdict, r.Check)
	}
}

func TestTooFewSamplesIsInvalid(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(1000), For: 300 * time.Millisecond, Percentile: 99}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Status != result.Invalid || !r.Verdict.Has(result.Samples) {
		t.Errorf("%+v", r.Verdict)
	}
}

// A system that gets slower all the time never settles; the run ends all the same, INVALID.
func TestUnsettledIsInvalid(t *testing.T) {
	t.Parallel()
	delay := new(atomic.Int64)
	s := open(t, Config{Floor: floorServer(t, delay)})
	out := slice(t, s, Spec{Arrivals: constant(100), For: 100 * time.Millisecond, WarmUp: 5 * time.Second,
		Progress: func(p Progress) { delay.Add(int64(time.Millisecond)) }})
	if v := out.Verdict(); !v.Has(result.WarmingUp) || len(out.WarmUp.P50US) != 5 || out.Counts.Acked != 10 {
		t.Errorf("%+v, warm-up %+v, %d measured", v, out.WarmUp, out.Counts.Acked)
	}
}

// A steady system is measured right after it has settled, and the operations of the warm-up are left out.
func TestSettledIsMeasured(t *testing.T) {
	delay := new(atomic.Int64)
	delay.Store(int64(400 * time.Millisecond)) // so long that a busy machine's noise is below 5%
	s := open(t, Config{Floor: floorServer(t, delay), Client: client.Config{Connections: 16}})
	out := slice(t, s, Spec{Arrivals: constant(20), For: 500 * time.Millisecond, WarmUp: patience})
	w := out.WarmUp
	if !w.Settled || len(w.P50US) < 5 || out.Counts.Acked != 10 || out.Counts.AllAcked < 5*20+10 {
		t.Errorf("warm-up %+v, %d measured of %d", w, out.Counts.Acked, out.Counts.AllAcked)
	}
	warm := 0
	for _, sec := range out.Series {
		if sec.WarmUp {
			warm++
		}
	}
	if float64(warm) != w.Seconds {
		t.Errorf("%d seconds of the series are warm-up, which took %g", warm, w.Seconds)
	}
}

// The system goes away in the middle: the run ends by itself, says why, and counts what was never answered.
func TestBrokerDiesMidway(t *testing.T) {
	t.Parallel()
	for _, inFlight := range []int{1, 8} {
		b := brokertest.Start(t, 1)
		b.Create("t", 1)
		cfg := cfgFor(b)
		cfg.Existing, cfg.Client.InFlight, cfg.Client.Timeout = true, inFlight, 2*time.Second
		killed := false
		r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(500), For: time.Minute, Progress: func(Progress) {
			if !killed {
				killed = true
				b.Kill(1)
			}
		}}, Events{})
		if err != nil {
			t.Fatal(err)
		}
		v := r.Verdict
		if v.Status != result.Invalid || !v.Has(result.EndedEarly) || !v.Has(result.Unchecked) || r.Counts.Failed == 0 || r.Counts.Unsent == 0 {
			t.Errorf("%d in flight: %+v, counts %+v", inFlight, v, r.Counts)
		}
		if got := r.Latency.Set.Response.Failed(); got != r.Counts.Failed || r.Counts.Acked+r.Counts.Failed != r.Counts.Arrivals {
			t.Errorf("%d in flight: %d failures in the histogram, counts %+v", inFlight, got, r.Counts)
		}
		if !r.Latency.Set.Response.Percentile(100, 1).AtLeast {
			t.Error("the slowest operation has a latency although some have none")
		}
	}
}

// A broker that falls silent at the end: what is unanswered ranks above everything.
func TestSilenceAtTheEnd(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cfg := cfgFor(b)
	b.Break(brokertest.Faults{MuteFrom: 200})
	cfg.Existing, cfg.Client.Timeout = true, 600*time.Millisecond
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(200), For: 1900 * time.Millisecond}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Counts.Failed == 0 || r.Counts.Acked+r.Counts.Failed != r.Counts.Arrivals || r.Counts.Arrivals != 380 {
		t.Errorf("%+v", r.Counts)
	}
	if r.Check.Faults() != 0 {
		t.Errorf("what was stored without an answer counts as a fault: %+v", r.Check)
	}
}

func TestInterruptKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen atomic.Int64 // before the interruption
	r, err := Run(ctx, cfg, Spec{Arrivals: constant(500), For: time.Hour, Progress: func(p Progress) {
		if ctx.Err() == nil {
			seen.Store(p.Acked)
		}
		cancel()
	}}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Counts
	if seen.Load() == 0 || c.Acked < seen.Load() || c.WindowSeconds >= 3600 || !r.Check.Passed() || b.Has("t") {
		t.Errorf("%d seen, %+v, check %+v, topic still there: %v", seen.Load(), c, r.Check, b.Has("t"))
	}
	if rate := float64(c.Arrivals) / c.WindowSeconds; math.Abs(rate-500) > 5 || c.Acked+c.Failed != c.Arrivals {
		t.Errorf("%.0f arrivals/s in the window of %g s: %+v", rate, c.WindowSeconds, c)
	}
}

func TestFetchWorkload(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	cfg.Keep = true
	if _, err := Run(context.Background(), cfg, Spec{Arrivals: closed, For: time.Hour, Count: 1000}, Events{}); err != nil {
		t.Fatal(err)
	}
	cfg.Existing, cfg.Workload, cfg.FetchBytes = true, Fetch, 5000
	r, err := Run(context.Background(), cfg, Spec{Arrivals: closed, For: time.Hour, Count: 60}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Counts; c.Acked != 60 || c.Records < 1000 || c.ValueBytes < c.Records*100 || r.Check != nil {
		t.Errorf("%+v, check %+v", c, r.Check)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	ok := Config{Brokers: []string{"a:1"}, Topic: "t"}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*Config){
		"no target":        func(c *Config) { c.Brokers = nil },
		"two targets":      func(c *Config) { c.Floor = "a:1" },
		"which exists":     func(c *Config) { c.Topic, c.Existing = "", true },
		"made and there":   func(c *Config) { c.Existing, c.Replication = true, 3 },
		"fetch of nothing": func(c *Config) { c.Workload = Fetch },
		"floor with TLS":   func(c *Config) { c.Brokers, c.Floor, c.Security.TLS = nil, "a:1", true },
		"half a security":  func(c *Config) { c.Security.User = "u" },
		"driver":           func(c *Config) { c.Driver = "java" },
		"workload":         func(c *Config) { c.Workload = "delete" },
		"kgo fetches":      func(c *Config) { c.Workload, c.Driver = Fetch, DriverKgo },
		"small":            func(c *Config) { c.ValueBytes = 23 },
		"order":            func(c *Config) { c.FetchOrder = "backwards" },
		"batches have one": func(c *Config) { c.EndToEnd, c.Client.RecordsPerRequest = true, 2 },
		"connections":      func(c *Config) { c.Client.Connections = -1 },
		"timeout":          func(c *Config) { c.Client.Timeout = -1 },
		"floor with kgo":   func(c *Config) { c.Brokers, c.Floor, c.Driver = nil, "a:1", DriverKgo },
	} {
		c := ok
		f(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, s := range []Spec{{}, {Arrivals: closed}, {Arrivals: closed, For: -1}, {Arrivals: closed, For: 1, Count: -1}, {Arrivals: closed, For: 1, Percentile: 100}} {
		if s.Validate() == nil {
			t.Errorf("%+v: accepted", s)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	b := brokertest.Start(t, 1)
	ctx := context.Background()
	missing := cfgFor(b)
	missing.Existing = true
	if _, err := Open(ctx, missing); err == nil || !strings.Contains(err.Error(), "no such topic") {
		t.Errorf("a missing topic: %v", err)
	}
	b.Break(brokertest.Faults{MinProduce: 10})
	if _, err := Open(ctx, cfgFor(b)); err == nil || !strings.Contains(err.Error(), "Produce version 9") {
		t.Errorf("a broker without Produce v9: %v", err)
	}
	b.Kill(1)
	if _, err := Open(ctx, cfgFor(b)); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nothing listening: %v", err)
	}
}
