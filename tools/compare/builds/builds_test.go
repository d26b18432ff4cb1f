package builds

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const bench = "#!/bin/sh\necho as committed\n"

// repository has one commit, whose build copies a file.
func repository(t *testing.T) (*Repo, Commit) {
	t.Helper()
	for _, tool := range []string{"git", "make", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: commits are built with it", tool)
		}
	}
	dir := t.TempDir()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, name := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(name, "tester")
	}
	for name, text := range map[string]string{"Makefile": "build:\n\tmkdir bin\n\tcp bench.sh bin/bench\n\tchmod +x bin/bench\n", "bench.sh": bench} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "first"}} {
		if _, err := command(t.Context(), dir, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// A patch is in the build that has it, and nowhere else: not in the commit's own build, not in the tree that somebody works in.
func TestBuildWithAPatch(t *testing.T) {
	r, c := repository(t)
	cache := t.TempDir()
	p := Patch{Name: "slow", Diff: "--- a/bench.sh\n+++ b/bench.sh\n@@ -1,2 +1,3 @@\n #!/bin/sh\n+sleep 1\n echo as committed\n"}
	patched, err := r.BuildWith(t.Context(), c, p, cache)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := r.Build(t.Context(), c, cache)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{filepath.Join(patched, "bench"): "#!/bin/sh\nsleep 1\necho as committed\n", filepath.Join(plain, "bench"): bench,
		filepath.Join(r.Top, "bench.sh"): bench} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if filepath.Base(patched) != c.Short()+"-slow" || filepath.Base(plain) != c.Short() {
		t.Errorf("built in %s and %s", patched, plain)
	}
	bad := Patch{Name: "stale", Diff: strings.ReplaceAll(p.Diff, "committed", "forgotten")}
	if _, err := r.BuildWith(t.Context(), c, bad, cache); err == nil || !strings.Contains(err.Error(), "(first) does not take the patch stale: git apply") {
		t.Errorf("a patch that does not fit: %v", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	if want := c.Short() + " " + c.Short() + "-slow lock"; strings.Join(names, " ") != want {
		t.Errorf("the folder has %q, want %q and no tree or patch", names, want)
	}
}
