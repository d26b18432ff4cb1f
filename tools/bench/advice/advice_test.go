package advice

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/advise"
)

// three is a network of three regions whose round trips are 4, 8 and 10 ms.
func three(t *testing.T) *region.Topology {
	t.Helper()
	top, err := region.Parse("three.toml", []byte(`between = [
  { regions = ["a", "b"], delay_ms = 2 },
  { regions = ["b", "c"], delay_ms = 4 },
  { regions = ["a", "c"], delay_ms = 5 },
]
regions = [{ name = "a" }, { name = "b" }, { name = "c" }]
hosts = [{ name = "n1", region = "a" }, { name = "n2", region = "b" }, { name = "n3", region = "c" }]
`))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// always is n requests that took so many ms.
func always(ms float64, n int) *hist.Hist {
	h := hist.NewLatency()
	for range n {
		h.Record(int64(ms * 1e6))
	}
	return h
}

// launch has placements of the leader, and what producers of a, b and c waited for, in ms; 0 is nobody.
func launch(verdict record.Verdict, leaders map[string][3]float64) record.Launch {
	l := record.Launch{Verdict: verdict, Network: &record.Network{Region: "three",
		Links: []record.Link{{From: "n1", To: "n2", WantUs: 4000}, {From: "n1", To: "n3", WantUs: 10_000}, {From: "n2", To: "n3", WantUs: 8000}}}}
	for leader, ms := range leaders {
		for i, client := range []string{"a", "b", "c"} {
			if ms[i] > 0 {
				l.Regions = append(l.Regions, record.Region{Leader: leader, Client: client, System: always(ms[i], 100), Floor: always(ms[i]-0.1, 100)})
			}
		}
	}
	return l
}

func theory(t *testing.T, top *region.Topology, producers ...advise.Producer) *advise.Result {
	t.Helper()
	r, err := advise.Advise(top, advise.Config{Sync: 100 * time.Microsecond, Producers: producers})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Placements of valid launches count, whatever they were called, in the order of the advice; others do not.
func TestBeside(t *testing.T) {
	top := three(t)
	run := &record.Results{Commit: "aaaa", Launches: []record.Launch{
		launch(record.OK, map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}, "n2 (b)": {8.5, 4.5, 12.5}}),
		launch(record.OK, map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}, "n3 (c)": {18.5, 0, 8.5}}),
		launch(record.Invalid, map[string][3]float64{"n1 (a)": {99, 99, 99}, "n2 (b)": {99, 99, 99}}),
		{Verdict: record.OK},
	}}
	m, why := Beside(theory(t, top), top, "here", run)
	if m == nil || m.Launches != 2 || len(m.Leaders) != 3 || m.From != "here" {
		t.Fatalf("%+v, %q", m, why)
	}
	// The theory of n2 is 8.1, 4.1 and 12.1.
	b := m.Leaders[0]
	if b.Leader != "n2 (b)" || len(b.Clients) != 3 || b.Clients[1].Theory != 4100*time.Microsecond || b.Clients[1].Requests != 100 || b.Theory != 8100*time.Microsecond {
		t.Errorf("the first is %+v, want n2, which leads best", b)
	}
	for _, c := range []struct {
		got, want time.Duration
	}{{b.Clients[1].System, 4500 * time.Microsecond}, {b.Clients[1].Floor, 4400 * time.Microsecond}, {b.Mean, 8500 * time.Microsecond}} {
		if d := c.got - c.want; d > c.want/500 || d < -c.want/500 {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if a := m.Leaders[1]; a.Leader != "n1 (a)" || a.Clients[0].Requests != 200 {
		t.Errorf("both launches have n1: %+v", a)
	}
	if x := m.Leaders[2]; x.Leader != "n3 (c)" || len(x.Clients) != 2 || x.Mean != 0 {
		t.Errorf("nobody produced from b to n3: %+v", x)
	}
	// A region without a share may be missing.
	m, _ = Beside(theory(t, top, advise.Producer{Where: "c", Share: 1}), top, "here", run)
	if best := m.Best(); best == nil || best.Leader != "n3 (c)" || best.Mean == 0 {
		t.Errorf("from c alone the best is %+v, want n3", best)
	}
}

func TestNothingBeside(t *testing.T) {
	far, near, gone := three(t), three(t), three(t)
	far.Name = "four"
	near.Between[0].DelayMs = 2.5
	gone.Hosts[2].Name = "n4"
	run := &record.Results{Launches: []record.Launch{launch(record.OK, map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}})}}
	for _, c := range []struct {
		top  *region.Topology
		want string
	}{
		{far, "here has no valid launch across the regions of four"},
		{near, "the three of here has other distances: from n1 to n2 and back it was 4.000 ms, and is 5.000 ms here"},
		{gone, "it had a link from n1 to n3, and there is none here"},
	} {
		if m, why := Beside(theory(t, c.top), c.top, "here", run); m != nil || !strings.Contains(why, c.want) {
			t.Errorf("%+v, %q, want %q", m, why, c.want)
		}
	}
}

func TestPrint(t *testing.T) {
	top := three(t)
	r := theory(t, top)
	both := map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}, "n2 (b)": {8.5, 4.5, 12.5}}
	for _, c := range []struct {
		name     string
		measured map[string][3]float64
		sync     *Sync
		want     []string
	}{
		{"confirmed", both, &Sync{P50: 100 * time.Microsecond}, []string{"put the leader on n2 (b)", "A durable write takes 100µs, one in a hundred 100µs, as given.",
			"n2 (b)  c               12.100    12.5", "n2 (b)  mean", "Of 2 leaders that were measured n2 (b) is the best for these producers too."}},
		{"contradicted", map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}, "n2 (b)": {18.5, 14.5, 22.5}}, &Sync{P50: 123456, P99: 2 * time.Millisecond, Writes: 10_000, Method: "m"},
			[]string{"measured: p50 123.5µs, p99 2ms, of 10000 writes (m)", "n1 (a) is the best for these producers with a mean of 9.1", "n2 (b), which the distances advise, has 18.5"}},
		{"other", map[string][3]float64{"n1 (a)": {4.5, 8.5, 14.5}}, &Sync{P50: 123456, Writes: 10}, []string{"its p99 is not known from so few",
			"n2 (b), which the distances advise, was not measured from everywhere"}},
		{"part", map[string][3]float64{"n1 (a)": {4.5, 8.5, 0}}, &Sync{}, []string{"No leader was measured from everywhere that produces"}},
		{"nothing", nil, &Sync{}, []string{"No measured latency beside it: here has no valid launch"}},
	} {
		a := &Advice{Theory: r, Sync: c.sync}
		a.Measured, a.Without = Beside(r, top, "here", &record.Results{Launches: []record.Launch{launch(record.OK, c.measured)}})
		var b bytes.Buffer
		if err := a.Print(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, &b)
			}
		}
	}
}

// The disk is written to as the load would, and nothing is left on it.
func TestMeasureSync(t *testing.T) {
	dir := t.TempDir()
	w := profiles.DefaultWorkload()
	w.RatePerSecond, w.RecordBytes = 1000, 1024
	told := int64(-1)
	s, err := MeasureSync(t.Context(), dir, "buffered-dsync", w, 20, func(done, of int64) { told = of - done })
	if err != nil || s.Writes < 20 || s.P50 <= 0 || s.P99 != 0 || s.Method != "buffered-dsync" || told <= 0 {
		t.Errorf("%+v, %v, told of %d that are left", s, err, told)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	if s, err := MeasureSync(ctx, dir, "buffered-dsync", w, 1e6, func(int64, int64) { cancel(enough) }); !errors.Is(err, enough) {
		t.Errorf("interrupted: %+v, %v", s, err)
	}
	if _, err := MeasureSync(t.Context(), dir, "fast", w, 20, func(int64, int64) {}); err == nil || !strings.Contains(err.Error(), "fast") {
		t.Errorf("an unknown method: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
