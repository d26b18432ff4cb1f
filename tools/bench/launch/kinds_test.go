package launch

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/profiles"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
)

// sure runs a launch and fails the test for everything that a busy test machine does not explain.
func sure(t *testing.T, p Plan) record.Launch {
	t.Helper()
	l, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if left := noiseOnly(l); len(left) > 0 || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK {
		t.Fatalf("verdict %s: %q, check %+v", l.Verdict, left, l.Check)
	}
	return l
}

// cycles is how many were measured: one, and what a host that took CPU time away spoilt once more.
func cycles(l record.Launch) int { return max(1, min(len(l.Slices)/len(order), 1+sum.Again)) }

// answered are the slices in which a busy test machine left time for a request.
func answered(l record.Launch) []record.Slice {
	return slices.DeleteFunc(slices.Clone(l.Slices), func(sl record.Slice) bool { return sl.Requests == 0 })
}

// fakeDisk answers with one rate after the other.
type fakeDisk struct{ rates []float64 }

func (d *fakeDisk) DurableRate(context.Context, time.Duration) (float64, error) {
	if len(d.rates) == 0 {
		return 0, errors.New("asked too often")
	}
	r := d.rates[0]
	d.rates = d.rates[1:]
	return r, nil
}

// The rate of a throughput scenario counts from the first request to the end of the drain, on both sides, and stands beside
// the better of two looks at the disk.
func TestThroughputLaunch(t *testing.T) {
	w := produceWorkload()
	w.Connections, w.InFlight, w.RecordsPerRequest = 2, 2, 4
	p, _, _ := stage(t, w)
	disk := &fakeDisk{rates: []float64{5e8, 7e8}}
	p.Disk = disk
	l := sure(t, p)
	for _, sl := range answered(l) {
		measured := float64(p.Scenario.SliceMs) + get(t, sl.Figures, "drain_ms")
		if got, want := get(t, sl.Figures, "requests_per_second"), float64(sl.Requests)/measured*1e3; math.Abs(got-want) > want/50 {
			t.Errorf("slice %d: %v requests a second, want %d in %v ms", sl.Number, got, sl.Requests, measured)
		}
	}
	if v, ok := l.Get(record.Host, record.DurableRate); !ok || v != 7e8 || len(disk.rates) != 0 {
		t.Errorf("the disk alone: %v, %v, want the better of two looks", v, ok)
	}
	if p, ok := l.Pair("rate"); ok {
		if v, _ := l.Get(record.Floor, "record_bytes_per_second"); math.Abs(v-p.Floor*400) > v/1000 {
			t.Errorf("%v bytes a second at %v requests of 4 records of 100 bytes", v, p.Floor)
		}
	}
	p, _, _ = stage(t, w)
	p.Disk = &fakeDisk{}
	if l, err := Run(context.Background(), p); err != nil || l.Verdict != record.Failed || !strings.Contains(strings.Join(l.Reasons, "\n"), "durable rate: asked too often") {
		t.Errorf("a disk that fails: %s %q, %v", l.Verdict, l.Reasons, err)
	}
}

// pastLoad is a load whose slices ended some time ago.
type pastLoad struct{ ago time.Duration }

func (p pastLoad) Slice(context.Context, session.Stretch) (session.Sample, error) {
	s := smooth(100, 50)
	s.EndedNS = pace.Now() - p.ago.Nanoseconds()
	return s, nil
}
func (pastLoad) ReplyBytes() int { return 1 }
func (pastLoad) Close() error    { return nil }

func TestOnlyThroughputPaysForTheDrain(t *testing.T) {
	batched := produceWorkload()
	batched.InFlight, batched.RecordsPerRequest = 2, 2
	for _, w := range []profiles.Workload{produceWorkload(), batched} {
		settled := int64(0)
		c := &contest{launch: &launch{Plan: Plan{Scenario: profiles.Scenario{Workload: w}}},
			loads:  map[side]load{record.System: pastLoad{time.Second}, record.Floor: pastLoad{time.Second}},
			settle: func(context.Context) error { settled = pace.Now(); return nil },
			logs:   map[side][]interval{}, all: map[side]int64{}}
		for i, s := range []side{record.System, record.Floor} {
			smp, err := c.turn(context.Background(), i, s, session.Stretch{})
			if err != nil {
				t.Fatal(err)
			}
			if s == record.System && smp.EndedNS+smp.Drain.Nanoseconds() < settled {
				t.Errorf("the drain of %v ends before the system had settled", smp.Drain)
			}
			want := smp.Counted
			if w.Throughput() {
				want += smp.Drain
			}
			if smp.Drain < time.Second || smp.Rated != want {
				t.Errorf("throughput %v, %s: drained for %v, rated over %v, want %v", w.Throughput(), s, smp.Drain, smp.Rated, want)
			}
		}
	}
}

func TestEndToEndLaunch(t *testing.T) {
	w := produceWorkload()
	w.Arrivals, w.RatePerSecond, w.InFlight, w.EndToEnd, w.GatedPairs = profiles.Poisson, 3000, 64, true, []string{"e2e-p50"}
	p, _, _ := stage(t, w)
	p.Scenario.SliceMs = 110
	l := sure(t, p)
	for _, sl := range answered(l) {
		name := map[side]string{record.System: "end_to_end_us_p50", record.Floor: "service_us_p50"}[sl.Side]
		if v := get(t, sl.Figures, name); v <= 0 {
			t.Errorf("slice %d: %s is %v", sl.Number, name, v)
		}
	}
	if l.Verdict != record.OK {
		return
	}
	if h := l.Hist(record.System, "end-to-end"); h == nil || h.Count() == 0 {
		t.Error("no histogram of what the consumer saw")
	}
	if p, ok := l.Pair("e2e-p50"); !ok || !p.Gated || p.System <= 0 || p.Floor <= 0 {
		t.Errorf("e2e-p50 %+v, %v", p, ok)
	}
	if _, ok := l.Pair("p50"); !ok {
		t.Error("the producer's own answer is not beside it")
	}
	if v, ok := l.Get(record.System, "early_reads_fraction"); !ok || v < 0 || v > 1 {
		t.Errorf("a fraction of %v was read early", v)
	}
}

func TestLibraryBesideTheFrames(t *testing.T) {
	p, _, _ := stage(t, produceWorkload())
	p.Scenario.LibrarySliceMs = 150
	l := sure(t, p)
	kgo, has := l.Get(record.Host, "franz_go_us_p50")
	frames, _ := l.Get(record.Host, "frames_us_p50_beside_franz_go")
	costs, _ := l.Get(record.Host, "franz_go_costs_us_p50")
	if noted := strings.Contains(strings.Join(l.Notes, "\n"), "too few for a median"); has == noted {
		t.Errorf("franz-go %v, notes %q: want a figure or why there is none", kgo, l.Notes)
	}
	if has && (kgo <= 0 || frames <= 0 || math.Abs(costs-(kgo-frames)) > 1e-9) {
		t.Errorf("franz-go %v, frames %v, the difference %v", kgo, frames, costs)
	}
}

func TestSweepLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.Arrivals, w.RatePerSecond, w.RateFactor, w.RateLimitPerSecond, w.ObjectiveP99Us = profiles.Sweep, profiles.Poisson, 20_000, 4, 100_000, 1e9
	w.Connections, w.InFlight, w.GatedPairs = 2, 16, nil
	p, _, _ := stage(t, w)
	l, err := Run(context.Background(), p)
	if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Pairs != nil {
		t.Fatalf("verdict %s: %q, %v, check %+v, pairs %v", l.Verdict, l.Reasons, err, l.Check, l.Pairs)
	}
	if len(l.Rungs) < 2 || l.Rungs[0].Side != record.System || l.Rungs[1].Side != record.Floor {
		t.Fatalf("rungs %+v, want both sides at the first rate", l.Rungs)
	}
	saturated := map[side]bool{}
	for _, r := range l.Rungs {
		if !slices.Contains([]float64{20_000, 80_000}, r.RatePerSecond) || saturated[r.Side] || (r.Verdict != record.OK && len(r.Reasons) == 0) {
			t.Errorf("rung %+v of %+v", r, l.Rungs)
		}
		if r.AtLeast && r.Unsent == 0 {
			t.Errorf("saturated without a request that was not sent: %+v", r)
		}
		saturated[r.Side] = r.AtLeast
	}
	if len(l.Histograms) != 0 || l.Stages != nil {
		t.Error("what was measured at many rates was summed up in one")
	}
}

// Who is to blame for a slice: causes that a host brings about, when it took CPU time, and nothing else.
func TestBlameTheHost(t *testing.T) {
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		stolen  int64 // of 1,000 ticks
		invalid []session.Cause
		limited bool
		foreign int64
		want    bool
	}{
		"late, and 5% was stolen":    {50, []session.Cause{{Text: "late", Code: result.Lag}, {Text: "starved", Code: result.Starved}}, false, 0, true},
		"late, and 2% was stolen":    {20, []session.Cause{{Text: "late", Code: result.Lag}}, false, 0, false},
		"stolen when the tail was":   {5, []session.Cause{{Text: "stolen", Code: result.CPULimit}}, true, 0, true},
		"a control group's limit":    {50, []session.Cause{{Text: "limited", Code: result.CPULimit}}, false, 0, false},
		"garbage":                    {50, []session.Cause{{Text: "garbage", Code: result.Garbage}}, true, 0, false},
		"failures":                   {50, []session.Cause{{Text: "late", Code: result.Lag}, {Text: "3 operations failed"}}, true, 0, false},
		"foreign writes beside that": {50, []session.Cause{{Text: "late", Code: result.Lag}}, false, 1 << 30, false},
		"nothing":                    {50, nil, true, 0, false},
	} {
		smp := smooth(10, 100)
		smp.Invalid, smp.Stolen = c.invalid, c.limited
		before := meter.Reading{At: began, CPU: proc.CPU{Total: 500, Stolen: 3}}
		after := meter.Reading{At: began.Add(time.Second), CPU: proc.CPU{Total: 1500, Stolen: 3 + c.stolen}}
		after.Device.WriteBytes = c.foreign
		sl := session.Judge(0, record.System, began, smp, before, after, true)
		if sl.HostOnly != c.want || (sl.Verdict == record.OK) != (c.invalid == nil) {
			t.Errorf("%s: %+v, want host only %v", name, sl, c.want)
		}
		if v := get(t, sl.Figures, record.StolenFraction); v != float64(c.stolen)/1000 {
			t.Errorf("%s: %v was stolen", name, v)
		}
	}
}

func TestEndToEndPairs(t *testing.T) {
	sls := []record.Slice{{Side: record.System, Verdict: record.OK, Figures: []record.Figure{{Name: "end_to_end_us_p50", Value: 300}, {Name: "end_to_end_us_p99", Value: 900}}},
		{Side: record.Floor, Verdict: record.OK, Figures: []record.Figure{{Name: "service_us_p50", Value: 100}, {Name: "service_us_p99", Value: 300}}}}
	sets := map[side]*hist.Set{record.System: hist.NewSet(), record.Floor: smooth(20_000, 100).Hist}
	few := smooth(9_999, 300).Hist.Response
	if got := sum.Pairs(sls, sets, few, []string{"e2e-p50"}); len(got) != 1 || got[0].Name != "e2e-p50" || math.Abs(got[0].Ratio-3) > 1e-9 || math.Abs(got[0].Excess-200) > 1e-9 || !got[0].Gated {
		t.Errorf("pairs %+v, want e2e-p50 alone: 9,999 records are too few for a p99", got)
	}
	if got := sum.Pairs(sls, sets, smooth(10_000, 300).Hist.Response, nil); len(got) != 2 || got[1].Name != "e2e-p99" {
		t.Errorf("pairs %+v, want both", got)
	}
}

// profiles cannot ask package hist how many requests a p99 takes.
func TestRungsAreLongEnough(t *testing.T) {
	if need := float64(hist.Needed(99)); profiles.RungRequests < need+4*math.Sqrt(need) {
		t.Errorf("rungs are made for %d requests; with the scatter of Poisson arrivals a p99 takes %v", profiles.RungRequests, need+4*math.Sqrt(need))
	}
}
