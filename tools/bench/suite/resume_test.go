package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

// A run that was stopped in the middle of a launch goes on with that launch, and is then what it would have been.
func TestGoOn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var ran []string
	stopAt, rings := 5, map[string]int64{}
	c := config(t, func(ctx context.Context, p launch.Plan) (record.Launch, error) {
		p.Progress("step")
		rings[p.Scenario.Name] = p.Scenario.Workload.RingBytes
		l := record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed, Verdict: record.OK}
		if len(ran) == stopAt {
			stop()
			l.Verdict, l.Reasons = record.Failed, []string{"what a launch says whose processes are taken from it"}
			return l, context.Cause(ctx)
		}
		ran = append(ran, fmt.Sprintf("%d %s %d", p.Number, p.Scenario.Name, p.Seed))
		return l, nil
	})
	c.Suite.Scenarios = c.Suite.Scenarios[:3]
	r, out, err := Run(ctx, c)
	if !errors.Is(err, context.Canceled) || !r.Interrupted || len(r.Launches) != stopAt {
		t.Fatalf("stopped: %v, %d launches, interrupted %v", err, len(r.Launches), r.Interrupted)
	}

	next := c
	next.Seed, next.Started = 0, c.Started.Add(time.Hour)
	if err := next.Take(filepath.Join(c.Out, Latest)); err != nil {
		t.Fatal(err)
	}
	second := &next.Suite.Scenarios[1]
	ring := second.Workload.RingBytes
	second.Workload.RingBytes *= 2 // what another look at the disk would have made of it
	if done, total := next.Done(); done != stopAt || total != next.total() {
		t.Errorf("%d of %d launches are there, want %d of %d", done, total, stopAt, next.total())
	}
	stopAt = -1
	last := Progress{}
	next.Progress = func(p Progress) { last = p }
	whole, again, err := Run(t.Context(), next)
	if err != nil || again != out || whole.Interrupted || whole.Seed != c.Seed || !whole.Started.Equal(r.Started) || len(whole.Launches) != c.total() {
		t.Fatalf("gone on with: %v, in %s, %+v", err, again, whole)
	}
	seen := map[string]bool{}
	for i, l := range whole.Launches {
		name := fmt.Sprintf("%d %s", l.Number, l.Scenario)
		want := launch.Mix(c.Seed + uint64(i/3)<<32 + uint64(i%3))
		if seen[name] || l.Verdict != record.OK || l.Seed != want || l.Number != i/3+1 {
			t.Errorf("launch %d is %s, %s, seed %d; want round %d, seed %d", i, name, l.Verdict, l.Seed, i/3+1, want)
		}
		seen[name] = true
	}
	if rings[second.Name] != ring {
		t.Errorf("%s has a ring of %d bytes in the end, and %d before", second.Name, rings[second.Name], ring)
	}
	if last.Done != c.total()-1 || !strings.Contains(strings.Join(whole.Notes, "\n"), "more than one sitting: gone on with at 2026-11-23 13:30:05 UTC, behind launch 5 of") {
		t.Errorf("last progress %+v, notes %q", last, whole.Notes)
	}
	if err := next.Take(out); err == nil || !strings.Contains(err.Error(), "is whole") {
		t.Errorf("a run that is whole is taken: %v", err)
	}
}

// What is measured otherwise than the run that is there is refused, and said.
func TestGoOnRefusesWhatDiffers(t *testing.T) {
	c := config(t, func(_ context.Context, p launch.Plan) (record.Launch, error) {
		return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Verdict: record.OK}, nil
	})
	_, out, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"digest": func(c *Config) {
			s := *c.Suite
			s.Launches++
			c.Suite = &s
		},
		"directory: here / there": func(c *Config) { c.Dir = "there" },
		"machine: a / b": func(c *Config) {
			c.Place.Host = fingerprint.New([]fingerprint.Field{{Name: "machine", Value: "b", Match: true}})
		},
	} {
		other := c
		change(&other)
		if want == "machine: a / b" {
			r, err := record.Read(out)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = fingerprint.New([]fingerprint.Field{{Name: "machine", Value: "a", Match: true}})
			if err := record.Write(filepath.Join(out, record.ResultsName), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.Take(out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("taken although %q: %v", want, err)
		}
	}
	if err := c.Take(filepath.Join(c.Out, "nothing")); err == nil {
		t.Error("a folder that is not there was taken")
	}
}
