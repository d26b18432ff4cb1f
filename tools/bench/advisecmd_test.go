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

	"ackline/loadgen/hist"
	"ackline/tools/bench/advice"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

// ran writes the record of a run over continent-3 whose leader was in Madrid, and returns its folder.
func ran(t *testing.T) string {
	t.Helper()
	h := hist.NewLatency()
	h.Record(int64(60 * time.Millisecond))
	r := &record.Results{Format: record.Format, Commit: "aaaa", Host: fingerprint.New(nil), Scenarios: []record.Scenario{{Name: "multi-dc-3"}},
		Launches: []record.Launch{{Number: 1, Scenario: "multi-dc-3", Verdict: record.OK, Network: &record.Network{Region: "continent-3"},
			Regions: []record.Region{{Leader: "n3 (madrid)", Client: "london", System: h, Floor: h}}}}}
	dir := t.TempDir()
	if err := record.Write(filepath.Join(dir, record.ResultsName), r); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAdviseCommand(t *testing.T) {
	dir, holes := t.TempDir(), filepath.Join(t.TempDir(), "holes.toml")
	err := os.WriteFile(holes, []byte(`regions = [{ name = "a" }, { name = "b" }]
hosts = [{ name = "n1", region = "a" }, { name = "n2", region = "b" }]
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.Mkdir(filepath.Join(broken, "latest"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "latest", record.ResultsName), []byte(`{"format": 99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		// 13 ms is Frankfurt to London and back, 27 London to Madrid, 29 Frankfurt to Madrid.
		{"--advise continent-3 --sync 100us", 0, "put the leader on n2 (london): writes commit from frankfurt in 26.100 ms, from london in 13.100 ms, from madrid in 40.100 ms"},
		{"--advise continent-3 --sync 100us --producers frankfurt=3,madrid=1", 0, "put the leader on n1 (frankfurt): writes commit from frankfurt in 13.100 ms, from madrid in 42.100 ms"},
		{"--advise continent-3 --sync 100us --producers madrid=50%", 0, "put the leader on n3 (madrid)"},
		{"--advise continent-3 --sync 100us --sync-p99 2ms", 0, "A durable write takes 100µs, one in a hundred 2ms, as given."},
		{"--advise continent-3 --sync 100us", 0, "london              n1 leads at best, commits in 29.100 ms (slowest that counts: n3); mean 43.600 ms (+10.500)"},
		{"--advise continent-3 --sync 100us", 0, "No measured latency beside it: no run was found in " + filepath.Join(dir, "latest")},
		{"--advise continent-3 --sync 100us --out " + broken, 0, "No measured latency beside it: " + broken},
		{"--advise continent-3 --sync 100us --result " + ran(t), 0, "n3 (madrid)  london"},
		{"--advise world-3 --sync 100us --result " + ran(t), 0, "has no valid launch across the regions of world-3"},
		{"--advise world-4 --sync 100us", 2, `no built-in topology "world-4"; there are continent-3`},
		{"--advise missing.toml --sync 100us", 2, "missing.toml: no such file"},
		{"--advise " + holes + " --sync 100us", 2, `no distance from a to b: want { regions = ["a", "b"], delay_ms = … } in between`},
		{"--advise world-3 --producers kyoto=1", 2, `region "kyoto" is not in world-3: there are washington, frankfurt, tokyo`},
		{"--advise world-3 --producers tokyo=-1,frankfurt=2", 2, "--producers: tokyo has a weight of -1: want 0 or more"},
		{"--advise world-3 --producers tokyo=NaN", 2, "tokyo has a weight of NaN: want 0 or more"},
		{"--advise world-3 --producers tokyo=0", 2, "no weight is above 0"},
		{"--advise world-3 --producers tokyo=1,tokyo=2", 2, `"tokyo" is listed twice`},
		{"--advise world-3 --producers tokyo", 2, `--producers "tokyo": want REGION=SHARE`},
		{"--advise world-3 --sync=-1ms", 2, "want nothing negative"},
		{"--advise world-3 --sync 2ms --sync-p99 1ms", 2, "a p99 that is not below the typical one"},
		{"--advise world-3 --sync-p99 1ms", 2, "--sync-p99 goes with --sync"},
		{"--advise world-3 --sync fast", 2, "bench --help explains"},
		{"--advise world-3 --sync 1ms --result missing", 2, "want results.json of bin/bench, its folder, or a RESULTS.md"},
		{"--advise world-3 --launches 2", 2, "--advise runs nothing"},
		{"--advise world-3 --profile full", 2, "--advise runs nothing"},
		{"--producers tokyo=1", 2, "go with --advise TOPOLOGY"},
		{"--help", 0, "bench --advise world-3"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"--out", dir}, strings.Fields(c.args)...)
		if code := run(t.Context(), args, &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%s: exit %d\n%s%s\nwant exit %d and %q", c.args, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}

func TestAdviseJSON(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"--advise", "continent-3", "--sync", "1ms", "--result", ran(t), "--json"}, &out, &errs)
	var a advice.Advice
	if err := json.Unmarshal(out.Bytes(), &a); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out.String(), errs.String())
	}
	if a.Theory.Placements[0].Leader != "n2" || a.Sync.P50 != time.Millisecond || a.Measured == nil || a.Measured.Leaders[0].Clients[0].Theory != 55*time.Millisecond {
		t.Errorf("%+v", a)
	}
}

// ^C while the disk is measured leaves nothing on it. A directory in memory is no disk.
func TestAdviseMeasures(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"--advise", "world-3", "--dir", dir, "--out", dir, "--allow-fs", "tmpfs,overlay"}, &out, &errs); code != exitInterrupted {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if st, err := os.Stat("/dev/shm"); err != nil || !st.IsDir() {
		t.Skip("needs tmpfs: /dev/shm")
	}
	if code := run(t.Context(), []string{"--advise", "world-3", "--dir", "/dev/shm", "--out", dir}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "--allow-fs tmpfs") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
}
