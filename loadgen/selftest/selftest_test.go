package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/hist"
	"ackline/loadgen/null"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

// responder runs one in this process until the test ends.
func responder(t *testing.T) Config {
	t.Helper()
	s, err := null.New("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return Config{Null: s.Addr, Echo: s.Echo, For: 200 * time.Millisecond, Seed: 1}
}

func TestBelievable(t *testing.T) {
	rung := func(rate, lag float64) Rung { return Rung{RatePerSecond: rate, LagP99US: lag} }
	full := rung(5000, 1)
	full.Saturated = true
	for _, c := range []struct {
		name  string
		rungs []Rung
		want  []float64 // by class
		next  []float64
	}{
		{"none", nil, []float64{0, 0, 0, 0, 0, 0}, []float64{0, 0, 0, 0, 0, 0}},
		{"never late", []Rung{rung(1000, 20), rung(2000, 19)}, []float64{2000, 2000, 2000, 2000, 2000, 2000}, []float64{0, 0, 0, 0, 0, 0}},
		{"later and later", []Rung{rung(1000, 20), rung(2000, 21), rung(5000, 100), rung(10_000, 500.5), rung(20_000, 6000)},
			[]float64{1000, 2000, 5000, 5000, 5000, 10_000}, []float64{2000, 5000, 10_000, 10_000, 10_000, 20_000}},
		{"on time again by luck", []Rung{rung(1000, 60), rung(2000, 5)}, []float64{0, 0, 2000, 2000, 2000, 2000}, []float64{1000, 1000, 0, 0, 0, 0}},
		{"without room", []Rung{rung(1000, 5), full, rung(10_000, 1)}, []float64{1000, 1000, 1000, 1000, 1000, 1000}, []float64{5000, 5000, 5000, 5000, 5000, 5000}},
	} {
		var got, next []float64
		for _, b := range believable(c.rungs) {
			got, next = append(got, b.RatePerSecond), append(next, b.Next)
			if b.Saturated != (c.name == "without room") {
				t.Errorf("%s: %+v", c.name, b)
			}
		}
		if !reflect.DeepEqual(got, c.want) || !reflect.DeepEqual(next, c.next) {
			t.Errorf("%s: up to %v, next %v; want %v, %v", c.name, got, next, c.want, c.next)
		}
	}
}

// sound is a report in which every bar is reached, and by how little.
func sound() *Report {
	h := hist.NewLatency()
	for range 1000 {
		h.Record(20_000)
	}
	r := &Report{Ladder: Ladder{Rungs: []Rung{{RatePerSecond: 1000, Operations: 10_000, Enough: true, LagP50US: 15, LagP99US: 50, CPUShare: 0.05}}}}
	r.OneInFlight = OneInFlight{MedianUS: 10, Wire: h, Echo: h}
	r.OneCore.Single = Throughput{Requests: 1, RequestsPerSecond: 100_000}
	r.OneCore.Batched = Throughput{Requests: 1, RecordsPerSecond: 500_000, RecordsPerRequest: 100}
	return r
}

func TestBars(t *testing.T) {
	r := sound()
	if r.judge(); !r.AllMet() || len(r.Bars) != 6 {
		t.Errorf("%+v", r.Bars)
	}
	for i, c := range []struct {
		want   Outcome
		change func(*Report)
	}{
		0: {Missed, func(r *Report) { r.Ladder.Rungs[0].LagP50US = 15.1 }},
		1: {Missed, func(r *Report) { r.Ladder.Rungs[0].LagP99US = 51 }},
		2: {Missed, func(r *Report) { r.Ladder.Rungs[0].CPUShare = 0.06 }},
		3: {Missed, func(r *Report) { r.OneInFlight.MedianUS = 10.5 }},
		4: {Missed, func(r *Report) { r.OneCore.Single.RequestsPerSecond = 99_999 }},
		5: {Missed, func(r *Report) { r.OneCore.Batched.RecordsPerSecond = 499_999 }},
		6: {TooFew, func(r *Report) { r.Ladder.Rungs[0].Enough = false }},
		7: {TooFew, func(r *Report) { r.OneInFlight.Echo = hist.NewLatency() }},
		8: {NotIdle, func(r *Report) {
			r.Ladder.Rungs[0].LagP99US, r.Ladder.Rungs[0].Reasons = 51, []result.Reason{{Code: result.CPULimit}}
		}},
		9: {Missed, func(r *Report) { // no excuse for another step
			r.OneInFlight.MedianUS, r.Ladder.Rungs[0].Reasons = 11, []result.Reason{{Code: result.Starved}}
		}},
	} {
		r := sound()
		c.change(r)
		r.judge()
		at := map[int]int{6: 1, 7: 3, 8: 1, 9: 3}
		bar := i
		if b, ok := at[i]; ok {
			bar = b
		}
		for j, b := range r.Bars {
			want := Met
			if j == bar {
				want = c.want
			}
			if b.Outcome != want {
				t.Errorf("case %d: %s is %s, want %s", i, b.What, b.Outcome, want)
			}
		}
		if r.AllMet() {
			t.Errorf("case %d: all are met", i)
		}
	}
}

// A host that is busy with something else is named, or its figures would be taken for the generator's.
func TestBusyHostIsNamed(t *testing.T) {
	r := sound()
	r.judge()
	var b bytes.Buffer
	if err := r.Print(&b); err != nil || strings.Contains(b.String(), "not idle") {
		t.Errorf("%v\n%s", err, b.String())
	}
	r.Ladder.Rungs[0].Reasons = []result.Reason{{Code: result.Starved}}
	b.Reset()
	if err := r.Print(&b); err != nil || !strings.Contains(b.String(), "The host was not idle: at 1,000/s") || !strings.Contains(b.String(), "starved") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A rung that the host spoilt is run once more, with other arrivals, and no other one is.
func TestDisturbedRungIsRunAgain(t *testing.T) {
	bad := []result.Reason{{Code: result.Starved}}
	for _, c := range []struct {
		name  string
		rungs []Rung
		want  float64
		calls int
	}{
		{"sound", []Rung{{LagP99US: 1}, {LagP99US: 2}}, 1, 1},
		{"late by itself", []Rung{{LagP99US: 900, Reasons: []result.Reason{{Code: result.Lag}}}, {LagP99US: 2}}, 900, 1},
		{"spoilt once", []Rung{{LagP99US: 1, Reasons: bad}, {LagP99US: 2}}, 2, 2},
		{"spoilt by a limit", []Rung{{LagP99US: 1, Reasons: []result.Reason{{Code: result.CPULimit}}}, {LagP99US: 2}}, 2, 2},
		{"spoilt twice", []Rung{{LagP99US: 1, Reasons: bad}, {LagP99US: 2, Reasons: bad}, {LagP99US: 3}}, 2, 2},
	} {
		calls := 0
		got, err := undisturbed(func(n int) (Rung, error) {
			calls++
			return c.rungs[n], nil
		})
		if err != nil || got.LagP99US != c.want || calls != c.calls {
			t.Errorf("%s: %+v after %d, %v", c.name, got, calls, err)
		}
	}
	calls := 0
	if _, err := undisturbed(func(int) (Rung, error) {
		calls++
		return Rung{}, errInterrupted
	}); err != errInterrupted || calls != 1 {
		t.Errorf("%v after %d", err, calls)
	}
}

// What a rung says is what the slice's histograms do; one where half of the time went by waiting for room is told apart.
func TestRungOfASlice(t *testing.T) {
	make := func(backlog int64) *run.Slice {
		s := &run.Slice{Set: hist.NewSet(), TimeoutNS: 5e9}
		for i := range int64(10_000) {
			lag := int64(4_000)
			if i%50 == 0 {
				lag = 300_000
			}
			s.Set.Record(0, lag, lag+backlog, lag+backlog+100_000)
		}
		s.Counts.WindowSeconds = 10 - discard.Seconds()
		s.Generator.UserSeconds, s.Generator.SystemSeconds = 0.3, 0.2
		return s
	}
	near := func(got, want float64) bool { return got > 0.98*want && got < 1.02*want }
	r := rungOf(1000, make(1000))
	if r.RatePerSecond != 1000 || r.Operations != 10_000 || !r.Enough || !(r.LagP50US > 3.5 && r.LagP50US < 4.5) || !near(r.LagP99US, 300) || !near(r.P50US, 105) || !near(r.P99US, 401) ||
		!near(r.CPUShare, 0.05) || r.Saturated || r.Valid || len(r.Reasons) != 1 || r.Reasons[0].Code != result.Lag {
		t.Errorf("%+v", r)
	}
	if r := rungOf(1000, make(90_000)); r.Saturated {
		t.Errorf("less than half of the time: %+v", r)
	}
	if r := rungOf(1000, make(120_000)); !r.Saturated {
		t.Errorf("more than half of the time: %+v", r)
	}
	s := make(0)
	s.Counts.Unsent = 1
	if r := rungOf(1000, s); !r.Saturated {
		t.Errorf("one never found room: %+v", r)
	}
}

// What the generator says it made is what the responder counted.
func TestBothSidesAgree(t *testing.T) {
	cfg := responder(t)
	before, err := counted(t.Context(), &cfg)
	if err != nil || before != 0 {
		t.Fatalf("%d records before the first, %v", before, err)
	}
	var out Throughput
	if err := closed(t.Context(), &cfg, 7, &out); err != nil {
		t.Fatal(err)
	}
	after, err := counted(t.Context(), &cfg)
	if err != nil || after < 7*out.Requests || after%7 != 0 || out.Requests == 0 {
		t.Errorf("the responder counted %d records, %d requests of 7 were measured, %v", after, out.Requests, err)
	}
	if agree(5, 5) != nil || agree(5, 6) == nil {
		t.Error("a difference is not seen")
	}
}

// Everything once, for as short as it goes. How fast it is on this machine, with the responder in the same process, is of no interest.
func TestRun(t *testing.T) {
	cfg := responder(t)
	var said []string
	cfg.Progress = func(what string) { said = append(said, what) }
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if first := r.Ladder.Rungs[0]; first.RatePerSecond != 1000 || first.Operations < 50 || first.Operations > 1000 || first.Enough || first.Valid || first.CPUShare <= 0 {
		t.Errorf("%+v", first)
	}
	o := r.OneInFlight
	if o.RequestBytes <= valueBytes || o.ReplyBytes < 40 || o.ReplyBytes > 80 || len(o.BeyondUS) != 2*rounds || o.Wire.Count() == 0 || o.Echo.Count() == 0 || o.EchoP50US <= 0 {
		t.Errorf("%+v", o)
	}
	c := r.OneCore
	if c.Single.RequestsPerSecond <= 0 || c.Batched.RecordsPerSecond != 100*c.Batched.RequestsPerSecond || c.Batched.RequestBytes < 100*valueBytes || !strings.Contains(c.How, "one CPU") {
		t.Errorf("%+v", c)
	}
	if len(said) < 4 || !strings.Contains(said[0], "1000/s for 200ms") {
		t.Errorf("%q", said)
	}
	var text bytes.Buffer
	if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "asked ≥ 100,000") || !strings.Contains(text.String(), "too few operations") {
		t.Errorf("%v\n%s", err, text.String())
	}
	js, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(js, &back); err != nil || back.OneInFlight.Echo.Count() != o.Echo.Count() {
		t.Errorf("%v", err)
	}
	if got, want := cpusOf(t), allCPUs(t); !reflect.DeepEqual(got, []unix.CPUSet{want}) {
		t.Errorf("afterwards threads may use %v, want %v", got, want)
	}
}

var atStart = func() (s unix.CPUSet) {
	_ = unix.SchedGetaffinity(os.Getpid(), &s)
	return s
}()

func allCPUs(*testing.T) unix.CPUSet { return atStart }

// cpusOf are the distinct sets of CPUs that the threads of this process may use.
func cpusOf(t *testing.T) (out []unix.CPUSet) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var id int
		for _, c := range filepath.Base(filepath.Dir(task)) {
			id = 10*id + int(c-'0')
		}
		var s unix.CPUSet
		if err := unix.SchedGetaffinity(id, &s); err != nil {
			continue // it has ended
		}
		known := false
		for _, o := range out {
			known = known || o == s
		}
		if !known {
			out = append(out, s)
		}
	}
	return out
}

// One core is one core for every thread, those that are made later included, and what was before is restored.
func TestOneCPU(t *testing.T) {
	undo, how, err := oneCPU(0)
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan unix.CPUSet)
	for range 20 { // more than there are threads that idle
		go func() {
			release := make(chan unix.CPUSet, 1)
			var s unix.CPUSet
			_ = unix.SchedGetaffinity(0, &s)
			release <- s
			made <- <-release
		}()
	}
	for range 20 {
		if s := <-made; s.Count() != 1 {
			t.Errorf("a thread may use %d CPUs", s.Count())
		}
	}
	if sets := cpusOf(t); len(sets) != 1 || sets[0].Count() != 1 {
		t.Errorf("threads may use %v", sets)
	}
	if !strings.Contains(how, "one CPU") {
		t.Error(how)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if sets := cpusOf(t); len(sets) != 1 || sets[0] != atStart {
		t.Errorf("afterwards threads may use %v, want %v", sets, atStart)
	}
	if _, _, err := oneCPU(1 << 30); err == nil {
		t.Error("a responder that is not there is moved")
	}
	if sets := cpusOf(t); len(sets) != 1 || sets[0] != atStart {
		t.Errorf("after an error threads may use %v, want %v", sets, atStart)
	}
}

func TestInterruptAndBadInput(t *testing.T) {
	cfg := responder(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(what string) {
		if strings.HasPrefix(what, "one in flight") {
			cancel()
		}
	}
	if _, err := Run(ctx, cfg); err == nil {
		t.Error("an interrupted self-test reports")
	}
	gone := responder(t)
	gone.Null = "127.0.0.1:1" // nobody listens there
	if _, err := Run(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without a responder: %v", err)
	}
	for _, c := range []Config{{Null: "a:1"}, {Null: "a:1", Echo: "b:1", For: time.Millisecond}, {Null: "a:1", Echo: "b:1", For: -1}} {
		if _, err := Run(t.Context(), c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
