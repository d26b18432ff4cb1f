package launch

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"ackline/profiles"
	"ackline/tools/bench/record"
)

// Both sides are loads on the same brokers, which are drained after each slice; both are read back.
func TestSpreadLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.Arrivals, w.RatePerSecond, w.InFlight, w.Connections, w.Partitions = profiles.Spread, profiles.Poisson, 2000, 16, 3, 12
	p, cluster, checkpoints := stageOf(t, w, 3)
	p.Scenario.SliceMs = 110
	l := sure(t, p)
	if n, want := int(checkpoints.Load()), 3*(2+4*cycles(l)); n != want { // three nodes, after two warm-ups and four slices
		t.Errorf("%d checkpoints, want %d", n, want)
	}
	used := 0
	for i := range 12 {
		if cluster.Stored(topic, i) > 0 {
			used++
		}
	}
	if used != 12 || cluster.Stored(single, 0) == 0 {
		t.Errorf("%d of 12 partitions were written to, and %d records to the one beside them", used, cluster.Stored(single, 0))
	}
	for _, s := range []side{record.System, record.Floor} {
		if v, ok := l.Get(s, "syncs_per_second"); l.Verdict == record.OK && (!ok || v < 0) {
			t.Errorf("the %s has %v syncs a second, %v", s, v, ok)
		}
	}
}

// Nodes are killed, paused, stopped and cut off, come back, and nothing is left behind.
func TestFailoverLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.Partitions, w.ProbeRatePerSecond, w.ProbeLimitMs = profiles.Failover, 6, 500, 20_000
	w.KillIncidents, w.PauseIncidents, w.StopIncidents, w.PartitionIncidents, w.PauseMs, w.QuietMs, w.RestMs = 1, 1, 1, 1, 20, 20, 20
	p, _, _ := stageOf(t, w, 3)
	l := sure(t, p)
	for _, s := range []record.IncidentSort{record.Kill, record.Pause, record.Stop, record.Cut} {
		if tuned, library := record.Gaps(l.Incidents, s); len(tuned) != 1 || len(library) != 1 {
			t.Errorf("%s: gaps %v and %v", s, tuned, library)
		}
		if v, ok := l.Get(record.System, string(s)+"_gap_ms_worst"); !ok || v <= 0 {
			t.Errorf("%s: worst gap %v, %v", s, v, ok)
		}
	}
	if l.Timeline == nil || len(l.Timeline.Spans) != len(l.Incidents) {
		t.Errorf("timeline %+v, want a span for each of %d incidents", l.Timeline, len(l.Incidents))
	}
	for _, again := range []string{"broker-1-2.log", "broker-1-3.log"} { // the fake's partition stays with node 1
		if _, err := os.Stat(filepath.Join(p.Out, "launch-03-scenario-"+again)); err != nil {
			t.Error(err)
		}
	}
	if v, _ := l.Get(record.System, "records_unacknowledged"); v != 0 {
		t.Errorf("%v records were never acknowledged", v)
	}
}

func TestIdleLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.Partitions, w.QuietMs, w.WatchMs = profiles.Idle, 2500, 10, 100
	p, cluster, _ := stageOf(t, w, 3)
	l, err := Run(context.Background(), p)
	if err != nil || l.Verdict != record.OK || l.Requests != 2500 {
		t.Fatalf("%s %q, %v", l.Verdict, l.Reasons, err)
	}
	for _, name := range []string{"core_share", "resident_bytes", "heartbeats_per_peer_per_second", "raft_messages_per_second"} {
		if v, ok := l.Get(record.System, name); !ok || v < 0 {
			t.Errorf("%s is %v, %v", name, v, ok)
		}
	}
	if !cluster.Has("idle-2000") || cluster.Has("idle-3000") {
		t.Error("the partitions are not in topics of a thousand")
	}
	if left, _ := os.ReadDir(p.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

// A node that follows is killed and comes back to what was written without it.
func TestCatchUpLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.RecordBytes, w.PreloadBytes, w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs = profiles.CatchUp, 1024, 4<<20, 500, 20_000, 300
	p, cluster, checkpoints := stageOf(t, w, 3)
	p.Disk = &fakeDisk{rates: []float64{5e9, 4e9}}
	l := sure(t, p)
	if n := checkpoints.Load(); n != 2 { // of the two that were there
		t.Errorf("%d checkpoints, want 2", n)
	}
	if n := cluster.Stored(topic, 0); n < 4<<10 {
		t.Errorf("%d records of 1 KiB were written, want 4 MiB", n)
	}
	pair, ok := l.Pair("catch-up")
	rate, _ := l.Get(record.System, "catch_up_bytes_per_second")
	if !ok || pair.Floor != 5e9 || pair.System != rate || rate <= 0 || pair.Ratio != 5e9/rate {
		t.Errorf("caught up at %v bytes/s, %+v", rate, pair)
	}
	if l.Timeline == nil || len(l.Timeline.Spans) != 2 {
		t.Errorf("timeline %+v, want the node away and catching up", l.Timeline)
	}
	if v, ok := l.Get(record.System, record.UsersP99); !ok || v <= 0 {
		t.Errorf("the users' p99 is %v times as long, %v", v, ok)
	}
	if _, err := os.Stat(filepath.Join(p.Out, "launch-03-scenario-broker-2-2.log")); err != nil {
		t.Error(err) // the fake's partition is led by node 1
	}
}
