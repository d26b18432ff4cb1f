package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/compare/builds"
	"ackline/tools/compare/trial"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/stats"
)

func settings() Settings {
	return Settings{Base: builds.Commit{Hash: "aaaaaaaaaaaaaaaa"}, Head: builds.Commit{Hash: "bbbbbbbbbbbbbbbb"}, Scenario: "latency-1", Dir: "here",
		Plan: trial.Plan{SamePairs: 2, Looks: []int{10}, Spare: 1}}
}

// results is what a bench records, with the ratio given.
func results(ratio float64) *record.Results {
	return &record.Results{Format: record.Format, FloorVersion: 1, GoVersion: "go1.26", SyncMethod: "direct-dsync", Started: time.Unix(1, 0), Ended: time.Unix(12, 0),
		Host:      fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}, {Name: "go_version", Value: "go1.26", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", FloorIs: "durable echo", Configuration: map[string]string{"ring_bytes": "30408704"}}},
		Launches: []record.Launch{{Number: 1, Scenario: "latency-1", Verdict: record.OK,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 100 * ratio, Floor: 100, Ratio: ratio, Gated: true},
				{Name: "rate", Unit: "1/s", System: 9000, Floor: 9900, Ratio: 1.1}},
			Figures: []record.Figure{{Name: "io_calls_per_request", Unit: "1/request", Side: record.System, Value: 3},
				{Name: "io_calls_per_request", Unit: "1/request", Side: record.Floor, Value: 2},
				{Name: "client_cpu_ns_per_request", Unit: "ns/request", Side: record.System, Value: 9}}}}}
}

// fake is a bench that answers with what f makes of a request.
type fake struct {
	requests []Request
	suites   []string
	f        func(n int, r Request) (*record.Results, error)
}

func (b *fake) run(_ context.Context, r Request) (*record.Results, error) {
	text := ""
	for _, name := range []string{suiteName, "tuning.toml", "workload.toml"} {
		part, _ := os.ReadFile(filepath.Join(filepath.Dir(r.Suite), name))
		text += string(part)
	}
	b.requests, b.suites = append(b.requests, r), append(b.suites, text)
	return b.f(len(b.requests)-1, r)
}

func open(t *testing.T, out string, s Settings, b *fake) *Session {
	t.Helper()
	c, err := Open(out, s, false, b.run)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResumedSessionSaysTheSame(t *testing.T) {
	out := t.TempDir()
	boom := errors.New("boom")
	wobble := func(n int, r Request) (*record.Results, error) { return results(1.1 + float64(r.Seed%7)/1000), nil }
	b := &fake{f: func(n int, r Request) (*record.Results, error) {
		if n == 9 {
			return nil, boom
		}
		return wobble(n, r)
	}}
	s := open(t, out, settings(), b)
	if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if _, err := Open(out, settings(), false, b.run); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("the folder was opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b.f = wobble
	s = open(t, out, settings(), b)
	first, err := trial.Run(t.Context(), s.Settings.Plan, s, nil)
	if err != nil || s.Resumed != 9 || len(b.requests) != 2+4+20+1 || b.requests[9].Seed != b.requests[10].Seed {
		t.Fatalf("%v, %d there already, %d measured; want the one that failed measured again and no other", err, s.Resumed, len(b.requests))
	}
	s.Close()
	s = open(t, out, settings(), b)
	defer s.Close()
	second, err := trial.Run(t.Context(), s.Settings.Plan, s, nil)
	if err != nil || len(b.requests) != 27 || second.Verdict != first.Verdict || !slices.Equal(second.Rows, first.Rows) {
		t.Errorf("%v: from the files came %+v, measured was %+v", err, second, first)
	}
	if first.Verdict != stats.Passed || first.Plan.Gates[0] != "p50 / floor" || first.Plan.Gates[1] != "io_calls_per_request" || len(first.Plan.Gates) != 2 {
		t.Errorf("%s by %q", first.Verdict, first.Plan.Gates)
	}
}

// The calibration may choose, and what it chose is what everything else is given.
func TestLoadIsPinned(t *testing.T) {
	b := &fake{f: func(int, Request) (*record.Results, error) { return results(1.1), nil }}
	s := open(t, t.TempDir(), settings(), b)
	defer s.Close()
	if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); err != nil {
		t.Fatal(err)
	}
	if first := b.suites[0]; !strings.Contains(first, `sync_method = "auto"`) || !strings.Contains(first, "ring_laps = 4") {
		t.Errorf("the calibration was given\n%s", first)
	}
	for _, later := range b.suites[1:] {
		if !strings.Contains(later, `sync_method = "direct-dsync"`) || !strings.Contains(later, "ring_bytes = 30408704\n") || strings.Contains(later, "ring_laps") {
			t.Fatalf("a launch was given\n%s", later)
		}
	}
}

// What is written must be what a bench reads, calibrated or not.
func TestSuitesAreRead(t *testing.T) {
	for _, name := range Scenarios() {
		for _, quick := range []bool{false, true} {
			for _, l := range []load{{}, {"direct-dsync", "67108864"}} {
				dir, s := t.TempDir(), settings()
				s.Scenario, s.Quick = name, quick
				if err := l.write(dir, s); err != nil {
					t.Fatal(err)
				}
				suite, err := profiles.LoadSuite(filepath.Join(dir, suiteName))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if want := s.Scenario; len(suite.Scenarios) != 1 || suite.Scenarios[0].Name != want {
					t.Errorf("the suite has %+v, want %s", suite.Scenarios, want)
				}
			}
		}
	}
	if err := new(load).write(t.TempDir(), Settings{Scenario: "x"}); err == nil || !strings.Contains(err.Error(), "there are latency-1") {
		t.Errorf("%v", err)
	}
}

// The quick comparison has six minutes, of which the builds may take one and a half; the full one may take twenty.
func TestItTakesAsLongAsIsSaid(t *testing.T) {
	for _, c := range []struct {
		quick bool
		plan  trial.Plan
		most  time.Duration
	}{{true, trial.Quick(), 270 * time.Second}, {false, trial.Full(), 20 * time.Minute}} {
		b, set := &fake{}, settings()
		set.Quick, set.Plan = c.quick, c.plan
		s := open(t, t.TempDir(), set, b)
		each, err := s.Estimate()
		if took := time.Duration(c.plan.Most()) * each; err != nil || took > c.most || took < c.most/2 {
			t.Errorf("quick %v: %v, %d launches of %v take %v, at most %v are promised", c.quick, err, c.plan.Most(), each, took, c.most)
		}
		s.Close()
	}
}

func TestWhatEndsASession(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *record.Results)
		want   string
	}{
		"another machine": {func(r *record.Results) {
			r.Host = fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "4", Match: true}})
		}, "cpus: 2 / 4"},
		"lost data": {func(r *record.Results) {
			r.Launches[0].Verdict, r.Launches[0].Reasons = record.Failed, []string{"the data check failed"}
		}, "bbbbbbbbbbbb failed: the data check failed"},
		"another load": {func(r *record.Results) { r.Launches[0].Scenario = "x" }, "want one of latency-1"},
	} {
		b := &fake{f: func(n int, r Request) (*record.Results, error) {
			x := results(1.1)
			if n > 6 && r.Side == trial.Head {
				c.change(x)
			}
			return x, nil
		}}
		s := open(t, t.TempDir(), settings(), b)
		if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		s.Close()
	}
}

// A floor that changed between the commits is no common measure: then the latencies themselves decide, and that is said.
func TestOtherFloor(t *testing.T) {
	b := &fake{f: func(_ int, r Request) (*record.Results, error) {
		x := results(1.1)
		if r.Side == trial.Head { // its bench also knows a field of the fingerprint that the base's does not
			x.FloorVersion, x.GoVersion = 2, "go1.27"
			x.Host = fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}, {Name: "go_version", Value: "go1.27", Match: true},
				{Name: "cpu_latency_us", Value: "0", Match: true}})
		}
		return x, nil
	}}
	s := open(t, t.TempDir(), settings(), b)
	defer s.Close()
	o, err := trial.Run(t.Context(), s.Settings.Plan, s, nil)
	if err != nil || !slices.Contains(o.Plan.Gates, "p50") || slices.Contains(o.Plan.Gates, "p50 / floor") || slices.Contains(o.Plan.Gates, "rate") {
		t.Errorf("%v: decided by %+v", err, o)
	}
	if notes := s.Notes(); len(notes) != 3 || !strings.Contains(notes[1], "the p99 is not judged") || !strings.Contains(notes[2], "go1.26 / go1.27") || !strings.Contains(notes[0], "the floors differ (version 1 / 2)") {
		t.Errorf("%q", notes)
	}
}

// Whoever stops syncing gets faster than is possible.
func TestBroken(t *testing.T) {
	b := &fake{f: func(_ int, r Request) (*record.Results, error) {
		if r.Side == trial.Head {
			return results(0.5), nil
		}
		return results(1.1), nil
	}}
	s := open(t, t.TempDir(), settings(), b)
	defer s.Close()
	if s.Broken() != nil {
		t.Error("broken before anything was measured")
	}
	if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); err != nil {
		t.Fatal(err)
	}
	if why := s.Broken(); len(why) != 1 || !strings.Contains(why[0], "not durable") {
		t.Errorf("%q", why)
	}
}

func TestFilesOfOthers(t *testing.T) {
	out := t.TempDir()
	b := &fake{f: func(int, Request) (*record.Results, error) { return results(1.1), nil }}
	s := open(t, out, settings(), b)
	if err := os.WriteFile(filepath.Join(s.Folder, "launch-0003.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); err == nil || !strings.Contains(err.Error(), "launch-0003.json is not the record of this launch") {
		t.Errorf("%v", err)
	}
	third, err := os.ReadFile(filepath.Join(s.Folder, "launch-0002.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Folder, "launch-0003.json"), third, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trial.Run(t.Context(), s.Settings.Plan, s, nil); err == nil || !strings.Contains(err.Error(), "launch-0003.json is not the record of this launch") {
		t.Errorf("another launch's file: %v", err)
	}
	s.Close()
	if s, err := Open(out, settings(), true, b.run); err != nil || s.Resumed != 0 {
		t.Errorf("%+v, %v: want an empty folder", s, err)
	} else {
		s.Close()
	}
	other := settings()
	other.Dir = "elsewhere"
	if _, err := Open(out, other, false, b.run); err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("%v", err)
	}
}
