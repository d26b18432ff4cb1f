package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ackline/tools/report/trend"
)

func command(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	all := append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)
	if out, err := exec.CommandContext(t.Context(), "git", all...).CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// TestCommand commits this tree's RESULTS.md to a repository of its own.
func TestCommand(t *testing.T) {
	content, err := os.ReadFile("../../RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "RESULTS.md")
	git(t, dir, "init", "-q")
	for _, version := range [][]byte{[]byte("figures that were typed in\n"), content} {
		if err := os.WriteFile(file, version, 0o600); err != nil {
			t.Fatal(err)
		}
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-q", "-m", "x")
	}
	code, out, errOut := command(file)
	if code != exitDone || !strings.HasPrefix(out, "machine ") || !strings.Contains(out, "latency-1 p50") || !strings.Contains(errOut, "no raw data") {
		t.Errorf("%d, %q\n%s", code, errOut, out)
	}
	code, out, _ = command("--json", file)
	var h trend.History
	if err := json.Unmarshal([]byte(out), &h); code != exitDone || err != nil || len(h.Runs) != 1 || len(h.Runs[0].Points) == 0 {
		t.Errorf("%d, %v: %+v", code, err, h)
	}
}

func TestExitCodes(t *testing.T) {
	outside := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(outside))
	unreadable := t.TempDir()
	git(t, unreadable, "init", "-q")
	if err := os.WriteFile(filepath.Join(unreadable, "RESULTS.md"), []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, unreadable, "add", "-A")
	git(t, unreadable, "commit", "-q", "-m", "x")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{filepath.Join(outside, "RESULTS.md")}, exitNothing, "no history"},
		{[]string{filepath.Join(unreadable, "RESULTS.md")}, exitNothing, "none of the versions could be read"},
		{[]string{"--last", "0"}, exitUsage, "--last 0: want 1 or more"},
		{[]string{"--nonsense"}, exitUsage, "trend --help shows examples"},
		{[]string{"--help"}, exitDone, "Exit codes"},
	} {
		if code, out, errOut := command(tt.args...); code != tt.code || !strings.Contains(out+errOut, tt.want) {
			t.Errorf("%q: %d, %s%s; want %d and %q", tt.args, code, out, errOut, tt.code, tt.want)
		}
	}
}
