package trend

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/report/render"
)

// page is a RESULTS.md of one scenario whose ratio is given, measured on a machine with so many CPUs.
func page(t *testing.T, commit string, hour int, cpus string, ratio float64) []byte {
	t.Helper()
	r := &record.Results{Format: record.Format, Suite: "quick", Commit: commit, FloorVersion: 1, ProfileDigest: "0123456789abcdef",
		Started: time.Date(2026, 11, 1, hour, 0, 0, 0, time.UTC), Host: fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: cpus, Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", Operation: "Produce", Topology: "single", Workload: "latency", Tuning: "default", FloorIs: "durable echo"}}}
	for n := range 6 {
		r.Launches = append(r.Launches, record.Launch{Number: n + 1, Scenario: "latency-1", Verdict: record.OK, Requests: 9000,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: 100 * ratio, Floor: 100, Ratio: ratio, Excess: 100 * (ratio - 1), Gated: true}}})
	}
	content, err := render.File(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// repository is a folder with git in it.
type repository struct {
	t   *testing.T
	dir string
}

func (r repository) git(args ...string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", append([]string{"-C", r.dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// commit puts a version of the file into the history; nil removes it.
func (r repository) commit(content []byte) {
	r.t.Helper()
	name := filepath.Join(r.dir, "RESULTS.md")
	if content == nil {
		if err := os.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	} else if err := os.WriteFile(name, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "x")
}

func newRepository(t *testing.T) repository {
	t.Helper()
	r := repository{t, t.TempDir()}
	r.git("init", "-q")
	return r
}

// TestRead has every sort of version: runs of two machines, one rendered twice, one of a format that nobody reads, one that was
// cut off, one that was removed.
func TestRead(t *testing.T) {
	r := newRepository(t)
	r.commit(page(t, "aaaa", 1, "2", 1.10))
	r.commit([]byte("# Results\n\nlatency-1 p50 1.1, typed in\n"))
	r.commit(page(t, "bbbb", 2, "64", 1.02))
	b := page(t, "cccc", 3, "2", 1.30)
	r.commit(b)
	r.commit(append([]byte("\n"), b...)) // the same run in another form
	r.commit(b[:len(b)/2])
	r.commit(nil)
	r.commit(page(t, "dddd", 4, "2", 1.15))
	h, err := Read(t.Context(), r.dir, "RESULTS.md", nil)
	if err != nil {
		t.Fatal(err)
	}
	var commits, reasons []string
	for _, run := range h.Runs {
		commits = append(commits, run.Commit)
	}
	for _, s := range h.Skipped {
		reasons = append(reasons, s.Reason)
	}
	if got := strings.Join(commits, " "); got != "aaaa bbbb cccc dddd" {
		t.Errorf("runs %s", got)
	}
	if len(reasons) != 3 || !strings.Contains(reasons[0], "no raw data") || !strings.Contains(reasons[2], "it was removed there") {
		t.Errorf("skipped %q; want the one that was typed in, the one that was cut off, and the one that was removed", reasons)
	}
	machines := h.Machines()
	if len(machines) != 2 || len(machines[0].Runs) != 3 || len(machines[1].Runs) != 1 || machines[1].Runs[0].Commit != "bbbb" {
		t.Errorf("%+v: want three runs of the newest run's machine, and one of the other", machines)
	}
	var out strings.Builder
	if err := Table(&out, h, 2); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the last 2 of 3 runs", "latency-1 p50", "1.30 [1.30–1.30] missed", "1.15 [1.15–1.15] met", "1, 01234567\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, out.String())
		}
	}
	if mine, _, _ := strings.Cut(out.String(), "machine "+machines[1].Fingerprint); strings.Contains(mine, "1.02") || strings.Contains(mine, "1.10") {
		t.Errorf("the first table has another machine's ratio, or one more run than was asked for:\n%s", out.String())
	}
}

// TestBreak marks where the floor is another one, on the same machine.
func TestBreak(t *testing.T) {
	a, b := Run{Commit: "aaaa", Fingerprint: "f", Floor: 1, Profile: "p"}, Run{Commit: "bbbb", Fingerprint: "f", Floor: 2, Profile: "p"}
	var out strings.Builder
	if err := Table(&out, &History{Runs: []Run{a, b}}, 5); err != nil {
		t.Fatal(err)
	}
	if a.Comparable(&b) || !strings.Contains(out.String(), "2, p |") {
		t.Errorf("want a break before the second run:\n%s", out.String())
	}
}

// TestShallow reads a clone that holds the last commit only.
func TestShallow(t *testing.T) {
	r := newRepository(t)
	r.commit(page(t, "aaaa", 1, "2", 1.10))
	r.commit(page(t, "bbbb", 2, "2", 1.20))
	clone := repository{t, t.TempDir()}
	clone.git("clone", "-q", "--depth", "1", "file://"+r.dir, "c")
	h, err := Read(t.Context(), filepath.Join(clone.dir, "c"), "RESULTS.md", nil)
	if err != nil || !h.Shallow || len(h.Runs) != 1 || h.Runs[0].Commit != "bbbb" {
		t.Errorf("%+v, %v: want the last run, and that there may be more", h, err)
	}
}

func TestNoHistory(t *testing.T) {
	outside := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(outside))
	if _, err := Read(t.Context(), outside, "RESULTS.md", nil); !errors.Is(err, ErrNoHistory) || !strings.Contains(err.Error(), "is in no git repository") {
		t.Errorf("outside of a repository: %v", err)
	}
	r := newRepository(t)
	if _, err := Read(t.Context(), r.dir, "RESULTS.md", nil); !errors.Is(err, ErrNoHistory) {
		t.Errorf("without a commit: %v", err)
	}
	r.git("commit", "-q", "--allow-empty", "-m", "x")
	if _, err := Read(t.Context(), r.dir, "RESULTS.md", nil); !errors.Is(err, ErrNoHistory) || !strings.Contains(err.Error(), "RESULTS.md was never committed") {
		t.Errorf("without the file: %v", err)
	}
	t.Setenv("PATH", "")
	if _, err := Read(t.Context(), r.dir, "RESULTS.md", nil); !errors.Is(err, ErrNoHistory) || !strings.Contains(err.Error(), "git") {
		t.Errorf("without git: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Read(stopped, r.dir, "RESULTS.md", nil); err == nil {
		t.Error("a reading that was stopped has a result")
	}
}
