package geo

import (
	"os"
	"path/filepath"
	"testing"

	"ackline/profiles"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/lab"
)

// Both sides climb from the same rate, each until it is saturated: 32 requests in flight from each region are at most 4,000 a second from a and 2,700 from c,
// which wait for 8 and 12 ms, so that nobody comes to the third rate. What was promised meanwhile is there, and the network is measured around it.
func TestSweepAcrossRegions(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.Arrivals, w.RatePerSecond, w.RateFactor, w.RateLimitPerSecond, w.ObjectiveP99Us = profiles.GeoSweep, profiles.Poisson, 3000, 10, 300_000, 15_000
		w.InFlight, w.Threads, w.RecordBytes, w.RingBytes, w.Placements = 32, 1, 100, acrosstest.Ring, []string{profiles.Best}
		p := acrosstest.Plan(t, mode, w)
		l, err := Run(t.Context(), p)
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < l.Requests || l.Check.Acknowledged == 0 {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		stays(t, p, l)
		if l.Network == nil || len(l.Network.Links) != 3 || l.Network.Links[0].Before.P50Us < 4000 || l.Network.Links[0].After.P50Us < 4000 {
			t.Errorf("the network is %+v", l.Network)
		}
		if len(l.Rungs) < 2 || l.Rungs[0].Side != record.System || l.Rungs[1].Side != record.Floor {
			t.Fatalf("rungs %+v, want both sides at the first rate", l.Rungs)
		}
		last := map[side]record.Rung{}
		for _, r := range l.Rungs {
			if before, ok := last[r.Side]; ok && (before.AtLeast || before.RatePerSecond >= r.RatePerSecond) || r.RatePerSecond > 30_000 {
				t.Errorf("%s went on to %v/s after %+v", r.Side, r.RatePerSecond, before)
			}
			// Producers in b, where the leader is, wait for a.
			if r.RatePerSecond == 30_000 && r.AnsweredPerSecond > 15_000 || r.P50Us < 4000 || r.P99Us < r.P50Us || r.AnsweredPerSecond <= 0 || r.AtLeast && r.Unsent == 0 || r.Verdict != record.OK && len(r.Reasons) == 0 {
				t.Errorf("rung %+v", r)
			}
			last[r.Side] = r
		}
		for s, r := range last {
			if !r.AtLeast && r.P50Us <= 10*float64(w.ObjectiveP99Us) {
				t.Errorf("the %s is not saturated at the end of its ladder: %+v", s, r)
			}
			if st, err := os.Stat(filepath.Join(p.Out, "launch-01-near-3-best-"+string(s)+".hlog")); err != nil || st.Size() == 0 {
				t.Errorf("%s: %v", s, err)
			}
		}
		if theory, ok := l.Get(record.Host, "mean_theory_us_best"); !ok || theory < 8000 {
			t.Errorf("%v µs by the distances, want a mean of 8 ms and a sync", theory)
		}
		if len(l.Histograms) > 0 || len(l.Pairs) > 0 || len(l.Regions) > 0 {
			t.Error("what was measured at many rates was summed up in one")
		}
	})
}
