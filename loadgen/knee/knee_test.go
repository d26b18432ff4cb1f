package knee

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
)

// find runs a search against a system, and fails the test when it does not end or contradicts itself.
func find(t *testing.T, l Limits, system func(rate float64) Outcome) (Answer, int) {
	t.Helper()
	s, err := New(l)
	if err != nil {
		t.Fatal(err)
	}
	l = l.Normal()
	// Doublings, then halvings of a factor of two on a scale of ratios, each of at most so many trials.
	rates := math.Log2(l.To/l.From) + math.Log2(math.Ln2/math.Log1p(l.Resolution)) + 4
	most, trials := int(rates)*(2*l.Trials-1), 0
	decided := map[float64]Outcome{}
	for rate, ok := s.Next(); ok; rate, ok = s.Next() {
		if trials++; trials > most {
			t.Fatalf("%+v: no end after %d trials: %+v", l, most, s.Answer())
		}
		if rate < l.From || rate > l.To {
			t.Fatalf("%+v: rate %g", l, rate)
		}
		if _, again := decided[rate]; again {
			t.Fatalf("%+v: %g/s is tried again after it was decided", l, rate)
		}
		if v, ok := s.Add(system(rate)); ok {
			decided[rate] = v
		}
	}
	a := s.Answer()
	if !a.Done || (a.Kept > 0 && decided[a.Kept] != Kept) || (a.Missed > 0 && decided[a.Missed] != Missed) || (a.Unproven > 0 && decided[a.Unproven] != Spoilt) {
		t.Errorf("%+v: %+v is not what was decided: %v", l, a, decided)
	}
	if (a.Missed > 0 && a.Missed <= a.Kept) || (a.Unproven > 0 && (a.Unproven <= a.Kept || (a.Missed > 0 && a.Unproven >= a.Missed))) {
		t.Errorf("%+v: out of order: %+v", l, a)
	}
	return a, trials
}

func TestSearch(t *testing.T) {
	below := func(knee float64) func(float64) Outcome {
		return func(rate float64) Outcome {
			if rate <= knee {
				return Kept
			}
			return Missed
		}
	}
	lateFrom := func(limit float64, system func(float64) Outcome) func(float64) Outcome {
		return func(rate float64) Outcome {
			if rate >= limit {
				return Spoilt
			}
			return system(rate)
		}
	}
	l := Limits{From: 1000, To: 100_000}
	for _, c := range []struct {
		name   string
		limits Limits
		system func(float64) Outcome
		want   func(Answer) bool
	}{
		{"a knee", l, below(7777), func(a Answer) bool {
			return a.Kept <= 7777 && a.Missed > 7777 && a.Missed <= 1.05*a.Kept && a.Unproven == 0 && !a.Capped
		}},
		{"a knee at the first rate", l, below(1000), func(a Answer) bool { return a.Kept == 1000 && a.Missed <= 1050 }},
		{"a knee just below the cap", l, below(99_000), func(a Answer) bool { return a.Kept <= 99_000 && a.Kept > 90_000 && a.Missed <= 100_000 && !a.Capped }},
		{"never kept", l, below(10), func(a Answer) bool { return a.Kept == 0 && a.Missed == 1000 && !a.Capped }},
		{"always kept", l, below(1e9), func(a Answer) bool { return a.Kept == 100_000 && a.Capped && a.Missed == 0 && a.Unproven == 0 }},
		{"one rate, kept", Limits{From: 500, To: 500}, below(1e9), func(a Answer) bool { return a.Kept == 500 && a.Capped }},
		{"one rate, missed", Limits{From: 500, To: 500}, below(10), func(a Answer) bool { return a.Kept == 0 && a.Missed == 500 }},
		{"a low rate", Limits{From: 0.1, To: 10}, below(1), func(a Answer) bool { return a.Kept > 0.9 && a.Missed > 1 && a.Missed < 1.1 }},
		{"the generator is late first", l, lateFrom(5000, below(7777)), func(a Answer) bool {
			return a.Kept < 5000 && a.Kept > 4700 && a.Unproven >= 5000 && a.Unproven <= 1.05*a.Kept && a.Missed == 0
		}},
		{"the generator is late at once", l, lateFrom(0, below(7777)), func(a Answer) bool { return a.Kept == 0 && a.Missed == 0 && a.Unproven == 1000 }},
		{"the generator is late in between", l, func(rate float64) Outcome {
			if rate > 4500 && rate < 6000 {
				return Spoilt
			}
			return below(7777)(rate)
		}, func(a Answer) bool { return a.Kept <= 4500 && a.Kept > 4200 && a.Unproven > 4500 && a.Missed == 8000 }},
		{"a miss below what was late", l, func(rate float64) Outcome {
			if rate > 7000 {
				return Spoilt
			}
			return below(4500)(rate)
		}, func(a Answer) bool { return a.Kept <= 4500 && a.Missed > 4500 && a.Missed < 4800 && a.Unproven == 0 }},
		{"one in three is spoilt", l, func() func(float64) Outcome {
			n := 0
			return func(rate float64) Outcome {
				if n++; n%3 == 0 {
					return Spoilt
				}
				return below(7777)(rate)
			}
		}(), func(a Answer) bool { return a.Kept <= 7777 && a.Missed > 7777 && a.Unproven == 0 }},
		{"one trial a rate", Limits{From: 1000, To: 100_000, Trials: 1, Resolution: 0.01}, below(7777),
			func(a Answer) bool { return a.Kept <= 7777 && a.Missed > 7777 && a.Missed <= 1.01*a.Kept }},
	} {
		if a, _ := find(t, c.limits, c.system); !c.want(a) {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

// Two that agree are enough; the third is made when they do not.
func TestMajorityDecidesEarly(t *testing.T) {
	for _, c := range []struct {
		trials  int
		votes   []Outcome
		verdict Outcome // "": not yet
	}{
		{3, []Outcome{Kept}, ""}, {3, []Outcome{Kept, Kept}, Kept}, {3, []Outcome{Missed, Kept}, ""}, {3, []Outcome{Missed, Kept, Missed}, Missed},
		{3, []Outcome{Spoilt, Spoilt, Kept}, ""}, {3, []Outcome{Spoilt, Spoilt, Kept, Kept}, Kept}, {3, []Outcome{Spoilt, Kept, Spoilt, Spoilt}, Spoilt},
		{3, []Outcome{Kept, Spoilt, Missed, Spoilt, Missed}, Missed},
		{1, []Outcome{Missed}, Missed}, {1, []Outcome{Spoilt}, Spoilt}, {5, []Outcome{Kept, Kept, Missed, Missed}, ""}, {5, []Outcome{Kept, Kept, Missed, Missed, Kept}, Kept},
	} {
		s, err := New(Limits{From: 1, To: 10, Trials: c.trials})
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range c.votes {
			if s.Trial() != i+1 {
				t.Errorf("%v: trial %d is said to be %d", c.votes, i+1, s.Trial())
			}
			v, decided := s.Add(o)
			last := i == len(c.votes)-1
			if want := last && c.verdict != ""; decided != want || (decided && v != c.verdict) {
				t.Errorf("%d trials, %v: after %d %q, %v; want %q at the end", c.trials, c.votes, i+1, v, decided, c.verdict)
			}
		}
	}
}

// A queue with one server (M/M/1) has a p99 that can be written down: ln(100) / (μ − λ). Seen through noise of 10% it keeps and misses
// in no order, and still the interval lies about the true knee for nearly every seed; single trials do worse.
func TestNoisyQueue(t *testing.T) {
	const mu, limit, seeds = 20_000.0, 0.002, 400
	truth := mu - math.Log(100)/limit // 17,697/s
	off := func(trials int) (wrong int) {
		for seed := range uint64(seeds) {
			rng := rand.New(rand.NewPCG(seed, 1))
			a, n := find(t, Limits{From: 500, To: 64_000, Trials: trials}, func(rate float64) Outcome {
				switch p99 := math.Log(100) / (mu - rate) * math.Exp(0.1*rng.NormFloat64()); {
				case rng.IntN(20) == 0:
					return Spoilt
				case rng.IntN(50) == 0: // something else on the host, at any rate
					return Missed
				case rate < mu && p99 <= limit:
					return Kept
				}
				return Missed
			})
			if a.Kept < truth*0.93 || a.Kept > truth*1.07 || n < 2 {
				wrong++
			}
		}
		return wrong
	}
	one, three := off(1), off(3)
	if three > seeds/20 || three*3 > one {
		t.Errorf("of %d searches %d are off with three trials a rate, %d with one", seeds, three, one)
	}
}

func TestBadLimits(t *testing.T) {
	for _, l := range []Limits{{}, {From: -1, To: 5}, {From: 10, To: 5}, {From: 1, To: math.Inf(1)}, {From: math.NaN(), To: 5}, {From: 1, To: 5, Trials: 2},
		{From: 1, To: 5, Trials: -1}, {From: 1, To: 5, Trials: 101}, {From: 1, To: 5, Resolution: 1e-6}, {From: 1, To: 5, Resolution: 3}, {From: 1, To: 5, Resolution: math.NaN()}} {
		if _, err := New(l); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

func TestObjective(t *testing.T) {
	for in, want := range map[string]Objective{
		"p99<=5ms": {99, 5 * time.Millisecond}, "p99 ≤ 5 ms": {99, 5 * time.Millisecond}, "p99.9<=800us": {99.9, 800 * time.Microsecond}, "p50<=1.5s": {50, 1500 * time.Millisecond},
		"p90 <= 2ms": {90, 2 * time.Millisecond}, "p95<=2ms": {95, 2 * time.Millisecond},
	} {
		if got, err := ParseObjective(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for in, says := range map[string]string{"": "want p50", "p99": "want p50", "p98<=5ms": "want p50", "99<=5ms": "want p50", "p99<5ms": "want p50", "p99<=5": "no duration",
		"p99<=": "no duration", "p99<=0s": "no duration", "p99<=1h": "no duration", "pNaN<=1s": "want p50"} {
		if got, err := ParseObjective(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	o := Objective{99, 5 * time.Millisecond}
	if back, err := ParseObjective(o.String()); err != nil || back != o {
		t.Errorf("%s: %+v, %v", o, back, err)
	}
	h := hist.NewLatency()
	for range 99 {
		h.Record(4_990_000)
	}
	h.Record(9_000_000)
	if !o.Keeps(h, 1e9) {
		t.Error("99 of 100 within the limit do not keep a p99")
	}
	h.FailN(1)
	if o.Keeps(h, 1e6) {
		t.Error("two of 101 beyond the limit keep a p99")
	}
	h = hist.NewLatency()
	h.FailN(10)
	if o.Keeps(h, 1000) {
		t.Error("failures keep an objective when the time-out is short")
	}
}

func TestBetween(t *testing.T) {
	type pair struct {
		rate float64
		kept bool
	}
	for _, c := range []struct {
		trials []pair
		want   Interval
		err    error
	}{
		{nil, Interval{}, ErrNoTrial},
		{[]pair{{1, true}, {2, true}, {3, false}, {4, true}}, Interval{2, 3}, nil},
		{[]pair{{1, false}, {2, true}}, Interval{0, 1}, nil},
		{[]pair{{1, true}}, Interval{1, 0}, nil},
	} {
		got, err := Between(func(yield func(float64, bool) bool) {
			for _, p := range c.trials {
				if !yield(p.rate, p.kept) {
					return
				}
			}
		})
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %+v, %v", c.trials, got, err)
		}
	}
}

// What a search asks for is seen at a glance, and does not change unnoticed.
func TestTranscript(t *testing.T) {
	s, err := New(Limits{From: 1000, To: 20_000, Trials: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rate, ok := s.Next(); ok; rate, ok = s.Next() {
		o := Missed
		if rate <= 6000 {
			o = Kept
		}
		s.Add(o)
		got = append(got, fmt.Sprintf("%g %s", rate, o))
	}
	want := []string{"1000 kept", "2000 kept", "4000 kept", "8000 missed", "5657 kept", "6727 missed", "6169 missed", "5907 kept"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
