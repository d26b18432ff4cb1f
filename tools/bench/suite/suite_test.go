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
	return Config{Suite: s, Place: place, Dir: "here", Out: t.TempDir(), Seed: 7, Launch: one,
		Started: time.Date(2026, 11, 23, 12, 30, 5, 0, time.UTC)}
}

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
	n := len(c.Suite.Scenarios)
	if len(r.Launches) != 6*n || order[0] != "1 latency-1" || order[1] == "2 latency-1" || order[n] != "2 latency-1" {
		t.Errorf("%d launches in the order %v, want rounds of %d scenarios", len(r.Launches), order, n)
	}
	if last.Done != 6*n-1 || last.Total != 6*n {
		t.Errorf("the last progress was %+v", last)
	}
	if filepath.Base(out) != "2026-11-23T12-30-05Z" {
		t.Errorf("out directory %s", out)
	}
	for _, name := range []string{filepath.Join(c.Out, Latest), out, filepath.Join(c.Out, LatestRecord)} {
		back, err := record.Read(name)
		if err != nil || len(back.Launches) != 6*n || back.Seed != 7 || back.ProfileDigest != c.Suite.Digest() {
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
		if s.FloorIs == "" || s.Configuration["ring_bytes"] == "" || s.Operation == "" {
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
	if got := e.remaining(0); got != s.Estimate() {
		t.Errorf("at the start %v, want %v", got, s.Estimate())
	}
	e.took("latency-1", time.Minute)
	rest := s.Estimate() - time.Duration(s.Launches)*s.EstimateScenario(s.Scenarios[0])
	if got := e.remaining(0); got != rest+5*time.Minute {
		t.Errorf("after a launch of a minute %v, want five such and %v", got, rest)
	}
	if got := e.remaining(time.Hour); got != 0 {
		t.Errorf("when it takes longer than all: %v", got)
	}
}
