package result

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"ackline/loadgen/client"
)

// benched is a run as a file has it.
func benched(t *testing.T, e Evidence, load ...string) []byte {
	t.Helper()
	r := run(e)
	r.Effective = client.Effective{Driver: "wire (fetch, sequential)", InFlight: 4, RecordsPerRequest: 1, ValueBytes: 1024}
	r.Target.Workload = "produce + consume"
	r.Generator.GOMAXPROCS = 3
	var b bytes.Buffer
	if err := r.Bench(&b, load...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What benchstat's own parser makes of it is what was meant, without a complaint.
func TestBenchIsRead(t *testing.T) {
	text := benched(t, sound(), "arrivals=poisson", "rate=2000")
	results, units := 0, map[string]bool{}
	reader := benchfmt.NewReader(bytes.NewReader(text), "x")
	var got *benchfmt.Result
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.UnitMetadata:
			units[rec.OrigUnit] = true
			if rate := strings.HasSuffix(rec.OrigUnit, "/s"); rec.Key == "better" && rate != (rec.Value == "higher") {
				t.Errorf("of %s, %s is better", rec.OrigUnit, rec.Value)
			}
		case *benchfmt.Result:
			results++
			got = rec.Clone()
		}
	}
	if err := reader.Err(); err != nil || results != 1 {
		t.Fatalf("%d results, %v in\n%s", results, err, text)
	}
	want := regexp.MustCompile(`^Produce/driver=wire_\(fetch,_sequential\)/connections=1/in-flight=4/partitions=\d+/replication=\d+/records=1/size=1024/arrivals=poisson/rate=2000-3$`)
	if !want.Match(got.Name) || got.Iters != 20_000 || len(got.Config) != 2 {
		t.Errorf("%s, %d iterations, configuration %v", got.Name, got.Iters, got.Config)
	}
	s := Summarize(sound().Set.Response, timeout)
	for _, v := range got.Values {
		unit := v.OrigUnit
		if unit == "" {
			unit = v.Unit
		}
		if !units[unit] {
			t.Errorf("%s has no Unit line", unit)
		}
		if p99, _ := s.At(99); unit == "p99-ns" && (v.OrigValue < p99.US*999 || v.OrigValue > p99.US*1001) {
			t.Errorf("p99 of %g ns, want %g µs", v.OrigValue, p99.US)
		}
	}
	for _, unit := range []string{"p50-ns", "p99-ns", "service-p99-ns", "backlog-p99-ns", "lag-p99-ns", "requests/s", "records/s", "failed-requests"} {
		if !units[unit] {
			t.Errorf("%s is not there:\n%s", unit, text)
		}
	}
}

// A run that is not VALID has no figures, and what is said of it is nothing to benchstat.
func TestBenchOfNoResult(t *testing.T) {
	failed := sound()
	failed.Check.Lost = 1
	early := sound()
	early.Ended = "the broker is gone"
	for _, e := range []Evidence{failed, early} {
		text := benched(t, e)
		reader := benchfmt.NewReader(bytes.NewReader(append(text, "BenchmarkX 1 1 y\n"...)), "x")
		for reader.Scan() {
			if rec, ok := reader.Result().(*benchfmt.Result); !ok || string(rec.Name) != "X" || len(rec.Config) != 0 {
				t.Errorf("%s is read as %v", text, reader.Result())
			}
		}
		if !bytes.Contains(text, []byte("no figures")) {
			t.Errorf("%s", text)
		}
	}
}

// Two files of six runs each are compared without a warning.
func TestBenchstatCompares(t *testing.T) {
	var files []string
	for _, name := range []string{"old", "new"} {
		var b []byte
		for range 6 {
			b = append(b, benched(t, sound(), "arrivals=closed")...)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	cmd := exec.Command("go", "tool", "benchstat", files[0], files[1])
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil || errOut.Len() > 0 {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	if !strings.Contains(out.String(), "vs base") || !strings.Contains(out.String(), "p99-sec") || !strings.Contains(out.String(), "n=6") || strings.Contains(out.String(), "need >=") {
		t.Errorf("%s", out.String())
	}
}
