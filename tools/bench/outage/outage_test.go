package outage

import (
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/profiles"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
)

const topic = "probed"

func setup(t *testing.T) (*Outage, *brokertest.Cluster) {
	t.Helper()
	c := brokertest.Start(t, 1)
	c.Create(topic, 1)
	w := profiles.DefaultWorkload()
	w.Kind, w.RecordBytes, w.ProbeRatePerSecond, w.ProbeLimitMs = profiles.Recovery, 100, 500, 60_000
	return New(Config{Topic: topic, Workload: w, Launch: 3, Sub: func(n uint64) uint64 { return 77 + n }, Step: func(string, ...any) {}}), c
}

func get(figures []record.Figure, name string) float64 {
	for _, f := range figures {
		if f.Name == name {
			return f.Value
		}
	}
	return -1
}

// The probes agree that a broker that never went away answers as before; a broker that went away and is slow does not, within the limit.
func TestOutage(t *testing.T) {
	out, cluster := setup(t)
	if err := out.Before(t.Context(), cluster.Addr()); err != nil {
		t.Fatal(err)
	}
	if out.normal <= 0 || out.Acked() == 0 {
		t.Fatalf("before: p99 %v of %d records", out.normal, out.Acked())
	}
	out.normal = max(out.normal, 200*time.Millisecond) // this test is about who talks to whom, not about the machine
	began := time.Now()
	out.After(t.Context(), cluster.Addr(), began)
	seen, err := out.Wait()
	if err != nil || !seen.Watched || seen.Restored.Before(began) || out.Missed(seen) != "" || get(seen.Figures(), "p99_restored") != 1 {
		t.Errorf("%+v, %v, missed %q", seen, err, out.Missed(seen))
	}
	var spans []string
	for _, s := range seen.Timeline.Spans {
		spans = append(spans, s.What)
		if s.FromMs < 1000 || s.ToMs < s.FromMs || s.ToMs > seen.Timeline.LengthMs() {
			t.Errorf("%q is from %v to %v ms of %v, want it after what was watched before", s.What, s.FromMs, s.ToMs, seen.Timeline.LengthMs())
		}
	}
	if got := strings.Join(spans, "; "); got != "killed, the cache is emptied; starts; until the p99 is restored" {
		t.Errorf("the timeline has %q", got)
	}
	if n := len(seen.Timeline.P50Us); seen.Timeline.P50Us[0] == 0 || seen.Timeline.P50Us[n-1] == 0 {
		t.Errorf("the timeline lacks what was seen before or after: %v", seen.Timeline.P50Us)
	}
	if c, err := out.Verify(t.Context()); err != nil || !c.OK || c.Acknowledged != out.Acked() || len(out.probes) != 2 {
		t.Errorf("check %+v, %v, want all of %d", c, err, out.Acked())
	}

	slow := New(out.Config)
	slow.Workload.ProbeLimitMs, slow.normal = 50, time.Hour // no second is complete in that
	slow.After(t.Context(), cluster.Addr(), time.Now())
	if seen, err := slow.Wait(); err != nil || !seen.Restored.IsZero() || get(seen.Figures(), "p99_restored") != 0 || slow.Missed(seen) == "" {
		t.Errorf("within 50 ms: %+v, %v, missed %q", seen, err, slow.Missed(seen))
	}
	cluster.Break(brokertest.Faults{LoseBatch: int(cluster.Stored(topic, 0)) + 2})
	p, err := slow.Open(t.Context(), probe.Plain, []string{cluster.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, _, err := p.Run(t.Context(), probe.Step, nil); err != nil {
		t.Fatal(err)
	}
	if c, err := slow.Verify(t.Context()); err != nil || c.OK || c.Missing != 1 {
		t.Errorf("check %+v, %v, want one record missing", c, err)
	}
}

// Without a rate nobody watches, and nothing is said of it.
func TestNobodyWatches(t *testing.T) {
	out, cluster := setup(t)
	out.Workload.ProbeRatePerSecond = 0
	if err := out.Before(t.Context(), cluster.Addr()); err != nil {
		t.Fatal(err)
	}
	out.After(t.Context(), cluster.Addr(), time.Now())
	if seen, err := out.Wait(); err != nil || seen.Watched || len(seen.Figures()) != 0 || out.Missed(seen) != "" || out.Acked() != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
}
