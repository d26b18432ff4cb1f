package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

// results is the smallest run that has something to compare.
func results(t *testing.T, dir, commit string, ratio float64) string {
	t.Helper()
	r := &record.Results{Format: record.Format, Suite: "quick", Commit: commit, FloorVersion: 1, ProfileDigest: "p",
		Started: time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
		Host:    fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", Operation: "Produce", Topology: "single", Workload: "latency",
			Tuning: "default", FloorIs: "durable echo"}}}
	for n := range 6 {
		r.Launches = append(r.Launches, record.Launch{Number: n + 1, Scenario: "latency-1", Verdict: record.OK, Requests: 9000,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 100 * ratio, Floor: 100, Ratio: ratio, Excess: 100 * (ratio - 1), Gated: true}}})
	}
	name := filepath.Join(dir, commit+".json")
	if err := record.Write(name, r); err != nil {
		t.Fatal(err)
	}
	return name
}

// report runs the command and returns its exit code and everything that it printed.
func report(args ...string) (int, string) {
	var out, errOut bytes.Buffer
	code := run(context.Background(), args, &out, &errOut)
	return code, out.String() + errOut.String()
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "RESULTS.md")
	first, second := results(t, dir, "aaaa", 1.1), results(t, dir, "bbbb", 1.5)
	steps := []struct {
		args []string
		code int
		want string // in the output
		page string // in the file
	}{
		{[]string{first, "-o", page}, 0, "", "There is no earlier run to compare with."},
		{[]string{"--check", page}, 0, "", "commit aaaa"},
		{[]string{second, "-o", page}, 0, "", "Before: commit aaaa, 2026-11-01 10:00 UTC. After: commit bbbb."},
		{[]string{"--check", page}, 0, "", "+36.4%"},
		{[]string{second, "-o", page}, 0, "", "Before: commit aaaa"}, // measured again at the same commit
		{[]string{page, "-o", page}, 0, "", "Before: commit aaaa"},   // rendered again
		{[]string{second, "-o", page, "--previous", "none"}, 0, "", "There is no earlier run"},
		{[]string{first}, 0, "## Headline", ""},
		{[]string{"--headline", first}, 0, "p50        1.10 [1.10–1.10] x the floor", ""},
		{[]string{"--headline", first}, 0, "files      " + first, ""},
		{[]string{"--json", page}, 0, `"commit": "bbbb"`, ""},
		{[]string{"--check", first}, 1, "no raw data", ""},
		{[]string{filepath.Join(dir, "none.json")}, 1, "want results.json of bin/bench", ""},
		{[]string{"--check", page, "-o", page}, 2, "leave -o out", ""},
		{[]string{"--check", "--json", page}, 2, "--json", ""},
		{nil, 2, "report --help", ""},
		{[]string{"--version"}, 0, "ackline ", ""},
		{[]string{"--help"}, 0, "report --check RESULTS.md", ""},
	}
	for _, s := range steps {
		code, text := report(s.args...)
		if code != s.code || !strings.Contains(text, s.want) {
			t.Errorf("report %q: exit code %d, want %d and %q in:\n%s", s.args, code, s.code, s.want, text)
		}
		if s.page == "" {
			continue
		}
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), s.page) {
			t.Errorf("report %q: the page lacks %q", s.args, s.page)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files were left: %v %v", left, err)
	}
}

// A hand on a figure is found, and the message shows where.
func TestCheckFindsAChangedFigure(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "RESULTS.md")
	if code, text := report(results(t, dir, "aaaa", 1.3), "-o", page); code != 0 {
		t.Fatal(text)
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	better := strings.Replace(string(content), "| 130 µs", "| 105 µs", 1)
	if better == string(content) {
		t.Fatal("the page does not show the figure")
	}
	if err := os.WriteFile(page, []byte(better), 0o644); err != nil {
		t.Fatal(err)
	}
	code, text := report("--check", page)
	if code != 1 || !strings.Contains(text, "130 µs") || !strings.Contains(text, "105 µs") {
		t.Errorf("exit code %d, want 1 and both versions of the line in:\n%s", code, text)
	}
}

// The page for a browser is made of a record, of its folder and of a RESULTS.md, but not of one with a hand on it.
func TestHTML(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	first, page, out := results(t, dir, "aaaa", 1.3), filepath.Join(dir, "RESULTS.md"), filepath.Join(dir, "report.html")
	if code, text := report(first, "-o", page); code != 0 {
		t.Fatal(text)
	}
	for _, input := range []string{first, page} {
		code, text := report("--html", input, "-o", out)
		content, err := os.ReadFile(out)
		if code != 0 || err != nil || !strings.Contains(string(content), "<td class=\"n\">130 µs</td>") || !strings.Contains(string(content), "There is no trend") {
			t.Errorf("%s: exit code %d, %v\n%s", input, code, err, text)
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(strings.Replace(string(content), "| 130 µs", "| 105 µs", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	code, text := report("--html", page, "-o", out)
	if _, err := os.Stat(out); code != 1 || !os.IsNotExist(err) || !strings.Contains(text, "a figure was changed by hand") {
		t.Errorf("exit code %d, %v, want 1, no page, and why:\n%s", code, err, text)
	}
}

// A page that cannot be read is not silently taken for "no earlier run".
func TestUnreadablePrevious(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "RESULTS.md")
	if err := os.WriteFile(page, []byte("# Results\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, text := report(results(t, dir, "aaaa", 1.3), "-o", page)
	if code != 1 || !strings.Contains(text, "--previous none") {
		t.Errorf("exit code %d, want 1 and what to do in:\n%s", code, text)
	}
}

func TestJSONIsTheRecord(t *testing.T) {
	dir := t.TempDir()
	first := results(t, dir, "aaaa", 1.3)
	_, text := report("--json", first)
	got := &record.Results{}
	if err := json.Unmarshal([]byte(text), got); err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil || len(got.Launches) != 6 {
		t.Errorf("%d launches, %v", len(got.Launches), err)
	}
}
