package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ackline/loadgen/selftest"
)

// TestMain makes the test's binary a responder when selftest starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == responderCommand {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// childless fails the test when this process has a child, running or dead.
func childless(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: wait4 says %d, %v", pid, err)
	}
}

func TestSelftest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "self.json")
	code, out, errOut := do(t, "selftest", "--for", "100ms", "--json", path)
	if code != exitValid || !strings.Contains(out, "beyond a bare echo") || !strings.Contains(out, "On this host") || !strings.Contains(errOut, "closed loop on one core") {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r selftest.Report
	if err := json.Unmarshal(b, &r); err != nil || r.OneCore.Single.Requests == 0 || !(r.CPUs == 1 || strings.Contains(r.OneCore.How, "the responder on another")) {
		t.Errorf("%v: %+v", err, r.OneCore)
	}
	childless(t)
	// So short a run has too few operations for a p99, so that no machine can meet every bar.
	code, _, errOut = do(t, "selftest", "--for", "100ms", "--strict")
	if code != exitInvalid || !strings.Contains(errOut, "a bar is not met") {
		t.Errorf("--strict: exit %d\n%s", code, errOut)
	}
	if code, _, errOut := do(t, "selftest", "--for", "1ms"); code != exitUsage || !strings.Contains(errOut, "100ms to 1h") {
		t.Errorf("exit %d, %q", code, errOut)
	}
	if code, out, _ := do(t, "--help"); code != exitValid || strings.Contains(out, responderCommand) || !strings.Contains(out, "selftest") {
		t.Errorf("--help: %d, %q", code, out)
	}
}

func TestSelftestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &trigger{on: "one in flight", do: cancel}
	var out bytes.Buffer
	if code := run(ctx, []string{"selftest", "--for", "200ms"}, &out, w); code != exitError || !strings.Contains(w.text(), "interrupted") {
		t.Errorf("exit %d:\n%s%s", code, out.String(), w.text())
	}
	childless(t)
}
