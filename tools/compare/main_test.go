package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/compare/files"
	"ackline/tools/hostinfo/fingerprint"
)

// results is a record of ten launches.
func results(t *testing.T, dir, commit, cpus string, ratio float64) string {
	t.Helper()
	r := &record.Results{Format: record.Format, Commit: commit, FloorVersion: 1, ProfileDigest: "p",
		Host:      fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: cpus, Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", Operation: "Produce", FloorIs: "durable echo"}}}
	for n := range 10 {
		x := ratio * (1 + 0.001*float64(n%3))
		r.Launches = append(r.Launches, record.Launch{Number: n + 1, Scenario: "latency-1", Verdict: record.OK,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 100 * x, Floor: 100, Ratio: x, Excess: 100 * (x - 1), Gated: true}}})
	}
	name := filepath.Join(dir, commit+".json")
	if err := record.Write(name, r); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTwoFiles(t *testing.T) {
	dir := t.TempDir()
	a, b, other := results(t, dir, "aaa", "2", 1.1), results(t, dir, "bbb", "2", 1.3), results(t, dir, "ccc", "4", 1.1)
	code, out, said := compare(t.Context(), a, b)
	if code != exitRegressed || !strings.Contains(out, "ratio p50 *") || !strings.Contains(out, "+18.") || !strings.HasSuffix(out, "each of the others is judged by itself)\n") {
		t.Errorf("exit %d:\n%s%s", code, out, said)
	}
	if code, out, _ = compare(t.Context(), b, a); code != exitPassed || !strings.Contains(out, "improved") {
		t.Errorf("the other way round: exit %d:\n%s", code, out)
	}
	if code, out, said = compare(t.Context(), a, other); code != exitFailed || out != "" || !strings.Contains(said, "cpus: 2 / 4") {
		t.Errorf("another machine: exit %d:\n%s%s", code, out, said)
	}
	var o files.Outcome
	code, out, _ = compare(t.Context(), "--json", a, b)
	if err := json.Unmarshal([]byte(out), &o); err != nil || code != exitRegressed || o.Verdict != "regressed" || o.Gated != 1 {
		t.Errorf("--json: exit %d, %v:\n%s", code, err, out)
	}
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":       {nil, exitFailed, "want --base REV, or two files"},
		"one file":      {[]string{"a.json"}, exitFailed, "1 files: want two"},
		"both":          {[]string{"a.json", "b.json", "--base", "x"}, exitFailed, "are for commits"},
		"two scenarios": {[]string{"--base", "x", "--scenario", "a", "--scenario", "b"}, exitFailed, "one --scenario at a time"},
		"unknown flag":  {[]string{"--bse", "x"}, exitFailed, "unknown flag"},
		"no file":       {[]string{"none.json", "none.json"}, exitFailed, "no such file"},
		"help":          {[]string{"--help"}, 0, "A B B A"},
		"version":       {[]string{"--version"}, 0, "ackline"},
	} {
		code, out, said := compare(t.Context(), c.args...)
		if code != c.code || !strings.Contains(out+said, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", name, code, c.code, c.want, out, said)
		}
	}
}
