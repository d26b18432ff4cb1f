package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/compare/builds"
	"ackline/tools/hostinfo/fingerprint"
)

// fakeBench stands for bench: it writes the record that the test made, with a ratio that depends on the commit's file and a little
// on the seed, and counts its runs. At the run that $FAKE/hang names it waits to be interrupted.
const fakeBench = `#!/bin/sh
here=$(dirname "$0")
while [ $# -gt 0 ]; do
	case $1 in --out) out=$2;; --seed) seed=$2;; --profile) cp "$2" "$FAKE/profile";; esac
	shift
done
echo "$here $seed" >> "$FAKE/runs"
n=$(wc -l < "$FAKE/runs")
if [ "$n" = "$(cat "$FAKE/hang" 2>/dev/null)" ]; then
	trap 'echo stopped > "$FAKE/stopped"; exit 130' INT
	echo > "$FAKE/hanging"
	while :; do sleep 0.02; done
fi
[ -f "$here/lost" ] && { echo "no broker beside me" >&2; exit 2; }
mkdir -p "$out/latest"
ratio=$(awk -v r="$(cat "$here/ratio")" -v s="$n" 'BEGIN { printf "%.6f", r * (1 + (s * 7 % 5 - 2) / 1000) }')
sed "s/1.123456/$ratio/" "$FAKE/template" > "$out/latest/results.json"
exit 3
`

const fakeMake = "build:\n\tmkdir bin\n\tcp bench.sh bin/bench\n\tchmod +x bin/bench\n\tcp ratio bin/\n\tif [ -f lost ]; then cp lost bin/; fi\n"

// world is a repository with commits, and where its fakes keep their notes.
type world struct {
	t    *testing.T
	fake string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, tool := range []string{"git", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: a comparison of commits drives it", tool)
		}
	}
	w := &world{t: t, fake: t.TempDir()}
	t.Chdir(t.TempDir())
	t.Setenv("FAKE", w.fake)
	t.Setenv("MAKEFLAGS", "-n") // as from an outer make: it must not reach the builds
	for _, name := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(name, "tester")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	r := &record.Results{Format: record.Format, FloorVersion: 1, SyncMethod: "direct-dsync", GoVersion: "go1.26", Started: time.Unix(1, 0), Ended: time.Unix(11, 0),
		Host:      fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", FloorIs: "durable echo", Configuration: map[string]string{"ring_bytes": "30408704"}}},
		Launches: []record.Launch{{Number: 1, Scenario: "latency-1", Verdict: record.OK, Requests: 20_000,
			Pairs:   []record.Pair{{Name: "p50", Unit: "us", System: 120, Floor: 110, Ratio: 1.123456, Gated: true}},
			Figures: []record.Figure{{Name: "io_calls_per_request", Unit: "1/request", Side: record.System, Value: 3.1}}}}}
	if err := record.Write(filepath.Join(w.fake, "template"), r); err != nil {
		t.Fatal(err)
	}
	w.git("init", "-q")
	w.commit("nothing yet", map[string]string{".gitignore": "out/\nbin/\n", "Makefile": "build:\n\tmkdir -p bin\n"})
	w.commit("measurable", map[string]string{"Makefile": fakeMake, "bench.sh": fakeBench, "ratio": "1.10"})
	w.commit("the same", map[string]string{"note": "x"})
	w.commit("slower", map[string]string{"ratio": "1.25"})
	return w
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (w *world) commit(subject string, files map[string]string) {
	w.t.Helper()
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", subject)
}

// runs is how often a bench has run.
func (w *world) runs() int {
	data, _ := os.ReadFile(filepath.Join(w.fake, "runs"))
	return bytes.Count(data, []byte("\n"))
}

// noTrees fails when a worktree was left.
func (w *world) noTrees() {
	w.t.Helper()
	left, _ := filepath.Glob("out/compare/builds/tree-*")
	if list := w.git("worktree", "list"); len(left) > 0 || strings.Count(list, "\n") != 1 {
		w.t.Errorf("worktrees are left: %v\n%s", left, list)
	}
}

func compare(ctx context.Context, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

func TestCommitsAreMeasured(t *testing.T) {
	w := newWorld(t)
	// What a comparison that was killed leaves: a worktree that git knows, and one that it does not.
	for _, rev := range []string{"HEAD", "HEAD~1"} {
		tree := "out/compare/builds/tree-" + strings.TrimSpace(w.git("rev-parse", rev))[:12]
		if rev == "HEAD" {
			w.git("worktree", "add", "-q", "--detach", tree, rev)
		} else if err := os.MkdirAll(tree+"/bin", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	code, out, said := compare(t.Context(), "--base", "HEAD~1", "--quick")
	if code != exitRegressed || !strings.Contains(out, "regressed: worse by more than δ: p50 / floor") {
		t.Fatalf("exit %d, want 1 and the figure named:\n%s%s", code, out, said)
	}
	for _, want := range []string{"the same", "slower", "10 pairs of launches", "+13.", "io_calls_per_request", "passed", "by A against A: p50 / floor"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	if !strings.Contains(said, "with looks after 10; at most 28 launches, about") || !strings.Contains(said, "\n27/28 A against B, pair 10, base (at most about 10s left)") {
		t.Errorf("progress was:\n%s", said)
	}
	if w.runs() != 28 {
		t.Errorf("%d launches, want 2 of calibration, 6 of A against A, 20 of A against B", w.runs())
	}
	if profile, _ := os.ReadFile(filepath.Join(w.fake, "profile")); !strings.Contains(string(profile), `name = "latency-1"`) {
		t.Errorf("bench was given %q", profile)
	}
	w.noTrees()
	// Once more: nothing is built or measured again, and the answer is the same.
	again, table, said := compare(t.Context(), "--base", "HEAD~1", "--quick")
	if again != code || table != out || w.runs() != 28 || !strings.Contains(said, "going on with 28 launches") {
		t.Errorf("exit %d after %d launches, want the same result from what is there:\n%s", again, w.runs(), said)
	}
	if code, _, _ = compare(t.Context(), "--base", "HEAD~1", "--quick", "--fresh"); code != exitRegressed || w.runs() != 56 {
		t.Errorf("--fresh: exit %d after %d launches, want all of them again", code, w.runs())
	}
	var r result
	code, out, _ = compare(t.Context(), "--base", "HEAD~2", "--head", "HEAD~1", "--quick", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitPassed || r.Verdict != "passed" || r.Base.Subject != "measurable" || r.Outcome.Pairs != 10 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestWhatCannotBeCompared(t *testing.T) {
	w := newWorld(t)
	w.commit("does not build", map[string]string{"Makefile": "build:\n\t@echo undefined: foo >&2; false\n"})
	w.commit("lost its broker", map[string]string{"Makefile": fakeMake, "lost": "x"})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no such revision": {[]string{"--base", "nowhere"}, `--base: "nowhere" names no commit`},
		"an option":        {[]string{"--base=--help"}, `names no commit`},
		"the same commit":  {[]string{"--base", "HEAD"}, "are both commit"},
		"does not build":   {[]string{"--base", "HEAD~1"}, "(does not build) does not build: make build: exit status 2:\n  undefined: foo"},
		"no bench":         {[]string{"--base", "HEAD~5"}, "(nothing yet) has no bench"},
		"bench fails":      {[]string{"--base", "HEAD~2", "--quick"}, "no broker beside me"},
		"scenario":         {[]string{"--base", "HEAD~2", "--scenario", "latency-2"}, `no scenario "latency-2" to compare; there are latency-1, steady-2000`},
		"gate":             {[]string{"--base", "HEAD~3", "--head", "HEAD~2", "--gate", "p95"}, `no launch has the figure "p95"`},
	} {
		code, out, said := compare(t.Context(), c.args...)
		if code != exitFailed || !strings.Contains(said, c.want) || out != "" {
			t.Errorf("%s: exit %d, want 3 and %q:\n%s%s", name, code, c.want, out, said)
		}
		w.noTrees()
	}
	if err := os.WriteFile("edited", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, said := compare(t.Context(), "--base", "HEAD~2"); code != exitFailed || !strings.Contains(said, "?? edited") || !strings.Contains(said, "git stash -u") {
		t.Errorf("a dirty tree: exit %d\n%s", code, said)
	}
	if code, _, said := compare(t.Context(), "--base", "HEAD~3", "--head", "HEAD~2", "--quick"); code != exitRegressed {
		t.Errorf("a dirty tree beside named commits: exit %d\n%s", code, said)
	}
}

// A head that is faster than the floor has stopped to do the work, and its other figures are no comfort.
func TestTooFastToBeTrue(t *testing.T) {
	w := newWorld(t)
	w.commit("cheats", map[string]string{"ratio": "0.60"})
	code, out, said := compare(t.Context(), "--base", "HEAD~2", "--quick")
	if code != exitInconclusive || !strings.Contains(out, "the floor is broken or the system is not durable") {
		t.Errorf("exit %d, want 2 and why:\n%s%s", code, out, said)
	}
}

// On a machine that is too busy to measure anything there is nothing to print but that.
func TestNothingValid(t *testing.T) {
	w := newWorld(t)
	template := filepath.Join(w.fake, "template")
	r := &record.Results{}
	data, err := os.ReadFile(template)
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err == nil {
		r.Launches[0].Verdict, r.Launches[0].Reasons = record.Invalid, []string{"the generator was late"}
		err = record.Write(template, r)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, out, said := compare(t.Context(), "--base", "HEAD~1", "--quick")
	if code != exitInconclusive || w.runs() != 2+6 || !strings.Contains(out, "--fresh measures again") || strings.Contains(out, "verdict") {
		t.Errorf("exit %d after %d launches:\n%s%s", code, w.runs(), out, said)
	}
	if !strings.Contains(out, "8 launches were not valid, so that their pairs count for nothing; the first: launch 0, base of calibration: the generator was late") {
		t.Errorf("nothing says why:\n%s", out)
	}
}

func TestMissingTool(t *testing.T) {
	newWorld(t)
	only := t.TempDir()
	for _, tool := range []string{"git", "go"} {
		full, err := exec.LookPath(tool)
		if err == nil {
			err = os.Symlink(full, filepath.Join(only, tool))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", only)
	if code, _, said := compare(t.Context(), "--base", "HEAD~1"); code != exitFailed || !strings.Contains(said, "make is not there") {
		t.Errorf("exit %d\n%s", code, said)
	}
}

// ^C in the middle of a launch stops that bench, leaves no worktree, and costs no more than that launch.
func TestInterruptionAndResumption(t *testing.T) {
	w := newWorld(t)
	const at = 12
	if err := os.WriteFile(filepath.Join(w.fake, "hang"), []byte(strconv.Itoa(at)), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(w.fake, "hanging")); err == nil {
				interrupt()
			}
		}
	}()
	code, out, said := compare(ctx, "--base", "HEAD~1", "--quick")
	if code != exitInterrupted || out != "" || !strings.Contains(said, "the same command goes on") {
		t.Fatalf("exit %d:\n%s%s", code, out, said)
	}
	if _, err := os.Stat(filepath.Join(w.fake, "stopped")); err != nil {
		t.Error("the bench that ran was not interrupted and waited for")
	}
	w.noTrees()
	if lock, err := builds.Hold("out/compare/builds/lock"); err != nil {
		t.Errorf("the builds are still held: %v", err)
	} else {
		if code, _, said = compare(t.Context(), "--base", "HEAD~2", "--quick"); code != exitFailed || !strings.Contains(said, "already running here") {
			t.Errorf("beside another's build: exit %d\n%s", code, said)
		}
		lock.Close()
	}
	if code, _, said = compare(t.Context(), "--base", "HEAD~1", "--quick", "--seed", "5"); code != exitFailed || !strings.Contains(said, "other settings") {
		t.Errorf("another seed: exit %d\n%s", code, said)
	}
	code, _, said = compare(t.Context(), "--base", "HEAD~1", "--quick")
	if code != exitRegressed || w.runs() != 28+1 || !strings.Contains(said, "going on with 11 launches") {
		t.Errorf("exit %d after %d launches, want 28 and the one that was interrupted:\n%s", code, w.runs(), said)
	}
	runs, _ := os.ReadFile(filepath.Join(w.fake, "runs"))
	lines := strings.Split(strings.TrimSpace(string(runs)), "\n")
	if lines[at-1] != lines[at] {
		t.Errorf("the launch that was interrupted was %q, and %q came in its place", lines[at-1], lines[at])
	}
}

// A build that is interrupted leaves neither a worktree nor something that passes for a build.
func TestInterruptedBuild(t *testing.T) {
	w := newWorld(t)
	w.commit("slow to build", map[string]string{"Makefile": "build:\n\tmkdir bin; touch $(FAKE)/building; sleep 60\n"})
	ctx, interrupt := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(w.fake, "building")); err == nil {
				interrupt(errors.New("^C"))
			}
		}
	}()
	began := time.Now()
	if code, _, said := compare(ctx, "--base", "HEAD~1"); code != exitInterrupted || time.Since(began) > 30*time.Second {
		t.Errorf("exit %d after %v\n%s", code, time.Since(began), said)
	}
	w.noTrees()
}
