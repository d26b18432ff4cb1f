package geo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/broker/node/placing"
	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/profiles/strict"
	"ackline/tools/bench/across"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/tools/bench/sum"
	"ackline/tools/netlab/advise"
	"ackline/tools/netlab/lab"
)

// Brokers that a busy host let stand still for a second would elect another leader, and be right to. Here it must have been their choice.
func TestMain(m *testing.M) {
	os.Setenv(acrosstest.Election, "10000")
	acrosstest.Main(m)
}

// plan is a launch with the leader in each of these places.
func plan(t *testing.T, mode lab.Mode, placements ...string) launch.Plan {
	t.Helper()
	return planOn(t, acrosstest.Near, mode, placements...)
}

// planOn is plan on a network of three hosts.
func planOn(t *testing.T, network string, mode lab.Mode, placements ...string) launch.Plan {
	t.Helper()
	w := profiles.DefaultWorkload()
	w.Kind, w.Arrivals, w.RatePerSecond, w.InFlight, w.Threads, w.RecordBytes, w.RingBytes = profiles.Geo, profiles.Poisson, 300, 512, 1, 100, acrosstest.Ring
	w.Placements, w.GatedPairs = placements, []string{"p50"}
	return acrosstest.PlanOn(t, network, mode, w)
}

// Producers, brokers and the floor cross the distances, on a leader that is where it was asked for; what they were promised is there.
func TestAcrossRegions(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		p := plan(t, mode, profiles.Worst, profiles.Automatic)
		l, err := Run(t.Context(), p)
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < 50 {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		if n := len(l.Slices); n < 8 || n%4 != 0 || n > 8*(1+sum.Again) || l.Network == nil || l.Network.Mode != string(mode) || len(l.Network.Links) != 3 {
			t.Fatalf("%d slices on %+v", len(l.Slices), l.Network)
		}
		stays(t, p, l)
		if got, want := l.Network.CongestionControl, map[lab.Mode]string{lab.Netns: region.DefaultCongestionControl}[mode]; got != want {
			t.Errorf("congestion control %q, want %q", got, want)
		}
		for i, want := range []float64{4000, 10_000, 8000} {
			if x := l.Network.Links[i]; x.WantUs != want || x.Before.P50Us < want || x.After.P50Us < want {
				t.Errorf("a link of %v µs: %+v", want, x)
			}
		}
		sync, _ := l.Get(record.Host, "raw_sync_us_p50")
		theory := map[string]float64{}
		for i, r := range l.Regions {
			if client := string(rune('a' + i%3)); r.Client != client || r.System == nil || r.Floor == nil {
				t.Errorf("region %d is %+v, want producers in %s", i, r, client)
			}
			if want := []float64{18_000, 16_000, 8000}; i < 3 && (r.Leader != "n3 (c)" || r.Placement != profiles.Worst || r.TheoryUs-sync < want[i]-10 || r.TheoryUs-sync > want[i]+10) {
				t.Errorf("%+v, want the leader on n3 and %v µs beside a sync of %v", r, want[i], sync)
			}
			theory[r.Placement] += r.TheoryUs / 3
		}
		if len(l.Regions) != 6 || l.Regions[3].Placement != profiles.Automatic || l.Regions[3].Leader == "" {
			t.Errorf("%d regions: %+v", len(l.Regions), l.Regions)
		}
		for _, sl := range l.Slices {
			i := slices.IndexFunc(sl.Figures, func(f record.Figure) bool { return f.Name == "latency_us_p50" })
			// A sync may be faster than it was; round trips may not, and a histogram is precise to 0.1%.
			if i < 0 || sl.Figures[i].Value < 0.998*(theory[sl.Of]-sync) {
				t.Errorf("slice %d of %s, %s: %+v, want at least %v µs without the sync", sl.Number, sl.Of, sl.Side, sl.Figures, theory[sl.Of]-sync)
			}
		}
		for _, log := range []string{"worst-system", "worst-floor", "automatic-system", "automatic-floor"} {
			if st, err := os.Stat(filepath.Join(p.Out, "launch-01-near-3-"+log+".hlog")); err != nil || st.Size() == 0 {
				t.Errorf("%s: %v", log, err)
			}
		}
		for _, pair := range l.Pairs {
			if placement, name, _ := strings.Cut(pair.Name, "-"); !slices.Contains(record.Placements, placement) || name != "p50" || !pair.Gated {
				t.Errorf("pair %+v: want p50 of a placement; there are too few requests for more", pair)
			}
		}
	})
}

// The brokers take a leader that is far from its producers to them, who say where they are. With the leader in a they wait 10.7 ms on average, in b
// 7.3 and in c 13.3. Of those who do not say it only the way to a majority would count, which is the same from a and b. The brokers go by what they
// measure, which on a busy machine is tens of milliseconds more: then nothing is said of their choice.
func TestBrokersChoose(t *testing.T) {
	t.Parallel()
	far := strings.NewReplacer(`"a", "c"], delay_ms = 5`, `"a", "c"], delay_ms = 8`, `"b", "c"], delay_ms = 4`, `"b", "c"], delay_ms = 3`).Replace(acrosstest.Near)
	// The topic of the first has its leader in b, so that the next one's begins in a.
	p, looks := planOn(t, far, lab.Relay, profiles.Best, profiles.Automatic), 0
	p.Progress = func(step string) {
		if strings.Contains(step, "automatic: letting the brokers choose") {
			looks++
		}
	}
	l, err := Run(t.Context(), p)
	if err != nil || l.Verdict == record.Failed || len(l.Regions) != 6 {
		t.Fatalf("%v, %s %q, %d regions", err, l.Verdict, l.Reasons, len(l.Regions))
	}
	if r := l.Regions[0]; r.Placement != profiles.Best || r.Leader != "n2 (b)" {
		t.Errorf("%s is led by %s, want n2", r.Placement, r.Leader)
	}
	for _, x := range l.Network.Links {
		if max(x.Before.P50Us, x.After.P50Us) > 1.5*x.WantUs {
			t.Logf("not judged: %s and %s were %v and %v µs apart, and not %v", x.From, x.To, x.Before.P50Us, x.After.P50Us, x.WantUs)
			return
		}
	}
	if r := l.Regions[3]; r.Placement != profiles.Automatic || r.Leader != "n2 (b)" || looks < 2 {
		t.Errorf("%s is led by %s, after %d looks: want it moved from n1 to n2 (%q)", r.Placement, r.Leader, looks, l.Reasons)
	}
	stays(t, p, l)
}

// stays fails if the brokers moved a leader that was to stay, and shows what they logged. A host that is busy gives other reasons.
func stays(t *testing.T, p launch.Plan, l record.Launch) {
	t.Helper()
	for _, reason := range l.Reasons {
		if strings.Contains(reason, "it was on") || strings.Contains(reason, "moved it") {
			logs, _ := filepath.Glob(filepath.Join(p.Out, "*-broker*"))
			for _, log := range logs {
				text, _ := os.ReadFile(log)
				t.Logf("%s:\n%s", filepath.Base(log), text)
			}
			t.Error(reason)
		}
	}
}

// The choice is judged beside what was measured, and beside what the distances allow, with all hosts.
func TestChoice(t *testing.T) {
	top, err := region.Parse("near.toml", []byte(acrosstest.Near))
	if err != nil {
		t.Fatal(err)
	}
	theory, err := advise.Advise(top, advise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	around := func(ms int) *hist.Hist {
		h := hist.NewLatency()
		h.Record(int64(ms) * 1e6)
		return h
	}
	var regions []record.Region
	for placement, x := range map[string]struct {
		leader string
		ms     int
	}{profiles.Best: {"n2 (b)", 8}, profiles.Worst: {"n3 (c)", 14}, profiles.Automatic: {"n1 (a)", 9}} {
		for range 3 {
			regions = append(regions, record.Region{Placement: placement, Leader: x.leader, System: around(x.ms)})
		}
	}
	l := &trip{Trip: &across.Trip{Advice: theory, Net: &across.Network{T: top}}}
	l.Rec = &record.Launch{Regions: regions}
	l.choice()
	// Led from a they wait 4, 8 and 14 ms, from b 8, 4 and 12.
	if c := l.Rec.Chosen; c == nil || c.Leader != "n1 (a)" || c.Best != "n2 (b)" || math.Abs(c.TheoryUs-2000.0/3) > 1 || math.Abs(c.BeyondUs-1000) > 20 {
		t.Errorf("chosen: %+v", c)
	}
	l.Rec = &record.Launch{Regions: regions[:0]}
	if l.choice(); l.Rec.Chosen != nil {
		t.Errorf("nothing was measured: %+v", l.Rec.Chosen)
	}
}

// A network that is not any more what it was in the beginning makes the launch invalid, and nothing of it is compared.
func TestDriftInvalidates(t *testing.T) {
	t.Parallel()
	l := newTrip(plan(t, lab.Relay, profiles.Best))
	l.Progress = func(step string) {
		if strings.Contains(step, "under load, "+across.After) {
			if err := l.Net.Lab.Worsen("n2", "n3", lab.Worse{Delay: 3 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		}
	}
	rec, err := l.run(t.Context())
	if err != nil || rec.Verdict != record.Invalid || len(rec.Pairs) > 0 {
		t.Fatalf("%v, %s %q, pairs %v", err, rec.Verdict, rec.Reasons, rec.Pairs)
	}
	if text := strings.Join(rec.Reasons, "\n"); !strings.Contains(text, "after what counts, n2 and n3 were ") {
		t.Errorf("the reasons are\n%s", text)
	}
	if x := rec.Network.Links[2]; x.WantUs != 8000 || !x.After.Off || x.After.P50Us < 11_000 {
		t.Errorf("the link that drifted: %+v", x)
	}
}

// ^C ends a launch wherever it is, and nothing is left behind.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	p := plan(t, lab.Relay, profiles.Best)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p.Progress = func(step string) {
		if strings.Contains(step, "warming up the system") {
			time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
		}
	}
	if _, err := Run(ctx, p); !errors.Is(err, enough) {
		t.Fatalf("ended with %v", err)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// mayStay checks that brokers are not bound to miss the bar for their choice: a leader that is worse than the best by more than the bar is worse by
// what a move must gain, too.
func mayStay(t *testing.T, name string) {
	t.Helper()
	top, err := region.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := advise.Advise(top, advise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Placements[1:] {
		gain := p.Mean - r.Placements[0].Mean
		if must := max(placing.Defaults().Gain, p.Mean/10); gain > record.ChosenBarUs*time.Microsecond && gain < must {
			t.Errorf("%s: brokers leave a leader on %s, which is %v worse than the best: a move must gain %v", name, p.Leader, gain, must)
		}
	}
}

// The built-in profiles describe networks that advise can place leaders on.
func TestProfilesHavePlacements(t *testing.T) {
	for _, name := range []string{"multi-dc-3", "world-dc-3", "multi-dc-5"} {
		text, err := os.ReadFile(filepath.Join("../../../profiles/topology", name+".toml"))
		var top profiles.Topology
		if err == nil {
			err = strict.Decode(name, "topology", text, &top)
		}
		if err == nil {
			err = top.Validate()
		}
		if err != nil || top.LongestTrip() <= 0 {
			t.Errorf("%s: %+v, %v", name, top, err)
			continue
		}
		mayStay(t, top.Region)
	}
	if err := (&profiles.Topology{Nodes: 3, Region: "world-5", Network: "auto"}).Validate(); err == nil || !strings.Contains(err.Error(), "has 5 hosts") {
		t.Errorf("three nodes of five: %v", err)
	}
	if err := fmt.Sprint((&profiles.Topology{Nodes: 3, Region: "world-3", Network: "cable"}).Validate()); !strings.Contains(err, `network = "cable"`) {
		t.Errorf("an unknown network: %s", err)
	}
}
