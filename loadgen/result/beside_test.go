package result

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/check"
)

func TestAgainst(t *testing.T) {
	for _, x := range []struct {
		system, floor time.Duration
		ratio         float64
		valid         bool
	}{
		{2 * time.Millisecond, time.Millisecond, 2, true},
		{time.Millisecond, time.Millisecond, 1, true},
		{900 * time.Microsecond, time.Millisecond, 0.9, false},
	} {
		r, f := part("a:1", 1000, x.system).Result, part("b:1", 1000, x.floor).Result
		r.Against("f:1", f)
		got := r.Beside.Ratios
		excess := float64((x.system - x.floor).Microseconds())
		if len(got) != 1 || got[0].P != 50 || got[0].LimitRatio < x.ratio*0.99 || got[0].LimitRatio > x.ratio*1.01 || got[0].ExcessUS < excess-20 || got[0].ExcessUS > excess+20 {
			t.Errorf("%v beside %v: %+v", x.system, x.floor, got)
		}
		if (r.Verdict.Status == Valid) != x.valid || r.Verdict.Has(FasterThanFloor) == x.valid {
			t.Errorf("%v beside %v: %+v", x.system, x.floor, r.Verdict)
		}
	}
	r, f := part("a:1", 1000, time.Millisecond).Result, part("b:1", 1000, time.Hour).Result
	f.Latency = nil
	if r.Against("f:1", f); len(r.Beside.Ratios) != 0 || r.Verdict.Status != Valid {
		t.Errorf("%+v, %+v", r.Beside, r.Verdict)
	}
}

func TestChain(t *testing.T) {
	a, b := part("", 100, time.Millisecond, 0).Result, part("", 300, 3*time.Millisecond, 0).Result
	a.Check, b.Check = nil, nil
	a.Generator.CPUs, b.Generator.CPUs = 4, 4
	b.Outages = []Outage{{StartSeconds: 1}}
	b.Verdict = Verdict{Invalid, []Reason{{Lag, "late"}}}
	whole := &check.Report{Done: true, Acked: 400, Read: 400}
	m := Chain([]*Result{a, b}, 50, whole)
	if m.Counts.Acked != 400 || m.Counts.WindowSeconds != 20 || m.Generator.CPUs != 4 || len(m.Agents) != 0 || m.Check.Acked != 400 || m.Outages[0].StartSeconds != 11 {
		t.Errorf("%+v, %+v, %+v", m.Counts, m.Generator, m.Outages)
	}
	var seconds []int64
	for _, s := range m.Series {
		seconds = append(seconds, s.Second)
	}
	if !slices.Equal(seconds, []int64{0, 1, 2, 3}) || b.Series[0].Second != 0 {
		t.Errorf("seconds %v; the slice's own begin at %d", seconds, b.Series[0].Second)
	}
	if m.Verdict.Status != Invalid || !strings.HasPrefix(m.Verdict.Reasons[0].Text, "slice 2: ") {
		t.Errorf("%+v", m.Verdict)
	}
	if p, ok := m.Latency.Response.At(50); !ok || p.US < 2900 {
		t.Errorf("p50 %+v is not that of all", p)
	}
}
