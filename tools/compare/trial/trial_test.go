package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"ackline/tools/stats"
)

// noise is how a figure of one launch differs from that of the next, both as standard deviations of its logarithm.
type noise struct {
	name   string
	launch float64 // on its own
	drift  float64 // of a random walk, a step from one launch to the next: the disk's and the neighbours' doing
}

// host is the noise of the machine that RESULTS.md was measured on, from the launches of latency-1 in its raw data: "launch" is the
// spread of successive launches over √2, rounded up, "drift" what the spread of all of them has beyond that. Those launches were minutes
// apart, and these are seconds, so that drift is rather more than a comparison meets.
var host = []noise{
	{"p50", 0.037, 0.020}, // without the floor beside it, which halves both
	{"p99", 0.100, 0.040},
	{"cpu_ns_per_request", 0.025, 0.015},
	{"io_calls_per_request", 0.008, 0.002},
}

// synthetic makes launches up: log-normal noise about a drifting level, and the head times a factor.
type synthetic struct {
	rng    *rand.Rand
	level  []float64
	factor map[string]float64
	spoil  func(Step) bool
	steps  []Step
}

func newSynthetic(seed uint64, factor map[string]float64) *synthetic {
	return &synthetic{rng: rand.New(rand.NewPCG(seed, 99)), level: make([]float64, len(host)), factor: factor}
}

func (s *synthetic) Launch(_ context.Context, step Step) (Launch, error) {
	s.steps = append(s.steps, step)
	l := Launch{Valid: true, Seconds: 10}
	for i, n := range host {
		s.level[i] += n.drift * s.rng.NormFloat64()
		v := math.Exp(s.level[i] + n.launch*s.rng.NormFloat64())
		if f := s.factor[n.name]; f > 0 && step.Side == Head {
			v *= f
		}
		l.Values = append(l.Values, Value{Name: n.name, Unit: "1", Gated: true, Value: v})
	}
	if s.spoil != nil && s.spoil(step) {
		l = Launch{Reasons: []string{"the generator was late"}, Seconds: 10}
	}
	return l, nil
}

// trials runs whole comparisons of made-up launches and counts their verdicts.
func trials(t *testing.T, n int, factor map[string]float64) map[stats.Verdict]int {
	t.Helper()
	counts := map[stats.Verdict]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				o, err := Run(t.Context(), Full(), newSynthetic(uint64(i), factor), nil)
				mu.Lock()
				if err != nil {
					t.Error(err)
				} else {
					counts[o.Verdict]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return counts
}

// The two promises, over whole comparisons with all of their looks and figures: no change is called a regression at most one time in
// twenty, and 10% in the p50 are called one at least nine times in ten.
func TestPromises(t *testing.T) {
	const n = 1000
	same := trials(t, n, nil)
	t.Logf("no change: %v", same)
	if same[stats.Regressed] > n/20 {
		t.Errorf("no change was called a regression %d times in %d, at most 5%% are promised", same[stats.Regressed], n)
	}
	slower := trials(t, n, map[string]float64{"p50": 1.10})
	t.Logf("p50 +10%%: %v", slower)
	if slower[stats.Regressed] < n*9/10 {
		t.Errorf("10%% more p50 was called a regression %d times in %d, at least 90%% are promised", slower[stats.Regressed], n)
	}
}

// A change of exactly δ is the hardest case that is not to be called a regression.
func TestDeltaItselfIsNoRegression(t *testing.T) {
	const n = 200
	if got := trials(t, n, map[string]float64{"p50": 1.03}); got[stats.Regressed] > n/20 {
		t.Errorf("a change of δ was called a regression %d times in %d", got[stats.Regressed], n)
	}
}

func TestOrderAndSeeds(t *testing.T) {
	s := newSynthetic(1, nil)
	p := Plan{SamePairs: 2, Looks: []int{4}, Spare: 1, Seed: 7}
	var seen []Progress
	o, err := Run(t.Context(), p, s, func(p Progress) { seen = append(seen, p) })
	if err != nil {
		t.Fatal(err)
	}
	var order strings.Builder
	seeds := map[uint64]Step{}
	for i, st := range s.steps {
		fmt.Fprintf(&order, "%.1s", st.Side)
		if st.Number != i || st.Seed == 0 {
			t.Errorf("step %d is %+v", i, st)
		}
		other, ok := seeds[st.Seed]
		if ok && (other.Phase != st.Phase || other.Pair != st.Pair) {
			t.Errorf("%+v has the seed of %+v", st, other)
		}
		seeds[st.Seed] = st
	}
	if got := order.String(); got != "bh"+"bbbb"+"bhhbbhhb" {
		t.Errorf("the order was %s, want a calibration, A against A, and A B B A twice", got)
	}
	if len(seeds) != 1+2+4 {
		t.Errorf("%d seeds for a calibration and six pairs", len(seeds))
	}
	if last := seen[len(seen)-1]; last.Done != 13 || last.Most != 14 || last.SecondsEach != 10 || o.Pairs != 4 {
		t.Errorf("the last progress was %+v", last)
	}
}

func TestLooksAreTheOnlyTimesToStop(t *testing.T) {
	for factor, want := range map[float64]stats.Verdict{1.5: stats.Regressed, 1 / 1.5: stats.Passed} {
		// A p99 that is quiet, so that nothing else keeps the verdict open.
		s := newSynthetic(4, map[string]float64{"p50": factor})
		p := Full()
		p.Gates = []string{"p50"}
		o, err := Run(t.Context(), p, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.Verdict != want || o.Pairs != 10 {
			t.Errorf("×%.2f: %s after %d pairs, want %s after the first look", factor, o.Verdict, o.Pairs, want)
		}
		for _, r := range o.Rows {
			if r.Gated != (r.Name == "p50") || (r.Verdict == "") == r.Gated {
				t.Errorf("%+v decides, only p50 may", r)
			}
		}
		if near := math.Abs(o.Rows[0].Change.Shift/factor - 1); near > 0.1 {
			t.Errorf("the change is %v, want %v", o.Rows[0].Change.Shift, factor)
		}
	}
}

// A noisy p50 stays open while the counters, which are quiet, decide at the first look.
func TestCountersDecideFirst(t *testing.T) {
	o, err := Run(t.Context(), Quick(), newSynthetic(2, map[string]float64{"io_calls_per_request": 1.2}), nil)
	if err != nil {
		t.Fatal(err)
	}
	row := o.row(t, "io_calls_per_request")
	if o.Verdict != stats.Regressed || row.Verdict != stats.Regressed || o.row(t, "p50").Verdict != stats.Inconclusive {
		t.Errorf("%s, I/O calls %s, p50 %s: want the counter to decide", o.Verdict, row.Verdict, o.row(t, "p50").Verdict)
	}
	p50 := o.row(t, "p50")
	if !p50.Blind() || row.Blind() {
		t.Errorf("ten pairs see %.1f%% of p50 and %.1f%% of I/O calls: want only the first beyond δ", 100*p50.Sees, 100*row.Sees)
	}
}

func TestOverall(t *testing.T) {
	row := func(v stats.Verdict, gated bool) Row { return Row{Verdict: v, Gated: gated} }
	p, r, i, b := row(stats.Passed, true), row(stats.Regressed, true), row(stats.Inconclusive, true), row(stats.Improved, true)
	for _, c := range []struct {
		rows []Row
		want stats.Verdict
	}{{[]Row{p, b}, stats.Passed}, {[]Row{p, i, b}, stats.Inconclusive}, {[]Row{r, i, p}, stats.Regressed}, {[]Row{i, r}, stats.Regressed},
		{[]Row{p, row(stats.Regressed, false)}, stats.Passed}} {
		if got := overall(c.rows); got != c.want {
			t.Errorf("%+v: %s, want %s", c.rows, got, c.want)
		}
	}
}

func (o *Outcome) row(t *testing.T, name string) Row {
	t.Helper()
	for _, r := range o.Rows {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no row %s in %+v", name, o.Rows)
	return Row{}
}

func TestInvalidLaunchesAreMeasuredAgain(t *testing.T) {
	s := newSynthetic(3, nil)
	s.spoil = func(st Step) bool { return st.Phase == SameOther && st.Pair%4 == 1 && st.Side == Head }
	p := Plan{SamePairs: 3, Looks: []int{10}, Spare: 3}
	o, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Exhausted || o.Pairs != 10 || len(o.Spoilt) != 3 || !strings.Contains(o.Spoilt[0], "head of A against B: the generator was late") {
		t.Errorf("%d pairs, %q: want ten, and three launches named", o.Pairs, o.Spoilt)
	}
	s = newSynthetic(3, map[string]float64{"p50": 0.5})
	s.spoil = func(st Step) bool { return st.Phase == SameOther && st.Side == Head }
	if o, err = Run(t.Context(), p, s, nil); err != nil {
		t.Fatal(err)
	}
	if !o.Exhausted || o.Verdict != stats.Inconclusive || len(s.steps) != 2+6+2*4 {
		t.Errorf("%s after %d launches, want to give up after the pairs to spare, without a verdict", o.Verdict, len(s.steps))
	}
	s.steps, s.spoil = nil, func(Step) bool { return true }
	if o, err = Run(t.Context(), p, s, nil); err != nil || !o.Exhausted || o.Verdict != stats.Inconclusive {
		t.Errorf("%+v, %v when nothing is valid", o, err)
	}
}

// A host that finds a difference between a program and itself has no vote about that figure.
func TestSameAgainstSameMustNotDiffer(t *testing.T) {
	s := newSynthetic(5, map[string]float64{"p50": 1.3})
	l := launcherFunc(func(ctx context.Context, st Step) (Launch, error) {
		l, err := s.Launch(ctx, st)
		if first := st.Number%2 == 0; st.Phase == SameSame && first == (st.Pair%2 == 0) {
			l.Values[0].Value *= 0.5
		}
		return l, err
	})
	p := Full()
	p.Gates = []string{"p50"}
	o, err := Run(t.Context(), p, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := o.row(t, "p50"); o.Verdict != stats.Inconclusive || !strings.Contains(r.Note, "A against A differs") {
		t.Errorf("%s, %q", o.Verdict, r.Note)
	}
}

type launcherFunc func(context.Context, Step) (Launch, error)

func (f launcherFunc) Launch(ctx context.Context, s Step) (Launch, error) { return f(ctx, s) }

func TestZeroesAndGaps(t *testing.T) {
	if d, err := LogRatios([]float64{0, 2}, []float64{0, 2}); err != nil || d[0] != 0 || d[1] != 0 {
		t.Errorf("a counter that stays at 0: %v, %v", d, err)
	}
	if _, err := LogRatios([]float64{0}, []float64{1}); err == nil {
		t.Error("0 and 1 have a ratio")
	}
	l := launcherFunc(func(_ context.Context, s Step) (Launch, error) {
		l := Launch{Valid: true, Values: []Value{{Name: "p50", Gated: true, Value: 1}}}
		if s.Phase != SameOther || s.Pair < 5 {
			l.Values = append(l.Values, Value{Name: "p99", Gated: true, Value: 1})
		}
		return l, nil
	})
	o, err := Run(t.Context(), Quick(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := o.row(t, "p99"); o.Verdict != stats.Inconclusive || r.Note != "only 5 of 10 pairs have it" || o.row(t, "p50").Verdict != stats.Passed {
		t.Errorf("%s: %+v", o.Verdict, o.Rows)
	}
}

func TestErrorsEndIt(t *testing.T) {
	boom := errors.New("boom")
	_, err := Run(t.Context(), Quick(), launcherFunc(func(context.Context, Step) (Launch, error) { return Launch{}, boom }), nil)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "launch 0 (base)") {
		t.Errorf("%v", err)
	}
	p := Quick()
	p.Gates = []string{"p95"}
	if _, err = Run(t.Context(), p, newSynthetic(1, nil), nil); err == nil || !strings.Contains(err.Error(), `"p50"`) {
		t.Errorf("a gate that nothing has: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(boom)
	if _, err = Run(ctx, Quick(), newSynthetic(1, nil), nil); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	for _, bad := range []Plan{{}, {SamePairs: 1}, {SamePairs: 1, Looks: []int{2, 2}}, {SamePairs: 1, Looks: []int{2}, Spare: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
