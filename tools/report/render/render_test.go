package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata. The raw data is left out: another Go release may compress it differently.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if i := bytes.Index(got, []byte("\n## Raw data\n")); i >= 0 {
		got = got[:i+1]
	}
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s:%d (go test -update writes it anew):\n got %q\nwant %q", name, i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("%s has %d lines, rendered were %d", name, len(w), len(g))
	}
}

func render(t *testing.T, r *record.Results, previous *Previous) []byte {
	t.Helper()
	page, err := File(r, previous)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// spoiled is a run with everything that can go wrong: an invalid launch, a scenario that lost data, one that was faster
// than the floor, foreign text that looks like benchstat's or ends the fold.
func spoiled() *record.Results {
	r := sample("bad0bad0bad0-dirty", 1)
	r.Notes = []string{"The disk's write cache is unknown: </details> Benchmark X 1 ns/op. " + strings.Repeat("note: Unit x ", 30)}
	r.Scenarios[0].Note = "key: a note | that would be configuration"
	for i := range r.Launches {
		l := &r.Launches[i]
		switch {
		case l.Scenario == "latency-1" && l.Number > 4:
			l.Verdict, l.Reasons = record.Invalid, []string{"the generator was 40 µs late at p99, at most 20 are allowed"}
		case l.Scenario == "inflight-256" && l.Number == 2:
			l.Verdict, l.Reasons = record.Failed, []string{"data check: 2 records are missing"}
			l.Check = &record.DataCheck{Acknowledged: 10, Read: 8, Missing: 2, Detail: "offset 17 was acknowledged and is not there"}
		case l.Scenario == "fetch-1":
			l.Pairs[0].Ratio = 0.5
		case l.Scenario == "recovery":
			l.Figures = []record.Figure{{Name: record.FloorCheck, Unit: "ratio", Side: record.Host, Value: 1.2}}
		}
	}
	return r
}

func TestGolden(t *testing.T) {
	old := sample("0123456789ab", 1)
	golden(t, "first.md", render(t, old, nil))
	golden(t, "second.md", render(t, sample("ba9876543210", 1.2), Remember(old)))
	other := sample("ba9876543210", 1)
	other.FloorVersion = 2
	golden(t, "other.md", render(t, other, Remember(old)))
	golden(t, "spoiled.md", render(t, spoiled(), Remember(old)))
	golden(t, "empty.md", render(t, &record.Results{Format: record.Format, Suite: "quick", Host: old.Host}, nil))
}

func TestEnding(t *testing.T) {
	var b bytes.Buffer
	for _, r := range []*record.Results{sample("0123456789ab", 1), spoiled(), {Format: record.Format}} {
		lines := Ending(r)
		if len(lines) != 9 {
			t.Errorf("%d lines, want 9", len(lines))
		}
		for _, l := range lines {
			if len(l) > page.MaxLine {
				t.Errorf("%d bytes: %s", len(l), l)
			}
			fmt.Fprintln(&b, l)
		}
		fmt.Fprintln(&b)
	}
	golden(t, "ending.txt", b.Bytes())
}

// Every line keeps to the rules whatever the record's text is, and what benchstat's own parser takes for data is what
// was meant to be data.
func TestLines(t *testing.T) {
	old := Remember(sample("0123456789ab", 1))
	for name, r := range map[string]*record.Results{"good": sample("ba9876543210", 1), "spoiled": spoiled(), "whole": whole()} {
		rendered := render(t, r, old)
		allowed := regexp.MustCompile(`^(goos|goarch|fingerprint|profile): \S+$`)
		for i, line := range strings.Split(string(rendered), "\n") {
			if len(line) > page.MaxLine {
				t.Errorf("%s:%d has %d bytes: %s", name, i+1, len(line), line)
			}
			if page.Special(line) && !allowed.MatchString(line) && !strings.HasPrefix(line, "Unit ") && !strings.HasPrefix(line, "Benchmark") {
				t.Errorf("%s:%d would be read by benchstat: %s", name, i+1, line)
			}
		}
		results, units := 0, map[string]bool{}
		reader := benchfmt.NewReader(bytes.NewReader(rendered), name)
		for reader.Scan() {
			switch rec := reader.Result().(type) {
			case *benchfmt.SyntaxError:
				t.Error(rec)
			case *benchfmt.UnitMetadata:
				if units[rec.OrigUnit+rec.Key] {
					t.Errorf("%s: unit %s has %s twice", name, rec.OrigUnit, rec.Key)
				}
				units[rec.OrigUnit+rec.Key] = true
			case *benchfmt.Result:
				results++
				if len(rec.Config) != 4 {
					t.Errorf("%s: %d configuration lines hold for %s, want 4: %v", name, len(rec.Config), rec.Name, rec.Config)
				}
				if !regexp.MustCompile(`^(Produce|Fetch|Recovery)/topo=single/load=[a-z]+(-[a-z0-9]+)*-2$`).Match(rec.Name) {
					t.Errorf("%s: name %s, want topology, load and GOMAXPROCS", name, rec.Name)
				}
			}
		}
		if err := reader.Err(); err != nil {
			t.Error(err)
		}
		if results == 0 || name == "good" && results < 40 {
			t.Errorf("%s: %d results", name, results)
		}
	}
}

// A launch that may not be published must not be anywhere in what benchstat reads.
func TestSpoiledScenariosStayOut(t *testing.T) {
	page := string(render(t, spoiled(), nil))
	for _, absent := range []string{"BenchmarkProduce/topo=single/load=inflight-256", "BenchmarkFetch", "BenchmarkRecovery"} {
		if strings.Contains(page, absent) {
			t.Errorf("%s is published", absent)
		}
	}
	if n := strings.Count(page, "BenchmarkProduce/topo=single/load=latency-1-2 "); n != 3*4 {
		t.Errorf("%d lines of the four valid launches, want 12 (three each, folded)", n)
	}
}

// benchstat itself must compare two commits without a complaint.
func TestBenchstat(t *testing.T) {
	dir := t.TempDir()
	first := sample("0123456789ab", 1)
	write := func(name string, page []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	a := write("a.md", render(t, first, nil))
	b := write("b.md", render(t, sample("ba9876543210", 1.2), Remember(first)))
	cmd := exec.Command("go", "tool", "benchstat", a, b)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errOut)
	}
	if errOut.Len() > 0 {
		t.Errorf("benchstat complains: %s", &errOut)
	}
	text := out.String()
	for _, want := range []string{"p50-sec", "floor-p50-sec", "ratio-p50", "p99-sec", "ratio-p99", "rate-requests/s", "floor-rate-requests/s",
		"ratio-rate", "first-ack-sec", "cpu-sec-per-request", "context-switches-per-request", "vs base",
		"Produce/topo=single/load=latency-1-2", "Produce/topo=single/load=inflight-256-2", "Fetch/topo=single/load=fetch-1-2",
		"Recovery/topo=single/load=recovery-2", "goarch: amd64"} {
		if !strings.Contains(text, want) {
			t.Errorf("benchstat's output lacks %q", want)
		}
	}
	if tables := strings.Count(text, "vs base"); tables != 14 {
		t.Errorf("%d tables with a comparison, want one for each of 14 units", tables)
	}
	if n := strings.Count(text, "goos: "); n != 1 {
		t.Errorf("%d groups of tables, want 1: the configuration lines differ", n)
	}
	if m := regexp.MustCompile(`load=latency-1-2 .*\+\d+\.\d+% \(p=0\.000 n=10\)`).FindString(text); m == "" {
		t.Error("the change of a fifth in latency-1 is not seen")
	}
	if t.Failed() {
		t.Logf("output:\n%s", text)
	}
}

func TestCheck(t *testing.T) {
	first := sample("0123456789ab", 1)
	page := render(t, sample("ba9876543210", 1.2), Remember(first))
	if err := Check(page); err != nil {
		t.Fatal(err)
	}
	doc, err := Extract(page)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(&Document{sample("ba9876543210", 1.2), Remember(first)})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the raw data is not what was rendered:\n%s\n%s", got, want)
	}
	replaced := func(old, new string) []byte {
		if !bytes.Contains(page, []byte(old)) {
			t.Fatalf("the page has no %q", old)
		}
		return bytes.Replace(page, []byte(old), []byte(new), 1)
	}
	for want, spoil := range map[string][]byte{
		"line 8 is not what":  replaced("commit ba9876543210, suite full", "commit ba9876543210, suite fine"),
		"no raw data":         []byte("# Results\n"),
		"does not end":        page[:len(page)-30],
		"raw data: ":          replaced("H4sI", "H4sJ"),
		"is not what the raw": append(bytes.Clone(page), "more\n"...),
	} {
		if err := Check(spoil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
