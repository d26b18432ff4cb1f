package run

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/result"
)

// A floor gets the same load as the system, in turns, and stands in the system's result; the system's data is checked, all turns of it.
func TestBeside(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	opened := 0
	spec := Spec{Arrivals: constant(500), For: 1200 * time.Millisecond, Discard: 100 * time.Millisecond, Percentile: 50}
	r, err := Beside(context.Background(), cfg, floorServer(t, new(atomic.Int64)), spec, Events{Opened: func(*Session) { opened++ }})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Counts; c.Acked < 580 || c.Acked > 620 || c.WindowSeconds < 1.1 || c.WindowSeconds > 1.3 || opened != 1 || r.Latency.Set.Response.Count() != c.Acked {
		t.Errorf("%+v, opened %d times", c, opened)
	}
	if f := r.Beside; f == nil || f.Latency.Set.Response.Count() < 580 || len(f.Ratios) == 0 || f.Ratios[0].P != 50 || f.Ratios[0].LimitRatio <= 0 {
		t.Errorf("%+v", f)
	}
	if c := r.Check; c == nil || !c.Done || c.Faults() != 0 || c.Acked != r.Counts.AllAcked || c.Acked < 700 {
		t.Errorf("check %+v of %d acknowledged", c, r.Counts.AllAcked)
	}
	var text strings.Builder
	if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "limit_ratio p50 ") || strings.Contains(text.String(), "no floor") {
		t.Errorf("%v\n%s", err, text.String())
	}
	if b.Has("t") {
		t.Error("the topic is still there")
	}
}

// What the system cannot keep is not compared with a floor, and what cannot stand beside one is refused.
func TestBesideThatFails(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{LoseBatch: 30})
	spec := Spec{Arrivals: constant(500), For: 400 * time.Millisecond, Percentile: 50}
	r, err := Beside(context.Background(), cfgFor(b), floorServer(t, new(atomic.Int64)), spec, Events{})
	if err != nil || r.Verdict.Status != result.Failed || r.Latency != nil || len(r.Beside.Ratios) > 0 {
		t.Errorf("%v, %+v, %+v", err, r.Verdict, r.Beside)
	}
	if _, err := Beside(context.Background(), cfgFor(b), brokertest.Refused(t), spec, Events{}); err == nil || !strings.Contains(err.Error(), "floor") || b.Has("t") {
		t.Errorf("no floor there: %v, topic still there: %t", err, b.Has("t"))
	}
}
