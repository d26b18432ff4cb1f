package loss

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/netlab/lab"
)

func TestMain(m *testing.M) { acrosstest.Main(m) }

// slowed is a plan that knows the disk which is to be slow, and how many incidents of that there can be here.
func slowed(t *testing.T, p launch.Plan) (launch.Plan, int) {
	t.Helper()
	m, err := fingerprint.FindMount(os.DirFS("/"), p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := fingerprint.FindDisk(os.DirFS("/"), m)
	p.Device = d.Name
	if err := p.SlowDisk().Permitted(); err != nil {
		t.Logf("no slow disk: %v", err)
		return p, 0
	}
	return p, p.Scenario.Workload.SlowDiskIncidents
}

// Whatever is cut, or slow, somebody in another region writes on, nothing that was acknowledged is lost, and the region leads again afterwards.
func TestRegionsAreLost(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs = profiles.RegionLoss, 100, acrosstest.Ring, 60_000
		w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.RestMs, w.PauseMs = 1000, 60_000, 300, 50, 50
		w.LeaderRegionIncidents, w.OtherRegionIncidents, w.OneWayRegionIncidents, w.SlowDiskIncidents, w.SlowWritesPerSecond = 1, 1, 1, 1, 20
		p, slow := slowed(t, acrosstest.Plan(t, mode, w))
		l, err := Run(t.Context(), p)
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < 300 || l.Requests != l.Check.Acknowledged {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		if len(l.Incidents) != 4+slow || l.Network == nil || l.Network.Mode != string(mode) || !l.Network.Idle {
			t.Fatalf("%+v on %+v", l.Incidents, l.Network)
		}
		sorts := slices.Clone(record.RegionSorts)
		if slow > 0 {
			sorts = append(sorts, record.Slow)
		}
		for _, s := range sorts {
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
			if s != record.OtherRegion && s != record.Slow && in.GapMs < 300 {
				t.Errorf("%+v: nobody noticed", in)
			}
			// The workload's pause at least.
			if in.BackMs < 50 || in.LibraryGapMs != 0 {
				t.Errorf("%+v: over in no time, or seen by a client that is not there", in)
			}
		}
		if trip, ok := l.Get(record.Host, record.LongestTripMs); !ok || trip < 10 {
			t.Errorf("the longest round trip is %v ms, want 10 at least", trip)
		}
		if slow == 0 && !slices.ContainsFunc(l.Notes, func(n string) bool { return strings.Contains(n, "no slow-disk incident") }) {
			t.Errorf("nothing says that there was no slow disk: %q", l.Notes)
		}
		if !slices.ContainsFunc(l.Notes, func(n string) bool {
			return strings.Contains(n, "leader is on n2 (b), the region that follows and is lost is that of n1 (a), the client is on n3 (c)")
		}) {
			t.Errorf("notes %q", l.Notes)
		}
	})
}

// A client that nobody set up for failovers stands where the other one does, is later, and has lost nothing either.
func TestLibraryIsBeside(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs, w.LibraryClient = profiles.RegionLoss, 100, acrosstest.Ring, 60_000, true
		w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.RestMs, w.PauseMs = 500, 60_000, 300, 50, 50
		w.LeaderRegionIncidents = 1
		l, err := Run(t.Context(), acrosstest.Plan(t, mode, w))
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Requests != l.Check.Acknowledged || len(l.Incidents) != 1 {
			t.Fatalf("%v, %s %q, check %+v, %+v", err, l.Verdict, l.Reasons, l.Check, l.Incidents)
		}
		if in := l.Incidents[0]; in.LibraryGapMs < 300 {
			t.Errorf("%+v: it did not notice", in)
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
