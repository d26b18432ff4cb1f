package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/walbench/raw"
)

// elsewhere is config without anything of this machine.
func elsewhere(t *testing.T, there launch.There, one func(context.Context, launch.Plan) (record.Launch, error)) Config {
	t.Helper()
	c := config(t, one)
	host := c.Place.Host
	c.Place, c.Dir, c.Disk = raw.Place{Host: host}, "", nil
	c.Elsewhere = &Elsewhere{There: there, About: record.Remote{Hosts: 1, Note: "far", Unknown: []string{"all"}}}
	c.Suite.Tuning.SyncMethod = "auto" // nobody probes
	return c
}

// Nothing of this machine's disk is touched or recorded, and what is not there is not named as a limit.
func TestRunElsewhere(t *testing.T) {
	for _, floor := range []string{"", "f:1"} {
		c := elsewhere(t, launch.There{Brokers: []string{"a:1"}, Copies: 1, Floor: floor}, func(_ context.Context, p launch.Plan) (record.Launch, error) {
			if p.There == nil || p.There.Floor != floor || p.Dir != "" || p.Device != "" || p.Disk != nil {
				t.Errorf("planned %+v", p)
			}
			return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Verdict: record.OK}, nil
		})
		r, out, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Remote == nil || r.Remote.Note != "far" || r.SyncMethod != "" || r.FloorVersion != 0 || r.Dir != "" || r.FreeBytes != 0 {
			t.Errorf("recorded %+v", r)
		}
		for _, s := range r.Scenarios {
			if s.Workload == "geo-small" {
				continue // hosts.Fit leaves it out
			}
			if writes := s.Operation == "Produce"; writes && (s.FloorIs == "") != (floor == "") {
				t.Errorf("with the floor %q %s stands beside %q", floor, s.Name, s.FloorIs)
			}
			if _, ok := s.Configuration["ring_bytes"]; ok || s.Tuning != "unknown" {
				t.Errorf("%s claims to know %v, tuning %s", s.Name, s.Configuration, s.Tuning)
			}
			if strings.Contains(s.Note, "could not be asked to drain") != (s.Name == "throughput") {
				t.Errorf("%s: %s", s.Name, s.Note)
			}
		}
		if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 3 {
			t.Errorf("%v, %v: want the run and two links to it", left, err)
		}
	}
}

// A launch that ends the run is recorded with what it failed of.
func TestRunElsewhereThatEnds(t *testing.T) {
	c := elsewhere(t, launch.There{Brokers: []string{"a:1"}, Copies: 1}, func(_ context.Context, p launch.Plan) (record.Launch, error) {
		return record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Verdict: record.Failed, Reasons: []string{"gone"}}, errors.New("went away")
	})
	r, out, err := Run(context.Background(), c)
	if err == nil || !strings.Contains(err.Error(), "went away") || len(r.Launches) != 1 {
		t.Errorf("%v after %d launches", err, len(r.Launches))
	}
	if back, err := record.Read(out); err != nil || len(back.Launches) != 1 || back.Remote == nil {
		t.Errorf("%v, %+v", err, back)
	}
}
