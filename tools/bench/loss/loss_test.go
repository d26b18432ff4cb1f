package loss

import (
	"slices"
	"strings"
	"testing"

	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/lab"
)

func TestMain(m *testing.M) { acrosstest.Main(m) }

// Whatever is cut, somebody in another region writes on, nothing that was acknowledged is lost, and the region leads again afterwards.
func TestRegionsAreLost(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs = profiles.RegionLoss, 100, acrosstest.Ring, 60_000
		w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.RestMs, w.PauseMs = 1000, 60_000, 300, 50, 50
		w.LeaderRegionIncidents, w.OtherRegionIncidents, w.OneWayRegionIncidents = 1, 1, 1
		p := acrosstest.Plan(t, mode, w)
		l, err := Run(t.Context(), p)
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < 300 || l.Requests != l.Check.Acknowledged {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		if len(l.Incidents) != 4 || l.Network == nil || l.Network.Mode != string(mode) || !l.Network.Idle {
			t.Fatalf("%+v on %+v", l.Incidents, l.Network)
		}
		for _, s := range record.RegionSorts {
			i := slices.IndexFunc(l.Incidents, func(i record.Incident) bool { return i.Sort == s })
			if i < 0 {
				t.Fatalf("no %s among %+v", s, l.Incidents)
			}
			in := l.Incidents[i]
			// The leader is on n2, nearest to everybody; n1 is its nearest follower. A time-out is the broker's default at least; it is more on a machine so
			// busy that round trips look long.
			if node := map[bool]int{true: 1, false: 2}[s == record.OtherRegion]; in.Node != node || in.ElectionMs < 1000 {
				t.Errorf("%+v, want node %d and a time-out of 1 s at least", in, node)
			}
			// Nobody is heard of for some heartbeats before another may lead.
			if s != record.OtherRegion && in.GapMs < 300 {
				t.Errorf("%+v: nobody noticed", in)
			}
		}
		if trip, ok := l.Get(record.Host, record.LongestTripMs); !ok || trip < 10 {
			t.Errorf("the longest round trip is %v ms, want 10 at least", trip)
		}
		if len(l.Notes) == 0 || !strings.Contains(l.Notes[len(l.Notes)-1], "leader is on n2 (b), the region that follows and is lost is that of n1 (a), the client is on n3 (c)") {
			t.Errorf("notes %q", l.Notes)
		}
	})
}

// Roles follow from the distances; with fewer than three regions there is nobody to play them.
func TestSeats(t *testing.T) {
	near, err := region.Parse("near", []byte(acrosstest.Near))
	if err != nil {
		t.Fatal(err)
	}
	for best, want := range map[string]seats{"n1": {0, 1, 2}, "n2": {1, 0, 2}, "n3": {2, 1, 0}} {
		if got, err := seatsOf(near, best); err != nil || got != want {
			t.Errorf("best is %s: %+v, %v, want %+v", best, got, err, want)
		}
	}
	near.Hosts[0].Region = "c"
	if got, err := seatsOf(near, "n2"); err == nil || !strings.Contains(err.Error(), "at least three regions") {
		t.Errorf("two regions: %+v, %v", got, err)
	}
}
