package stages

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
)

func told(decode, propose, queue, sync, quorum, encode int64) frame.Stages {
	return frame.Stages{Decode: decode, Propose: propose, Queue: queue, Sync: sync, Quorum: quorum, Encode: encode}
}

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		sent, acked int64 // intended is 1000
		told        frame.Stages
		want        Times
		addsUp      bool
	}{
		"all":                        {1100, 3000, told(10, 30, 60, 160, 360, 400), Times{100, 1500, 10, 20, 30, 100, 200, 40}, true},
		"quorum before the sync":     {1100, 3000, told(10, 30, 60, 360, 160, 400), Times{100, 1500, 10, 20, 30, 300, 0, 40}, true},
		"no sync told":               {1100, 3000, told(10, 30, 60, -1, 360, 400), Times{100, 1500, 10, 20, 30, 0, 300, 40}, true},
		"refused":                    {1100, 3000, told(10, 30, -1, -1, -1, 400), Times{100, 1500, 10, 20, 0, 0, 0, 370}, true},
		"no network":                 {1000, 1400, told(10, 30, 60, 160, 360, 400), Times{0, 0, 10, 20, 30, 100, 200, 40}, true},
		"a little more than was":     {1000, 1390, told(10, 30, 60, 160, 360, 400), Times{0, 0, 10, 20, 30, 100, 200, 40}, true},
		"more than there was":        {1000, 1200, told(10, 30, 60, 160, 360, 400), Times{0, 0, 10, 20, 30, 100, 200, 40}, false},
		"a stage that never ended":   {1000, 1800, told(10, 30, 60, 160, 900, 400), Times{0, 400, 10, 20, 30, 100, 740, 0}, false},
		"microseconds instead of ns": {1000, 1_001_000, told(10, 30, 60, 160, 360, 400), Times{0, 999_600, 10, 20, 30, 100, 200, 40}, true},
	} {
		got := Split(1000, c.sent, c.acked, c.told)
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if a := AddsUp(float64(got.Sum()), float64(c.acked-1000)); a != c.addsUp {
			t.Errorf("%s: %d ns of %d add up: %v", name, got.Sum(), c.acked-1000, a)
		}
	}
}

func TestBuckets(t *testing.T) {
	last := -1
	for ns := int64(0); ns <= hist.HighestNS; ns = max(ns+1, ns+ns/200) {
		i := bucketOf(ns)
		low, next := bucketLow(i), bucketLow(i+1)
		if ns < low || ns >= next || i < last || float64(next-low) > max(1, float64(low)/bucketsPerOctave) {
			t.Fatalf("%d ns: bucket %d from %d to %d, the one before was %d", ns, i, low, next, last)
		}
		last = i
	}
}

// request makes one whose stages are told at so many parts of the response time.
func request(i int, response int64, parts [6]float64) (Request, int64, frame.Stages) {
	at := func(p float64) int64 { return int64(p * float64(response)) }
	r := Request{Stream: uint32(i), Base: int64(i), Intended: int64(i) * 1_000_000, Response: response}
	return r, r.Intended + at(0.1), told(at(parts[0]), at(parts[1]), at(parts[2]), at(parts[3]), at(parts[4]), at(parts[5]))
}

// TestBetween compares the means over a stretch with those of the very requests, sorted.
func TestBetween(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type one struct {
		response int64
		times    Times
	}
	var all []one
	tables := []*Table{NewTable(), NewTable(), NewTable()}
	for i := range 20_000 {
		response := int64(100_000 * math.Exp(rng.NormFloat64()))
		r, sent, told := request(i, response, [6]float64{0.01, 0.02, 0.1 + 0.2*rng.Float64(), 0.4, 0.5 + 0.1*rng.Float64(), 0.7})
		tables[i%3].Record(r, sent, told)
		all = append(all, one{response, Split(r.Intended, sent, r.Intended+response, told)})
	}
	sum := NewTable()
	for _, x := range tables {
		sum.Merge(x)
	}
	if joined, apart := sum.Joined(); joined != 20_000 || apart != 0 {
		t.Fatalf("%d joined, %d do not add up", joined, apart)
	}
	slices.SortFunc(all, func(a, b one) int { return int(a.response - b.response) })
	for _, c := range []struct{ from, to float64 }{{0, 1}, {0.4, 0.6}, {0.99, 1}, {0.5, 0.50001}} {
		m := sum.Between(c.from, c.to)
		in := all[int(c.from*20_000):max(int(c.to*20_000), int(c.from*20_000)+1)]
		if math.Abs(m.Requests-float64(len(in))) > 1e-6 {
			t.Errorf("%g to %g: %g requests, want %d", c.from, c.to, m.Requests, len(in))
		}
		if m.From > in[0].response || m.To < in[len(in)-1].response {
			t.Errorf("%g to %g: response times from %d to %d, want %d to %d", c.from, c.to, m.From, m.To, in[0].response, in[len(in)-1].response)
		}
		near := func(what string, got float64, of func(one) int64) {
			want := 0.0
			for _, x := range in {
				want += float64(of(x)) / float64(len(in))
			}
			if math.Abs(got-want) > 0.02*want {
				t.Errorf("%g to %g: %s %g ns, want %g", c.from, c.to, what, got, want)
			}
		}
		near("response", m.Response, func(x one) int64 { return x.response })
		near("sum", m.Sum(), func(x one) int64 { return x.times.Sum() })
		if len(in) > 1 { // a single one may be any of its bucket
			for s := range Stage(Count) {
				near(s.String(), m.Times[s], func(x one) int64 { return x.times[s] })
			}
		}
	}
	worst := sum.Worst()
	for i, r := range worst {
		if want := all[len(all)-1-i]; r.Response != want.response || r.Times != want.times {
			t.Errorf("the %d. worst is %+v, want %+v", i+1, r, want)
		}
	}
	if len(worst) != Worst {
		t.Errorf("%d worst", len(worst))
	}
	for s := range Stage(Count) {
		slices.SortFunc(all, func(a, b one) int { return int(a.times[s] - b.times[s]) })
		for _, p := range []float64{0.001, 1, 50, 99, 100} {
			got, want := sum.Percentile(s, p), all[max(int(p/100*20_000), 1)-1].times[s]
			if math.Abs(float64(got-want)) > max(1, float64(want)/64) {
				t.Errorf("%v p%g: %d, want %d", s, p, got, want)
			}
		}
		if got := sum.Max(s); got != all[len(all)-1].times[s] {
			t.Errorf("%v: at most %d, want %d", s, got, all[len(all)-1].times[s])
		}
	}
}

func TestWhatCannotBeIsLeftOut(t *testing.T) {
	x := NewTable()
	if m := x.Between(0, 1); m.Requests != 0 || m.Sum() != 0 || len(x.Worst()) != 0 || x.Percentile(Sync, 99) != 0 {
		t.Errorf("an empty table: %+v", m)
	}
	good := told(1, 2, 3, 4, 5, 6)
	for _, bad := range []frame.Stages{told(1, 2, 3, 4, 5, -1), told(-2, 2, 3, 4, 5, 6), told(1, 2, 3, 4, math.MaxInt64, 6), told(1, 2, 3, 4, 5, math.MinInt64)} {
		x.Record(Request{Response: 1000}, 0, bad)
	}
	x.Record(Request{Response: -1}, 0, good)
	x.Record(Request{Response: hist.HighestNS + 1}, 0, good)
	if joined, _ := x.Joined(); joined != 0 {
		t.Errorf("%d joined", joined)
	}
	x.Record(Request{Response: hist.HighestNS}, 0, good)
	x.Record(Request{Response: 3}, 0, good) // 6 ns within 3
	if joined, apart := x.Joined(); joined != 2 || apart != 1 || len(x.Worst()) != 2 {
		t.Errorf("%d joined, %d do not add up, %d worst", joined, apart, len(x.Worst()))
	}
	y := NewTable()
	y.Merge(x)
	if joined, apart := y.Joined(); joined != 2 || apart != 1 {
		t.Errorf("merged: %d joined, %d do not add up", joined, apart)
	}
	if m := x.Between(0.999, 1); m.Requests != 1 || m.Response != float64(hist.HighestNS) {
		t.Errorf("the slowest thousandth of two: %+v", m)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	x := NewTable()
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		x.Record(request(i, int64(i)*1000, [6]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}))
	}); n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	x := NewTable()
	r, sent, told := request(1, 150_000, [6]float64{0.01, 0.02, 0.1, 0.4, 0.5, 0.6})
	for b.Loop() {
		x.Record(r, sent, told)
	}
}
