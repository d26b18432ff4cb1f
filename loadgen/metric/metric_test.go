package metric

import (
	"context"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
	"ackline/loadgen/soak"
)

// scraped are all series of a Load, by name and labels: `name{label="value",…}`.
func scraped(t *testing.T, l *Load) map[string]*dto.Metric {
	t.Helper()
	families, err := l.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.Metric{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, p := range m.Label {
				labels = append(labels, p.GetName()+"="+p.GetValue())
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m
		}
	}
	return out
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// TestSaysWhatTheResultSays: after a run without a warm-up, both have counted the same operations.
func TestSaysWhatTheResultSays(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	l := New()
	cfg := run.Default()
	cfg.Brokers, cfg.Topic, cfg.Existing, cfg.ValueBytes, cfg.Watch = []string{b.Addr()}, "t", true, 200, l.Add
	cfg.Client = client.Config{Timeout: 2 * time.Minute}
	running := 0.0
	spec := run.Spec{Arrivals: pace.Spec{Kind: pace.Constant, RatePerSecond: 300}, For: 2500 * time.Millisecond,
		Progress: func(run.Progress) { running = max(running, value(scraped(t, l)["loadgen_workers{}"])) }}
	r, err := run.Run(context.Background(), cfg, spec, run.Events{})
	if err != nil {
		t.Fatal(err)
	}
	got := scraped(t, l)
	for name, want := range map[string]int64{
		"loadgen_acked_total{target=brokers}":       r.Counts.AllAcked,
		"loadgen_records_total{target=brokers}":     r.Counts.AllRecords,
		"loadgen_value_bytes_total{target=brokers}": r.Counts.AllRecords * 200,
		"loadgen_in_flight{target=brokers}":         0,
		"loadgen_workers{}":                         0,
	} {
		if m := got[name]; m == nil || value(m) != float64(want) {
			t.Errorf("%s is %v, want %d", name, m, want)
		}
	}
	if r.Counts.AllAcked < 700 || running != 1 {
		t.Errorf("%d acknowledged, %g workers at work", r.Counts.AllAcked, running)
	}
	for id, h := range map[ID]*hist.Hist{Response: r.Latency.Set.Response, Service: r.Latency.Set.Service, Lag: r.Latency.Set.Lag, Backlog: r.Latency.Set.Backlog} {
		m := got[id.String()+"{target=brokers}"].GetHistogram()
		if m.GetSampleCount() != uint64(h.Total()) || math.Abs(m.GetSampleSum()*1e9-h.Mean()*float64(h.Count())) > 1e3 {
			t.Errorf("%v: %d samples of %g s, the result has %d of %g ns on average", id, m.GetSampleCount(), m.GetSampleSum(), h.Total(), h.Mean())
		}
		if p50 := h.Percentile(50, 0).NS; id == Response {
			for _, k := range m.Bucket {
				within := float64(k.GetCumulativeCount()) / float64(m.GetSampleCount())
				if bound := k.GetUpperBound() * 1e9; bound > 1.002*float64(p50) && within < 0.5 || bound < 0.998*float64(p50) && within > 0.5 {
					t.Errorf("%g of the responses lie within %g ns, and the median is %d ns", within, bound, p50)
				}
			}
		}
	}
}

// TestPortions: what failed ranks above every bound, targets are told apart, and a worker is seen until its last portion.
func TestPortions(t *testing.T) {
	l := New()
	set := hist.NewSet()
	set.Record(0, 10, 20, 2_000_000)
	set.Fail(0, 10, 20)
	p := result.Portion{Worker: 3, Acked: 1, Records: 5, ValueBytes: 50, Failed: map[string]int64{"timeout": 1}, Set: set, InFlight: 4, OverdueNS: 3e9}
	l.Add(p)
	q := p
	q.Worker, q.InFlight, q.OverdueNS = 4, 1, 1e9
	l.Add(q)
	f := p
	f.Floor, f.InFlight = true, 7
	l.Add(f)
	got := scraped(t, l)
	for name, want := range map[string]float64{
		"loadgen_workers{}":                 3,
		"loadgen_in_flight{target=brokers}": 5, "loadgen_in_flight{target=floor}": 7,
		"loadgen_overdue_seconds{target=brokers}":           3,
		"loadgen_failed_total{code=timeout,target=brokers}": 2, "loadgen_failed_total{code=timeout,target=floor}": 1,
		"loadgen_records_total{target=brokers}": 10, "loadgen_acked_total{target=floor}": 1,
	} {
		if m := got[name]; m == nil || value(m) != want {
			t.Errorf("%s is %v, want %g", name, m, want)
		}
	}
	h := got["loadgen_response_seconds{target=brokers}"].GetHistogram()
	if last := h.Bucket[len(h.Bucket)-1]; h.GetSampleCount() != 4 || last.GetCumulativeCount() != 2 {
		t.Errorf("%d samples, %d of them within %g s", h.GetSampleCount(), last.GetCumulativeCount(), last.GetUpperBound())
	}
	p.Over, q.Over, f.Over = true, true, true
	for _, x := range []result.Portion{p, q, f} {
		l.Add(x)
	}
	if got := scraped(t, l); value(got["loadgen_workers{}"]) != 0 || value(got["loadgen_in_flight{target=brokers}"]) != 0 || value(got["loadgen_overdue_seconds{target=brokers}"]) != 0 {
		t.Errorf("after the last portions: %v", got["loadgen_workers{}"])
	}
}

// TestCheck: a soak against a broker that loses a record that it acknowledged.
func TestCheck(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	b.Break(brokertest.Faults{LoseBatch: 20})
	l := New()
	out, err := soak.Run(context.Background(), soak.Config{Brokers: []string{b.Addr()}, Topic: "t", Existing: true, RatePerSecond: 400, ValueBytes: 200,
		For: 500 * time.Millisecond, Timeout: 2 * time.Minute}, soak.Events{Watch: l.Check})
	if err != nil || out.Check.Lost != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	got := scraped(t, l)
	for name, want := range map[string]float64{
		"loadgen_check_faults_total{fault=lost}": 1, "loadgen_check_faults_total{fault=changed}": 0, "loadgen_check_unread_records{}": float64(out.Unread),
		"loadgen_check_acked_records_total{}": float64(out.Check.Acked), "loadgen_check_read_records_total{}": float64(out.Check.Read),
	} {
		if m := got[name]; m == nil || value(m) != want {
			t.Errorf("%s is %v, want %g", name, m, want)
		}
	}
	if _, there := scraped(t, New())["loadgen_check_unread_records{}"]; there {
		t.Error("a load without a check tells of one")
	}
}

func TestServe(t *testing.T) {
	s, err := Serve("127.0.0.1:0", New())
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Serve(s.Addr.String(), New()); err == nil {
		t.Errorf("an address that is taken was taken again: %v", second.Close())
	}
	resp, err := http.Get("http://" + s.Addr.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
	}
	for _, id := range All() {
		if id != Failed && id < CheckAcked && !strings.Contains(string(body), "\n"+id.String()) { // nothing has failed, nothing is checked
			t.Errorf("%v is not in the answer", id)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get("http://" + s.Addr.String() + "/metrics"); err == nil {
		resp.Body.Close()
		t.Error("it answers after Close")
	}
}
