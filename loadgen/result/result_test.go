package result

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/hist"
)

const (
	us      = int64(time.Microsecond)
	ms      = int64(time.Millisecond)
	timeout = 10 * int64(time.Second)
)

// sound is the evidence of a run with nothing wrong: 20,000 operations of 100–300 µs.
func sound() Evidence {
	s := hist.NewSet()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range int64(20_000) {
		at := i * ms
		s.Record(at, at+us, at+2*us, at+100*us+rng.Int64N(200*us))
	}
	return Evidence{Set: s, TimeoutNS: timeout, Percentile: 99, WarmUp: &WarmUp{Settled: true}, Check: &check.Report{Done: true, Acked: 20_000, Read: 20_000}}
}

func TestSoundRunIsValid(t *testing.T) {
	if v := Judge(sound()); v.Status != Valid || len(v.Reasons) != 0 {
		t.Errorf("%+v", v)
	}
}

// Every reason for discarding a run, provoked alone.
func TestEachReason(t *testing.T) {
	for _, c := range []struct {
		code   Code
		status Status
		says   string
		break_ func(*Evidence)
	}{
		{Lag, Invalid, "p99 lag is 50.2 µs", func(e *Evidence) {
			for i := range int64(300) {
				e.Set.Record(i*ms, i*ms+50*us, i*ms+50*us, i*ms+200*us)
			}
		}},
		{OutOfRange, Invalid, "3 values", func(e *Evidence) {
			e.Set.Record(0, 0, 0, hist.HighestNS+1) // response and service
			e.Set.Lag.Record(-1)                    // a clock that went back
		}},
		{Samples, Invalid, "p99.9 needs 100000 operations, there are 20000", func(e *Evidence) { e.Percentile = 99.9 }},
		{WarmingUp, Invalid, "for a reason", func(e *Evidence) { e.WarmUp = &WarmUp{Why: "for a reason"} }},
		{EndedEarly, Invalid, "connection refused", func(e *Evidence) { e.Ended = "connection refused" }},
		{Unchecked, Invalid, "no leader", func(e *Evidence) { e.Check = &check.Report{Error: "no leader"} }},
		{BadData, Failed, "2 are lost", func(e *Evidence) { e.Check.Lost = 2 }},
		{BadData, Failed, "1 are there again", func(e *Evidence) { e.Check.Duplicated = 1 }},
		{BadData, Failed, "1 out of order", func(e *Evidence) { e.Check.Reordered = 1 }},
		{BadData, Failed, "1 at another offset", func(e *Evidence) { e.Check.WrongOffset = 1 }},
		{BadData, Failed, "1 changed", func(e *Evidence) { e.Check.WrongBytes = 1 }},
		{Starved, Invalid, "got no CPU", func(e *Evidence) { e.Tail = starving() }},
		{Garbage, Invalid, "collected garbage", func(e *Evidence) {
			e.Tail = disturbed()
			e.Tail.Garbage = e.Tail.Limited
			e.Tail.Limited = nil
		}},
		{CPULimit, Invalid, "the host took", func(e *Evidence) { e.Tail = disturbed() }},
	} {
		e := sound()
		c.break_(&e)
		v := Judge(e)
		if v.Status != c.status || len(v.Reasons) != 1 || !v.Has(c.code) || !strings.Contains(v.Reasons[0].Text, c.says) {
			t.Errorf("%s: %+v, want %s saying %q", c.code, v, c.status, c.says)
		}
	}
}

func TestBacklogNeverInvalidates(t *testing.T) {
	e := sound()
	for i := range int64(5000) { // a quarter of the run waited for seconds
		e.Set.Record(i*ms, i*ms, i*ms+3000*ms, i*ms+3001*ms)
	}
	if v := Judge(e); v.Status != Valid {
		t.Errorf("%+v", v)
	}
}

func TestAllowedLag(t *testing.T) {
	for resp, want := range map[int64]int64{0: 20 * us, 400 * us: 20 * us, 1000 * us: 50 * us, 100 * ms: 5 * ms} {
		if got := Allowed(resp); got != want {
			t.Errorf("response %d: lag of %d allowed, want %d", resp, got, want)
		}
	}
}

// starving is a tail whose slow operations were slow because the generator's thread got no CPU.
func starving() Tail {
	t := Tail{Total: 20_000, Window: Span{0, 20_000 * ms}, TypicalDelayNS: 5 * us}
	for i := range int64(400) {
		op := TailOp{Intended: i * 50 * ms, Acked: i*50*ms + 290*us, DelayNS: 5 * us}
		if i%2 == 0 {
			op.Acked, op.DelayNS = op.Intended+900*us, 650*us
		}
		t.Ops = append(t.Ops, op)
	}
	return t
}

// disturbed is a tail of which most falls into 2% of the time.
func disturbed() Tail {
	t := Tail{Total: 20_000, Window: Span{0, 20_000 * ms}, LimitedBy: "the host took CPU time away"}
	for i := range int64(40) {
		t.Limited = append(t.Limited, Span{i * 500 * ms, i*500*ms + 10*ms})
		for k := range int64(8) {
			at := i*500*ms + k*ms
			t.Ops = append(t.Ops, TailOp{Intended: at, Acked: at + 2*ms})
		}
		for k := range int64(4) {
			at := i*500*ms + (k+2)*50*ms
			t.Ops = append(t.Ops, TailOp{Intended: at, Acked: at + 300*us})
		}
	}
	return t
}

// A tail that has nothing to do with what happened to the generator stays the system's: a run is not INVALID because garbage
// was collected at some time or another, or because its threads wait a little for every wake-up.
func TestUnrelatedDisturbanceIsNoReason(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	reasons := 0
	for range 50 {
		tail := Tail{Total: 100_000, Window: Span{0, 100_000 * ms}, TypicalDelayNS: 8 * us}
		for i := int64(0); i < 100_000; i += 250 {
			if rng.IntN(3) == 0 { // 8% of the time, wherever
				tail.Garbage = append(tail.Garbage, Span{i * ms, (i + 60) * ms})
				tail.Limited = append(tail.Limited, Span{(i + 100) * ms, (i + 120) * ms})
			}
		}
		for range 3000 {
			at := rng.Int64N(100_000 * ms)
			tail.Ops = append(tail.Ops, TailOp{Intended: at, Acked: at + 500*us + rng.Int64N(2*ms), DelayNS: rng.Int64N(20 * us)})
		}
		reasons += len(tail.judge())
	}
	if reasons > 0 {
		t.Errorf("%d reasons in 50 runs whose tail is the system's", reasons)
	}
}

// In a steep tail of few operations, leaving any third of them out moves the percentile. That alone is chance.
func TestChanceIsNoReason(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	reasons := 0
	for range 50 {
		tail := Tail{Total: 10_000, Window: Span{0, 10_000 * ms}}
		for i := int64(0); i < 10_000; i += 300 {
			tail.Garbage = append(tail.Garbage, Span{i * ms, (i + 100) * ms})
		}
		for range 300 {
			at := rng.Int64N(10_000 * ms)
			tail.Ops = append(tail.Ops, TailOp{Intended: at, Acked: at + int64(float64(ms)*math.Pow(100, rng.Float64()))})
		}
		reasons += len(tail.judge())
	}
	if reasons > 1 {
		t.Errorf("%d reasons in 50 runs whose garbage was collected at any time", reasons)
	}
}

func TestMostOfTheTimeIsAReasonByItself(t *testing.T) {
	tail := starving()
	tail.Ops = tail.Ops[1:2]
	tail.Garbage = []Span{{0, 12_000 * ms}}
	if r := tail.judge(); len(r) != 1 || r[0].Code != Garbage || !strings.Contains(r[0].Text, "60%") {
		t.Errorf("%+v", r)
	}
	few := starving()
	few.Total = 1500 // enough for p90
	for range 200 {
		few.Ops = append(few.Ops, few.Ops[0])
	}
	if r := few.judge(); len(r) != 1 || !strings.Contains(r[0].Text, "p90 of") {
		t.Errorf("1,500 operations: %+v, want p90 judged", r)
	}
	if r := (Tail{}).judge(); r != nil {
		t.Errorf("no operations: %+v", r)
	}
}

func TestSettled(t *testing.T) {
	for _, c := range []struct {
		p50  []float64
		want bool
	}{
		{[]float64{100, 101, 99, 100}, false}, // too few
		{[]float64{100, 101, 99, 100, 102}, true},
		{[]float64{500, 300, 100, 101, 99, 100, 102}, true},
		{[]float64{100, 101, 102, 103, 104}, false}, // a trend
		{[]float64{104, 103, 102, 101, 100}, false},
		{[]float64{100, 101, 99, 100, 106}, false}, // too far apart
		{[]float64{100, 100, 100, 100, 100}, true},
		{[]float64{110, 99, 100, 93, 101, 100, 107, 99, 92, 101}, true},    // a host that does not hold still
		{[]float64{130, 119, 125, 113, 121, 100, 107, 99, 92, 101}, false}, // nor does the system
		{[]float64{110, 99, 100, 93, 101, 92, 96, 99, 101, 107}, false},    // a trend at the end
		{[]float64{0, 0, 0, 0, 0}, false},                                  // nothing was answered
	} {
		if got := Settled(c.p50); got != c.want {
			t.Errorf("%v: %v, want %v", c.p50, got, c.want)
		}
	}
}

// run returns a whole result.
func run(e Evidence) *Result {
	l := &Latency{TimeoutNS: timeout, Set: e.Set}
	l.Summarize()
	r := &Result{Format: Format, Target: Target{Topic: "t", Brokers: []string{"b:9092"}, Partitions: 1, Workload: "produce"},
		Effective: client.Effective{Driver: "wire", Threads: 1, InFlight: 1, RecordsPerRequest: 1, ValueBytes: 100, RequestBytes: 170, ReplyBytes: 60},
		Counts:    Counts{WindowSeconds: 20, Acked: 20_000, Records: 20_000, ValueBytes: 2_000_000}, Latency: l, WarmUp: e.WarmUp, Check: e.Check,
		Series: []Second{{Second: 0, Acked: 5, P50US: 7, P99US: 8, MaxUS: 9}}}
	r.Conclude(e)
	return r
}

func text(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFailedCheckPublishesNoLatency(t *testing.T) {
	e := sound()
	e.Check.Lost = 1
	e.Percentile = 99.99 // would be another reason
	e.Check.Examples = []string{"record 5 is gone"}
	r := run(e)
	b, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"histograms", "p50", "percentiles", "\"response\""} {
		if bytes.Contains(b, []byte(word)) {
			t.Errorf("the JSON of a run that failed the check contains %q", word)
		}
	}
	if len(r.Verdict.Reasons) != 1 {
		t.Errorf("reasons %+v, want the check alone", r.Verdict.Reasons)
	}
	s := text(t, r)
	if strings.Contains(s, "p99") || strings.Contains(s, "response") || !strings.Contains(s, "CHECK FAILED") || !strings.Contains(s, "record 5 is gone") {
		t.Errorf("summary:\n%s", s)
	}
}

func TestSummary(t *testing.T) {
	e := sound()
	s := text(t, run(e))
	for _, want := range []string{"topic t (1 partition", "1 connection × 1 in flight on 1 thread", "1000/s", "response", "backlog", "VALID", "0 lost"} {
		if !strings.Contains(s, want) {
			t.Errorf("the summary lacks %q:\n%s", want, s)
		}
	}
	if strings.Contains(s, "INVALID") {
		t.Errorf("summary:\n%s", s)
	}
	row := ""
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, "response") {
			row = line
		}
	}
	if strings.Count(row, "–") != 2 { // p99.9 and p99.99 of 20,000 operations
		t.Errorf("unsupported percentiles are printed: %q", row)
	}
	for range 500 {
		e.Set.Fail(0, 0, 0)
	}
	if s := text(t, run(e)); !strings.Contains(s, "≥ 10.00 s") {
		t.Errorf("a p99 among failures is not marked:\n%s", s)
	}
	e.Ended = "the broker went away"
	if s := text(t, run(e)); !strings.Contains(s, "it is no result") || !strings.Contains(s, "the broker went away") {
		t.Errorf("summary of an INVALID run:\n%s", s)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	b, err := run(sound()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	want := sound().Set.Response.Percentile(99, timeout)
	if got := back.Latency.Set.Response.Percentile(99, timeout); got != want || back.Verdict.Status != Valid {
		t.Errorf("p99 %v, want %v; verdict %v", got, want, back.Verdict)
	}
	if p, ok := back.Latency.Response.At(99); !ok || p.US != float64(want.NS)/1e3 {
		t.Errorf("summary p99 %+v", p)
	}
	if _, ok := back.Latency.Response.At(99.9); ok {
		t.Error("p99.9 of 20,000 operations was published")
	}
}
