package plant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/compare/builds"
	"ackline/tools/compare/session"
	"ackline/tools/compare/trial"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/stats"
)

const module = "../../.."

// The patch has to fit the tree as it is, and what comes out has to compile: nobody sees it otherwise before a night.
func TestSpinFitsTheTree(t *testing.T) {
	if strings.Count(spinPatch, spinMark) != 1 {
		t.Fatalf("spin.patch has %d of %s, want one", strings.Count(spinPatch, spinMark), spinMark)
	}
	p := Spin(12345 * time.Nanosecond)
	if p.Name != "spin-12345ns" || !strings.Contains(p.Diff, "+const planted = 12345 * time.Nanosecond\n") {
		t.Errorf("the patch is %q:\n%s", p.Name, p.Diff)
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git: it applies the patch")
	}
	const name = "broker/wal/ring/file.go"
	src, err := os.ReadFile(filepath.Join(module, name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(dir, name), src, 0o644),
		os.WriteFile(filepath.Join(dir, "spin.patch"), []byte(p.Diff), 0o644)); err != nil {
		t.Fatal(err)
	}
	git := exec.Command("git", "apply", "spin.patch")
	git.Dir, git.Env = dir, append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s: bring spin.patch up to date", err, out)
	}
	file, err := filepath.Abs(filepath.Join(module, name))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: filepath.Join(dir, name)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "./broker/wal/ring")
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTurnsMixTheKinds(t *testing.T) {
	for _, c := range []Counts{Usual, {1, 1}, {0, 3}, {3, 0}, {2, 5}} {
		got := map[Kind]int{}
		for i, n := range c.turns() {
			if got[n.kind]++; got[n.kind] != n.number {
				t.Errorf("%+v: turn %d is %+v", c, i, n)
			}
			// No kind may run ahead of its part by more than a trial.
			if part := float64((i+1)*c.Slower) / float64(c.Slower+c.Nothing); float64(got[Slower])-part > 1 || part-float64(got[Slower]) > 1 {
				t.Errorf("%+v: after %d turns %d are slower, want about %.1f", c, i+1, got[Slower], part)
			}
		}
		if got[Nothing] != c.Nothing || got[Slower] != c.Slower {
			t.Errorf("%+v: turns have %v", c, got)
		}
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		t    tally
		want Score
	}{
		{Nothing, tally{20, 1, 16, 3}, Met},
		{Nothing, tally{20, 2, 18, 0}, Missed},
		{Nothing, tally{20, 0, 15, 5}, Missed},
		{Nothing, tally{19, 0, 19, 0}, Incomplete},
		{Slower, tally{10, 9, 0, 1}, Met},
		{Slower, tally{10, 8, 0, 2}, Missed},
		{Slower, tally{9, 9, 0, 0}, Incomplete},
	} {
		if got := Usual.judge(c.kind, c.t); got != c.want {
			t.Errorf("%s %+v is %s, want %s", c.kind, c.t, got, c.want)
		}
	}
}

// machine is a bench and the builds for it: a p50 of 100 µs, and what is planted; it wobbles a little.
type machine struct {
	launches, builds int
	stopAt           int // the launch that is interrupted; 0 for none
	stop             context.CancelFunc
}

func (m *machine) runner(t *testing.T, out string) *Runner {
	return &Runner{Out: out, Counts: Counts{Nothing: 2, Slower: 1}, Calibrate: Calibration, Now: func() time.Time { return time.Unix(int64(60*m.launches), 0) },
		Series: Series{Commit: builds.Commit{Hash: "0123456789abcdef", Subject: "as it is"}, Scenario: "latency-1", Dir: "here",
			Plan: trial.Plan{SamePairs: 3, Looks: []int{10, 20}, Spare: 1}},
		Build: func(_ context.Context, p builds.Patch) (string, error) {
			m.builds++
			bin := filepath.Join(out, "builds", "x"+p.Name)
			return bin, os.MkdirAll(bin, 0o755)
		},
		Bench: func(bin map[trial.Side]string) session.Measure {
			return func(ctx context.Context, r session.Request) (*record.Results, error) {
				return m.measure(ctx, bin[r.Side])
			}
		},
		Tell: func(Begun) (func(trial.Progress), func()) { return func(trial.Progress) {}, func() {} }}
}

func (m *machine) measure(ctx context.Context, bin string) (*record.Results, error) {
	m.launches++
	if m.launches == m.stopAt {
		m.stop()
		return nil, context.Cause(ctx)
	}
	if _, err := os.Stat(bin); err != nil {
		return nil, err
	}
	ns := 0.0
	if _, spin, ok := strings.Cut(filepath.Base(bin), "spin-"); ok {
		if _, err := fmt.Sscanf(spin, "%fns", &ns); err != nil {
			return nil, err
		}
	}
	us := 100*(1+float64(m.launches*7%5-2)/1000) + ns/1000
	return &record.Results{Format: record.Format, FloorVersion: 1, SyncMethod: "direct-dsync", Started: time.Unix(1, 0), Ended: time.Unix(2, 0),
		Host:      fingerprint.New([]fingerprint.Field{{Name: "cpus", Value: "2", Match: true}}),
		Scenarios: []record.Scenario{{Name: "latency-1", FloorIs: "durable echo", Configuration: map[string]string{"ring_bytes": "30408704"}}},
		Launches: []record.Launch{{Number: 1, Scenario: "latency-1", Verdict: record.OK,
			Pairs: []record.Pair{{Name: "p50", Unit: "us", System: us, Floor: 80, Ratio: us / 80, Gated: true}}}}}, nil
}

// run goes on with the log below the runner's folder.
func run(ctx context.Context, t *testing.T, r *Runner) error {
	t.Helper()
	l, err := Open(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return r.Run(ctx, l)
}

func TestAnInterruptedSeriesGoesOn(t *testing.T) {
	whole := &machine{}
	if err := run(t.Context(), t, whole.runner(t, t.TempDir())); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	broken := &machine{}
	for _, at := range []int{3, 29, 35, 60} { // in a trial of nothing twice, then where a spin is set and where it is compared
		ctx, stop := context.WithCancel(t.Context())
		broken.stopAt, broken.stop = at, stop
		if err := run(ctx, t, broken.runner(t, out)); !errors.Is(err, context.Canceled) {
			t.Fatalf("launch %d: %v, want the interruption", at, err)
		}
		// What a power cut in the middle of a line leaves.
		f, err := os.OpenFile(filepath.Join(out, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"series":{"com`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	broken.stopAt = 0
	if err := run(t.Context(), t, broken.runner(t, out)); err != nil {
		t.Fatal(err)
	}
	if broken.launches != whole.launches+4 {
		t.Errorf("%d launches with four interruptions, %d without: what was measured was measured again", broken.launches, whole.launches)
	}
	trials, err := Read(out)
	if err != nil || len(trials) != 3 {
		t.Fatalf("%d trials, %v: want 3", len(trials), err)
	}
	for _, tr := range trials {
		want := map[Kind]stats.Verdict{Nothing: stats.Passed, Slower: stats.Regressed}[tr.Kind]
		if tr.Verdict != want || tr.Host == "" || tr.Seed == 0 || tr.Pairs == 0 || len(tr.Rows) != 2 {
			t.Errorf("%s %d: %+v, want it %s", tr.Kind, tr.Number, tr, want)
		}
		if spin := tr.SpinNs; tr.Kind == Slower && (spin < 9_950 || spin > 10_050) || tr.Kind == Nothing && spin != 0 {
			t.Errorf("%s: a spin of %d ns, want a tenth of 100 µs or none", tr.Kind, spin)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(out, "builds", "*spin*")); len(left) > 0 {
		t.Errorf("builds are left: %v", left)
	}
	before := broken.launches
	if err := run(t.Context(), t, broken.runner(t, out)); err != nil || broken.launches != before {
		t.Errorf("%d launches more of a series that is finished, %v", broken.launches-before, err)
	}
	var table bytes.Buffer
	if score := Summarise(&table, trials, Counts{Nothing: 2, Slower: 1}); score != Met {
		t.Errorf("the score is %s:\n%s", score, &table)
	}
	for _, want := range []string{"| nothing | 2 of 2 | 0 | 2 | 0 | passed ≥ 2, regressed ≤ 0 | ", "| a spin of 10% of the p50, 10µs–10µs | 1 of 1 | 1 | 0 | 0 | regressed ≥ 1 | +10.0% [+10.0% – +10.0%] | 1 | 10.0 |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if score := Summarise(&table, trials, Usual); score != Incomplete {
		t.Errorf("three of thirty trials are %s", score)
	}
}

func TestASeriesIsFoundAgain(t *testing.T) {
	m := &machine{}
	r := m.runner(t, t.TempDir())
	r.Counts = Counts{Nothing: 1}
	if err := run(t.Context(), t, r); err != nil {
		t.Fatal(err)
	}
	l, err := Open(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Open(r.Out); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("the log was opened twice: %v", err)
	}
	asked := r.Series
	asked.Commit = builds.Commit{Hash: "fedcba"}
	if s, ok := l.Unfinished(asked, Counts{Nothing: 2}); !ok || s.Commit != r.Series.Commit {
		t.Errorf("the series of %s is not gone on with: %v, %v", r.Series.Commit.Short(), s.Commit, ok)
	}
	if _, ok := l.Unfinished(asked, r.Counts); ok {
		t.Error("a finished series is gone on with")
	}
	asked.Quick = true
	if _, ok := l.Unfinished(asked, Counts{Nothing: 2}); ok {
		t.Error("a series of another plan is gone on with")
	}
}

func TestALogThatIsNone(t *testing.T) {
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, logName), []byte("{}\nnonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(out); err == nil || !strings.Contains(err.Error(), "trials.jsonl:2: ") {
		t.Errorf("%v, want the line named", err)
	}
	if _, err := Open(out); err == nil {
		t.Error("it was opened, and would be cut")
	}
}
