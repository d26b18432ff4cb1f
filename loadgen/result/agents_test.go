package result

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/hist"
)

// part is what an agent says: n operations that took d each.
func part(addr string, n int, d time.Duration, partitions ...int32) Part {
	set := hist.NewSet()
	for range n {
		set.Record(0, 0, 0, int64(d))
	}
	r := &Result{Format: Format, Latency: &Latency{TimeoutNS: 1e9, Set: set}, Verdict: Verdict{Status: Valid},
		Counts: Counts{WindowSeconds: 10, Acked: int64(n), AllAcked: int64(n)}, Series: []Second{{Second: 0, WarmUp: true}, {Second: 1, Acked: int64(n), P99US: float64(d) / 1e3}},
		Check: &check.Report{Done: true, Acked: int64(n), Read: int64(n)}}
	for _, p := range partitions {
		r.ByPartition = append(r.ByPartition, PartitionCount{Partition: p, Acked: int64(n / len(partitions))})
	}
	r.Latency.Summarize()
	return Part{Addr: addr, Result: r}
}

func TestMerge(t *testing.T) {
	a, b := part("a:1", 9000, time.Millisecond, 0, 2), part("b:1", 1000, 9*time.Millisecond, 1, 2)
	a.Result.Check.Foreign, b.Result.Check.Foreign = 1000+7, 9000+7
	a.Result.Counts.Errors, b.Result.Counts.Errors = []string{"x", "y"}, []string{"y", "z"}
	b.Result.Counts.ByCode = map[string]int64{"timeout": 2}
	a.Result.Outages, b.Result.Outages = []Outage{{StartSeconds: 5}}, []Outage{{StartSeconds: 2}}
	m := Merge([]Part{a, b}, 99)
	if m.Verdict.Status != Valid || m.Counts.Acked != 10_000 || m.Counts.WindowSeconds != 10 || !slices.Equal(m.Counts.Errors, []string{"x", "y", "z"}) || m.Counts.ByCode["timeout"] != 2 {
		t.Errorf("%+v, %+v", m.Verdict, m.Counts)
	}
	p50, _ := m.Latency.Response.At(50)
	p99, ok := m.Latency.Response.At(99)
	if !ok || p50.US > 1100 || p99.US < 8900 {
		t.Errorf("p50 %+v, p99 %+v: not those of all operations together", p50, p99)
	}
	if s := m.Series; len(s) != 2 || s[1].Acked != 10_000 || s[1].P99US != 9000 || !s[0].WarmUp {
		t.Errorf("%+v", s)
	}
	if want := []PartitionCount{{Acked: 4500}, {Partition: 1, Acked: 500}, {Partition: 2, Acked: 5000}}; !slices.Equal(m.ByPartition, want) {
		t.Errorf("%+v, want %+v", m.ByPartition, want)
	}
	if c := m.Check; c.Acked != 10_000 || c.Read != 10_000 || c.Foreign != 7 || a.Result.Check.Acked != 9000 {
		t.Errorf("%+v; the part's own: %+v", c, a.Result.Check)
	}
	if m.Outages[0].StartSeconds != 2 || m.Agents[1].Acked != 1000 {
		t.Errorf("%+v, %+v", m.Outages, m.Agents)
	}
	if few := Merge([]Part{part("a:1", 9, time.Millisecond)}, 99); few.Verdict.Status != Invalid || !few.Verdict.Has(Samples) {
		t.Errorf("nine operations for a p99: %+v", few.Verdict)
	}
}

// What is wrong with one part is wrong with the whole, and says whose it is.
func TestMergeBlames(t *testing.T) {
	good, late, bad := part("good:1", 100, time.Millisecond), part("late:1", 100, time.Millisecond), part("bad:1", 100, time.Millisecond)
	late.Result.Verdict = Verdict{Invalid, []Reason{{Lag, "the generator was late"}}}
	bad.Result.Check.Lost, bad.Result.Latency = 1, nil
	bad.Result.Verdict = Verdict{Failed, []Reason{{BadData, "1 lost"}}}
	lost := Part{Addr: "lost:1", Lost: "it closed the connection"}
	if m := Merge([]Part{good, late, lost}, 0); m.Verdict.Status != Invalid || len(m.Verdict.Reasons) != 2 || !m.Verdict.Has(AgentLost) || !strings.HasPrefix(m.Verdict.Reasons[0].Text, "late:1: ") ||
		m.Counts.Acked != 200 || len(m.Agents) != 3 || m.Agents[2].Lost == "" {
		t.Errorf("%+v, %+v", m.Verdict, m.Agents)
	}
	if m := Merge([]Part{good, bad}, 0); m.Verdict.Status != Failed || m.Latency != nil || m.Check.Lost != 1 || len(m.Verdict.Reasons) != 1 {
		t.Errorf("%+v", m.Verdict)
	}
	if m := Merge([]Part{lost}, 0); m != nil {
		t.Errorf("of nothing comes %+v", m)
	}
}
