package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/tools/compare/plant"
	"ackline/tools/stats"
)

func call(ctx context.Context, args ...string) (code int, out, said string) {
	var o, e bytes.Buffer
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

func TestArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(t.TempDir()))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":       {nil, exitFailed, "expected one of"},
		"two plans":     {[]string{"run", "--quick", "--rehearse"}, exitFailed, "want one of them"},
		"no trial":      {[]string{"--nothing", "0", "--slower", "0", "summary"}, exitFailed, "one trial at least"},
		"scenario":      {[]string{"run", "--scenario", "none"}, exitFailed, "there are latency-1, steady-2000"},
		"no log":        {[]string{"summary"}, exitFailed, "has no finished trial: plant run makes them"},
		"no repository": {[]string{"run"}, exitFailed, "is in no git repository"},
		"help":          {[]string{"--help"}, exitMet, "Can compare's verdicts be believed"},
		"version":       {[]string{"--version"}, exitMet, "ackline"},
	} {
		code, out, said := call(t.Context(), c.args...)
		if code != c.code || !strings.Contains(out+said, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", name, code, c.code, c.want, out, said)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if code, _, said := call(ctx, "run", "--out", t.TempDir()); code != exitInterrupted || !strings.Contains(said, "the same command goes on from here") {
		t.Errorf("exit %d:\n%s", code, said)
	}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		name            string
		nothing, slower []stats.Verdict
		code            int
	}{
		{"met", []stats.Verdict{stats.Passed, stats.Passed}, []stats.Verdict{stats.Regressed}, exitMet},
		{"missed", []stats.Verdict{stats.Passed, stats.Regressed}, []stats.Verdict{stats.Regressed}, exitMissed},
		{"lacking", []stats.Verdict{stats.Passed, stats.Passed}, nil, exitIncomplete},
	} {
		out := t.TempDir()
		var log bytes.Buffer
		for kind, verdicts := range map[plant.Kind][]stats.Verdict{plant.Nothing: c.nothing, plant.Slower: c.slower} {
			for i, v := range verdicts {
				if err := json.NewEncoder(&log).Encode(plant.Trial{Kind: kind, Number: i + 1, Verdict: v}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(out, "trials.jsonl"), log.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		code, table, said := call(t.Context(), "--nothing", "2", "--slower", "1", "--out", out, "summary")
		if code != c.code || !strings.Contains(table, "| planted | trials |") {
			t.Errorf("%s: exit %d, want %d:\n%s%s", c.name, code, c.code, table, said)
		}
	}
}
