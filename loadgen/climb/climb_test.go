package climb

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
	"ackline/loadgen/knee"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

// queue is a system with one server whose service times are exponential (M/M/1), worked out instead of waited for.
type queue struct {
	mu       float64 // per second
	room     float64 // s; what waits for longer than this waits for room. 0: it has all the room
	lateFrom float64 // rate from which the generator is late; 0: it never is
	report   *check.Report
	// slice changes what slice number n (from 0) gives; nil does not.
	slice func(n int, s *run.Slice)

	specs   []run.Spec
	checked int
	lastErr error // of the context that the check was given
}

func (q *queue) Slice(ctx context.Context, spec run.Spec) (*run.Slice, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	rate := spec.Arrivals.RatePerSecond
	rng := rand.New(rand.NewPCG(spec.Arrivals.Seed, math.Float64bits(rate)))
	out := &run.Slice{Set: hist.NewSet(), TimeoutNS: 10e9}
	lag := 0.0
	if q.lateFrom > 0 && rate >= q.lateFrom {
		lag = 0.005
	}
	at, free := 0.0, 0.0
	for ; at < spec.For.Seconds(); at += rng.ExpFloat64() / rate {
		begin := max(at+lag, free)
		free = begin + max(rng.ExpFloat64()/q.mu, 2e-6)
		ns := func(s float64) int64 { return int64(s * 1e9) }
		backlog := 0.0
		if q.room > 0 {
			backlog = max(begin-at-lag-q.room, 0)
		}
		out.Set.Record(ns(at), ns(at+lag), ns(at+lag+backlog), ns(free))
		out.Counts.Acked++
	}
	out.Counts.WindowSeconds, out.Counts.AllAcked = spec.For.Seconds(), out.Counts.Acked
	if spec.WarmUp > 0 {
		out.WarmUp = &result.WarmUp{Settled: true}
	}
	if q.slice != nil {
		q.slice(len(q.specs), out)
	}
	q.specs = append(q.specs, spec)
	if spec.Progress != nil {
		spec.Progress(run.Progress{})
	}
	return out, nil
}

func (q *queue) Check(ctx context.Context, _ func(read, acked int64)) (*check.Report, error) {
	q.checked++
	q.lastErr = ctx.Err()
	return q.report, nil
}

// about looks for p99 ≤ 2 ms.
func about() Config {
	return Config{Objective: knee.Objective{Percentile: 99, Limit: 2 * time.Millisecond}, Limits: knee.Limits{From: 1000, To: 64_000},
		Arrivals: pace.Spec{Kind: pace.Poisson, Seed: 5}, For: 100 * time.Millisecond, Longest: time.Minute, Discard: time.Second}
}

func climb(t *testing.T, q *queue, cfg Config) *Result {
	t.Helper()
	var began, seconds, ended int
	r, err := Run(t.Context(), q, cfg, Events{Begins: func(float64, int, time.Duration) { began++ }, Second: func(run.Progress) { seconds++ }, Ended: func(*Trial) { ended++ }})
	if err != nil {
		t.Fatal(err)
	}
	if began != len(q.specs) || seconds != began || ended != len(r.Trials) {
		t.Errorf("%d slices for %d trials: %d began, %d were seen while they went on, %d ended", len(q.specs), len(r.Trials), began, seconds, ended)
	}
	if q.checked != 1 || q.lastErr != nil {
		t.Errorf("checked %d times, with a context that says %v", q.checked, q.lastErr)
	}
	return r
}

func printed(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFindsTheKneeOfAQueue(t *testing.T) {
	q := &queue{mu: 20_000, report: &check.Report{Done: true, Acked: 5, Read: 5}}
	cfg := about()
	cfg.WarmUp = 30 * time.Second
	r := climb(t, q, cfg)
	truth := q.mu - math.Log(100)/0.002 // 17,697/s
	a := r.Answer
	if r.Verdict.Status != result.Valid || !a.Done || a.Kept < 0.9*truth || a.Missed > 1.1*truth || a.Missed > 1.05*a.Kept {
		t.Errorf("%+v, want a knee at %.0f\n%s", a, truth, printed(t, r))
	}
	if len(q.specs) != len(r.Trials)+1 || q.specs[0].WarmUp != 30*time.Second || r.WarmUp == nil {
		t.Errorf("%d slices for %d trials, warm-up %+v", len(q.specs), len(r.Trials), r.WarmUp)
	}
	seeds, acked := map[uint64]bool{}, int64(0)
	for i, trial := range r.Trials {
		spec := q.specs[i+1]
		seeds[spec.Arrivals.Seed] = true
		acked += trial.Counts.AllAcked
		if spec.Discard != time.Second || spec.WarmUp != 0 || spec.Arrivals.RatePerSecond != trial.RatePerSecond || spec.Arrivals.Seed != trial.Seed {
			t.Errorf("trial %d: %+v", i, spec)
		}
		if h := trial.Histograms; h == nil || !h.Response.Supports(99) || trial.Objective.US != float64(h.Response.Percentile(99, 0).NS)/1e3 {
			t.Errorf("trial %d: %d operations, %+v", i, h.Response.Total(), trial.Objective)
		}
	}
	if len(seeds) != len(r.Trials) || r.Acked <= acked {
		t.Errorf("%d seeds for %d trials; %d operations in all, %d of them in trials", len(seeds), len(r.Trials), r.Acked, acked)
	}
	text := printed(t, r)
	for _, want := range []string{"p99 ≤ 2ms: the knee lies between 1", "which missed it", "VALID", "→ kept", "→ missed", "o p50", "* p99", "- p99 ≤ 2ms", "5 records acknowledged"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	js, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(js, &back); err != nil || back.Answer != r.Answer || back.Trials[0].Histograms.Response.Count() != r.Trials[0].Histograms.Response.Count() {
		t.Errorf("%v: %+v", err, back.Answer)
	}
	var svg bytes.Buffer
	if err := r.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("CLIMB_SVG"); path != "" { // for those who want to look at it
		os.WriteFile(path, svg.Bytes(), 0o644)
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhereTheKneeIsNot(t *testing.T) {
	late := &queue{mu: 20_000, lateFrom: 9000}
	atOnce := &queue{mu: 20_000, lateFrom: 1}
	between := &queue{mu: 20_000, slice: func(n int, s *run.Slice) {
		if rate := s.Counts.Rate(); rate > 16_500 && rate < 30_000 {
			for range 10_000 {
				s.Set.Record(0, 5e6, 5e6, 6e6)
			}
		}
	}}
	low := about()
	low.Limits.To = 8000
	for _, c := range []struct {
		name   string
		q      *queue
		cfg    Config
		says   string
		status result.Status
	}{
		{"a slow system", &queue{mu: 500}, about(), "missed at 1,000/s, the lowest rate tried", result.Valid},
		{"a fast system", &queue{mu: 20_000}, low, "kept at 8,000/s, the highest rate that was allowed", result.Valid},
		{"a late generator", late, about(), "not established above: at 9,", result.Valid},
		{"a generator that is always late", atOnce, about(), "not established at 1,000/s or above: the generator was late", result.Invalid},
		{"a generator that is late in between", between, about(), "it is not established: the generator was late", result.Valid},
	} {
		r := climb(t, c.q, c.cfg)
		if !strings.Contains(r.Sentence(), c.says) || r.Verdict.Status != c.status {
			t.Errorf("%s: %q, %+v; want %q, %s", c.name, r.Sentence(), r.Verdict, c.says, c.status)
		}
		if c.q == late && (r.Answer.Kept > 9000 || r.Answer.Missed != 0 || r.Answer.Unproven < 9000 || !strings.Contains(r.Sentence(), "the generator was late")) {
			t.Errorf("%s: %+v, %s", c.name, r.Answer, r.Sentence())
		}
		for _, x := range r.Rates() {
			if c.q == late && (x.PerSecond >= 9000 || x.Trials != 2) {
				t.Errorf("%s: the curve has %d trials at %g/s", c.name, x.Trials, x.PerSecond)
			}
		}
		printed(t, r)
	}
}

// A system that lost a record has no knee, no latency and no picture.
func TestFailedCheckPublishesNothing(t *testing.T) {
	q := &queue{mu: 20_000, report: &check.Report{Done: true, Acked: 100, Read: 99, Lost: 1}}
	cfg := about()
	cfg.WarmUp = time.Second
	r := climb(t, q, cfg)
	if r.Verdict.Status != result.Failed || r.Answer != (knee.Answer{}) || len(r.Trials) == 0 {
		t.Errorf("%+v, %+v", r.Verdict, r.Answer)
	}
	js, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"hdr", `"p99"`, `"p50"`, "p50_us", "outcome", "lag_p99"} {
		if strings.Contains(string(js), leak) {
			t.Errorf("the JSON has %s", leak)
		}
	}
	if text := printed(t, r); strings.Contains(text, "µs") || strings.Contains(text, "kept") || !strings.Contains(text, "no knee is published") || !strings.Contains(text, "CHECK FAILED") {
		t.Errorf("%s", text)
	}
	if err := r.SVG(io.Discard); !errors.Is(err, knee.ErrNoTrial) {
		t.Errorf("svg: %v", err)
	}
}

func TestEndsEarly(t *testing.T) {
	q := &queue{mu: 20_000, report: &check.Report{Done: true}, slice: func(n int, s *run.Slice) {
		if n == 3 {
			s.Ended = "connection refused"
		}
	}}
	r := climb(t, q, about())
	if !r.Verdict.Has(result.EndedEarly) || len(r.Trials) != 3 || r.Answer.Done || !strings.Contains(r.Sentence(), "kept at 1,000/s; the search did not come to its end") {
		t.Errorf("%+v, %d trials, %s", r.Verdict, len(r.Trials), r.Sentence())
	}
	q = &queue{mu: 20_000, slice: func(_ int, s *run.Slice) { s.WarmUp = &result.WarmUp{Why: "for a reason"} }}
	cfg := about()
	cfg.WarmUp = time.Second
	if r := climb(t, q, cfg); !r.Verdict.Has(result.WarmingUp) || len(q.specs) != 1 {
		t.Errorf("%+v after %d slices", r.Verdict, len(q.specs))
	}
	q = &queue{mu: 20_000, report: &check.Report{Error: "no broker answers"}}
	if r := climb(t, q, about()); r.Verdict.Status != result.Invalid || !r.Verdict.Has(result.Unchecked) {
		t.Errorf("%+v", r.Verdict)
	}
}

// An interruption ends the trials, not the check.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	q := &queue{mu: 20_000, report: &check.Report{Done: true}}
	cfg := about()
	cfg.Rest = time.Hour // nobody waits for it to end
	var began int
	time.AfterFunc(time.Millisecond, cancel)
	r, err := Run(ctx, q, cfg, Events{Begins: func(float64, int, time.Duration) { began++ }})
	if err != nil || began != 0 || q.checked != 1 || q.lastErr != nil || !r.Verdict.Has(result.EndedEarly) || r.Ended != interrupted {
		t.Errorf("%v; %d trials began; checked %d times with %v; %+v", err, began, q.checked, q.lastErr, r)
	}
}

// A knee that is that of the window is said to be so.
func TestWindowIsNamed(t *testing.T) {
	if text := printed(t, climb(t, &queue{mu: 20_000, room: 10e-6}, about())); !strings.Contains(text, "places in flight") {
		t.Errorf("%s", text)
	}
	if text := printed(t, climb(t, &queue{mu: 20_000}, about())); strings.Contains(text, "places in flight") {
		t.Errorf("%s", text)
	}
}

func TestBadConfigs(t *testing.T) {
	if err := about().Validate(); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Config){
		"rates from 0":           func(c *Config) { c.Limits.From = 0 },
		"closed loop":            func(c *Config) { c.Arrivals.Kind = pace.Closed },
		"does not change":        func(c *Config) { c.Arrivals.Shape = pace.Shape{RampTo: 5, RampOver: time.Second} },
		"at most an hour":        func(c *Config) { c.For, c.Longest = 2*time.Hour, 3*time.Hour },
		"none may be negative":   func(c *Config) { c.Rest = -1 },
		"begin at a higher rate": func(c *Config) { c.Limits.From = 10 },
		"odd number":             func(c *Config) { c.Limits.Trials = 4 },
	} {
		c := about()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if _, err := Run(t.Context(), &queue{mu: 1}, c, Events{}); err == nil {
			t.Errorf("%s: it runs", says)
		}
	}
}
