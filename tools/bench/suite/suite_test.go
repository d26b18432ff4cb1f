package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/walbench/raw"
)

// config is a run of the quick suite on a temporary directory with launches that are made up.
func config(t *testing.T, one func(context.Context, launch.Plan) (record.Launch, error)) Config {
	t.Helper()
	s, err := profiles.LoadSuite("quick")
	if err != nil {
		t.Fatal(err)
	}
	s.Tuning.SyncMethod = "buffered-dsync" // no probing
	dir := t.TempDir()
	place, err := raw.FindPlace(dir, []string{"tmpfs", "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Suite: s, Place: place, Dir: "here", Out: t.TempDir(), Seed: 7, Launch: one, Disk: noDisk{},
		Started: time.Date(2026, 11, 23, 12, 30, 5, 0, time.UTC)}
}

// noDisk is a disk that launches which are made up do not ask.
type noDisk struct{}

func (noDisk) DurableRate(context.Context, time.Duration) (float64, error) { panic("asked") }

func TestRunWritesEverythingDown(t *testing.T) {
	var order []string
	seeds := map[uint64]string{}
	c := config(t, func(_ context.Context, p launch.Plan) (record.Launch, error) {
		name := fmt.Sprintf("%d %s", p.Number, p.Scenario.Name)
		order = append(order, name)
		if other, taken := seeds[p.Seed]; taken {
			t.Errorf("%s and %s have one seed", name, other)
		}
		seeds[p.Seed] = name
		if p.Method != "buffered-dsync" {
			t.Errorf("%s runs with %q", name, p.Method)
		}
		if err := os.WriteFile(filepath.Join(p.Dir, name), nil, 0o644); err != nil { // work left behind
			t.Error(err)
		}
		p.Progress("step")
		return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed, Verdict: record.OK}, nil
	})
	var last Progress
	c.Progress = func(p Progress) {
		if p.Done < last.Done {
			t.Errorf("went back from %+v to %+v", last, p)
		}
		last = p
	}
	r, out, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	n, total := len(c.Suite.Scenarios), c.total()
	if len(r.Launches) != total || order[0] != "1 latency-1" || order[1] == "2 latency-1" || order[n] != "2 latency-1" {
		t.Errorf("%d launches in the order %v, want rounds of %d scenarios", len(r.Launches), order, n)
	}
	if last.Done != total-1 || last.Total != total {
		t.Errorf("the last progress was %+v", last)
	}
	if filepath.Base(out) != "2026-11-23T12-30-05Z" {
		t.Errorf("out directory %s", out)
	}
	for _, name := range []string{filepath.Join(c.Out, Latest), out, filepath.Join(c.Out, LatestRecord)} {
		back, err := record.Read(name)
		if err != nil || len(back.Launches) != total || back.Seed != 7 || back.ProfileDigest != c.Suite.Digest() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "launch-06-recovery-small.json")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(c.Place.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
	for _, s := range r.Scenarios {
		if (s.FloorIs == "") != (s.Operation == "Failover") || s.Configuration["ring_bytes"]+s.Configuration["point_1_of_bytes_groups_ring_bytes"] == "" || s.Operation == "" {
			t.Errorf("scenario %+v", s)
		}
	}
	c.Started = c.Started.Add(time.Second)
	clear(seeds)
	last = Progress{}
	if _, again, err := Run(context.Background(), c); err != nil {
		t.Errorf("a second run: %v", err)
	} else if to, _ := os.Readlink(filepath.Join(c.Out, Latest)); to != filepath.Base(again) {
		t.Errorf("latest is %s, want %s", to, again)
	}
}

// A scenario with launches of its own is in the first rounds only, and the disk is at hand in every launch.
func TestFewerLaunchesOfOne(t *testing.T) {
	var order []string
	c := config(t, func(_ context.Context, p launch.Plan) (record.Launch, error) {
		order = append(order, fmt.Sprintf("%d%c", p.Number, p.Scenario.Name[0]))
		if p.Disk == nil {
			t.Errorf("launch %d of %s has no disk", p.Number, p.Scenario.Name)
		}
		return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Verdict: record.OK}, nil
	})
	c.Suite.Scenarios, c.Suite.Launches = c.Suite.Scenarios[:2], 3
	c.Suite.Scenarios[0].Launches = 1
	most := 0
	c.Progress = func(p Progress) { most = max(most, p.Total) }
	if _, _, err := Run(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "1l 1i 2i 3i" || most != 4 {
		t.Errorf("ran %s of %d, want 1l 1i 2i 3i of 4", got, most)
	}
	c.Suite.Scenarios[0].Launches = 5
	if got := c.roundCount(); got != 5 {
		t.Errorf("%d rounds, want 5", got)
	}
}

func TestFindDisk(t *testing.T) {
	small := raw.SeqConfig{Blocks: []int{4096}, Depths: []int{1, 2}, Rounds: 1, FileBytes: 64 << 10, GroupBytes: 16 << 10, SliceTime: time.Hour}
	c := config(t, nil)
	c.Disk = nil
	r := &record.Results{}
	work := t.TempDir()
	closer, err := c.findDisk(t.Context(), r, work, small)
	if err != nil || len(r.Notes) != 1 {
		t.Fatalf("%v, notes %q", err, r.Notes)
	}
	if c.Disk == nil {
		if !strings.Contains(r.Notes[0], "was not measured") {
			t.Errorf("without O_DIRECT: notes %q", r.Notes)
		}
	} else {
		if rate, err := c.Disk.DurableRate(t.Context(), 1); err != nil || rate <= 0 || !strings.Contains(r.Notes[0], "blocks of 4 KiB") {
			t.Errorf("%v bytes a second, %v; notes %q", rate, err, r.Notes)
		}
	}
	if err := closer(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(work); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
	c = config(t, nil)
	c.Disk = nil
	if _, err := c.findDisk(t.Context(), r, filepath.Join(work, "none"), small); err == nil || !strings.Contains(err.Error(), "durable rate") {
		t.Errorf("a directory that is not there: %v", err)
	}
	c.Suite.Scenarios = c.Suite.Scenarios[:1] // no throughput
	if _, err := c.findDisk(t.Context(), r, filepath.Join(work, "none"), small); err != nil || c.Disk != nil {
		t.Errorf("looked for a disk that nobody asks: %v", err)
	}
	if s := seqConfig(); s.Validate() != nil {
		t.Error(s.Validate())
	}
}

// What is in effect is written down, of every scenario kind.
func TestDescribe(t *testing.T) {
	s, err := profiles.LoadSuite("full")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]record.Scenario{}
	for _, sc := range s.Scenarios {
		got[sc.Name] = describe(s, sc)
	}
	for _, c := range []struct{ scenario, key, want string }{
		{"latency-1", "library_slice_ms", "300"}, {"end-to-end", "end_to_end", "true"}, {"steady-2000", "end_to_end", ""},
		{"sweep", record.ObjectiveKey, "2000"}, {"sweep", "rate_factor", "1.5"}, {"sweep", "rate_limit_per_second", "250000"},
		{"sweep", "rate_per_second", "4000"}, {"recovery", "probe_rate_per_second", "1000"}, {"recovery", "probe_limit_ms", "15000"},
	} {
		if v := got[c.scenario].Configuration[c.key]; v != c.want {
			t.Errorf("%s: %s is %q, want %q", c.scenario, c.key, v, c.want)
		}
	}
	if sc := got["sweep"]; sc.Operation != "Produce" || sc.FloorIs != "durable echo" {
		t.Errorf("the sweep is %+v", sc)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := config(t, func(ctx context.Context, p launch.Plan) (record.Launch, error) {
		if p.Number == 2 {
			cancel(errors.New("^C"))
			return record.Launch{}, context.Cause(ctx)
		}
		return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Verdict: record.OK}, nil
	})
	r, out, err := Run(ctx, c)
	if err == nil || err.Error() != "^C" {
		t.Errorf("got %v", err)
	}
	back, readErr := record.Read(out)
	if readErr != nil || !back.Interrupted || len(back.Launches) != len(c.Suite.Scenarios) || len(r.Launches) != len(back.Launches) {
		t.Errorf("%v: what was measured is not there", readErr)
	}
	if left, _ := os.ReadDir(c.Place.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

func TestRefusals(t *testing.T) {
	c := config(t, nil)
	c.Suite.Tuning.SyncMethod = "wishful"
	if _, _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "buffered-rwf-dsync") {
		t.Errorf("an unknown sync method: %v", err)
	}
	c = config(t, nil)
	c.Suite.Scenarios[0].Workload.RingBytes = 1 << 60
	if _, _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "GiB free") {
		t.Errorf("a disk that is too small: %v", err)
	}
}

func TestEstimateLearns(t *testing.T) {
	s, err := profiles.LoadSuite("quick")
	if err != nil {
		t.Fatal(err)
	}
	e := newEstimate(s)
	if got := e.remaining(0); got != s.Estimate()-s.EstimateStart() {
		t.Errorf("at the first launch %v, want %v", got, s.Estimate()-s.EstimateStart())
	}
	e.took("latency-1", time.Minute)
	rest := s.Estimate() - s.EstimateStart() - time.Duration(s.Launches)*s.EstimateScenario(s.Scenarios[0])
	if got := e.remaining(0); got != rest+5*time.Minute {
		t.Errorf("after a launch of a minute %v, want five such and %v", got, rest)
	}
	if got := e.remaining(time.Hour); got != 0 {
		t.Errorf("when it takes longer than all: %v", got)
	}
}
