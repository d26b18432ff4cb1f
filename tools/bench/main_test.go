package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/bench/suite"
	"ackline/tools/hostinfo/fingerprint"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	at := []string{"--dir", dir, "--out", dir, "--allow-fs", "tmpfs", "--allow-fs", "overlay"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--version"}, 0, "ackline "},
		{[]string{"--help"}, 0, "full, multi-dc, quick"},
		{[]string{"--help"}, 0, "bench --hosts hosts.toml"},
		{append(at, "--show"), 0, "about"},
		{append(at, "--show", "--seed", "99"), 0, "seed 99"},
		{append(at, "--show", "--profile", "full"), 0, "throughput     batched"},
		{append(at, "--show", "--scenario", "recovery-small", "--launches", "2"), 0, "quick (part): single × default × [recovery-small], 2 launches each"},
		{append(at, "--profile", "quik"), 2, "full, multi-dc, quick"},
		{append(at, "--scenario", "latency-2"), 2, "the suite has latency-1"},
		{append(at, "--launches=-1"), 2, "want 1 or more"},
		{[]string{"--dance"}, 2, "--dance"},
		{at, 2, "make build"}, // there is no broker beside the test binary
	} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), c.args, &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%v: exit %d\n%s%s\nwant exit %d and %q", c.args, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}

// TestFiles has a page for a browser beside the record. That it cannot be written takes nothing away from the run.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	r := &record.Results{Format: record.Format, Suite: "quick", Commit: "aaaa", Host: fingerprint.New(nil)}
	var errs bytes.Buffer
	line := files(t.Context(), r, dir, &errs)
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err != nil || line != dir+"; for a browser: "+filepath.Join(dir, "report.html") || errs.Len() > 0 {
		t.Errorf("%v, %q, %s", err, line, errs.String())
	}
	gone := filepath.Join(dir, "gone")
	if line := files(t.Context(), r, gone, &errs); line != gone || !strings.Contains(errs.String(), "no page for a browser") {
		t.Errorf("%q, %s", line, errs.String())
	}
}

func TestMemoryIsNoDisk(t *testing.T) {
	const shm = "/dev/shm"
	if st, err := os.Stat(shm); err != nil || !st.IsDir() {
		t.Skip("needs tmpfs: " + shm)
	}
	dir, err := os.MkdirTemp(shm, "bench-test-")
	if err != nil {
		t.Skip("needs tmpfs: " + err.Error())
	}
	defer os.RemoveAll(dir)
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"--dir", dir, "--show"}, &out, &errs); code != 2 || !strings.Contains(errs.String(), "--allow-fs tmpfs") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if code := run(context.Background(), []string{"--dir", dir, "--show", "--allow-fs", "tmpfs"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "GiB free") {
		t.Errorf("allowed by name: exit %d, %s", code, errs.String())
	}
}

// A part of a suite is not taken for the whole.
func TestNarrow(t *testing.T) {
	for _, c := range []struct {
		cli  cli
		want string
	}{
		{cli{}, "quick"}, {cli{Launches: 6}, "quick"}, {cli{Launches: 7}, "quick (part)"}, {cli{Launches: 1}, "quick (part)"},
		{cli{Scenario: []string{"recovery-small"}, Launches: 2}, "quick (part)"},
		{cli{Profile: "full", Launches: 2}, "full (part)"},
	} {
		name := "quick"
		if c.cli.Profile != "" {
			name = c.cli.Profile
		}
		s, err := profiles.LoadSuite(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.cli.narrow(s); err != nil || s.Name != c.want {
			t.Errorf("%+v: %q, %v, want %q", c.cli, s.Name, err, c.want)
		}
		for _, sc := range s.Scenarios {
			if n := s.LaunchesOf(sc); c.cli.Launches > 0 && n != c.cli.Launches && !(sc.Launches > 0 && n < c.cli.Launches) {
				t.Errorf("%+v: %d launches of %s, want %d", c.cli, n, sc.Name, c.cli.Launches)
			}
		}
	}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	tell := progress(&out)
	for _, p := range []suite.Progress{
		{Total: 4, Step: "choosing", Left: time.Minute},
		{Total: 4, Scenario: "a, launch 1 of 2", Step: "warming up", Left: time.Minute},
		{Total: 4, Scenario: "a, launch 1 of 2", Step: "slice 1 of 8", Left: time.Minute}, // not worth a line
		{Done: 1, Total: 4, Scenario: "b, launch 1 of 2", Step: "warming up", Left: 40 * time.Second},
	} {
		tell.show(p)
	}
	tell.end()
	want := "0/4 choosing (about 1m0s left)\n0/4 a, launch 1 of 2 (about 1m0s left)\n1/4 b, launch 1 of 2 (about 40s left)\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	tell = &teller{out: &out, tty: true, width: 20}
	tell.show(suite.Progress{Total: 4, Scenario: "a long name of a scenario", Step: "step"})
	tell.end()
	if got := out.String(); got != "\r\x1b[K0/4 a long name of \r\x1b[K" {
		t.Errorf("on a terminal of 20 columns: %q", got)
	}
	if _, err := os.Stat(filepath.Join("out")); err == nil {
		t.Error("a test wrote into ./out")
	}
}
