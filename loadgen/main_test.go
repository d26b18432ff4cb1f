package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/result"
)

// do runs the command.
func do(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// short makes a run of a second and a half.
func short(b *brokertest.Cluster, args ...string) []string {
	return append([]string{"--brokers", b.Addr(), "--topic", "t", "--rate", "400", "--for", "1300ms", "--warm-up", "200ms", "--judge", "0",
		"--size", "200", "--timeout", "2m"}, args...)
}

func TestUsage(t *testing.T) {
	if code, out, _ := do(t, "--version"); code != exitValid || !strings.HasPrefix(out, "ackline ") {
		t.Errorf("--version: %d, %q", code, out)
	}
	code, out, _ := do(t, "--help")
	if code != exitValid || !strings.Contains(out, "Exit codes:") || !strings.Contains(out, "loadgen run --help") || !strings.Contains(out, "loadgen --brokers") {
		t.Errorf("--help: %d, %q", code, out)
	}
	code, out, _ = do(t, "run", "--help")
	if code != exitValid || !strings.Contains(out, "--records-per-request") || !strings.Contains(out, "When operations begin") || !strings.Contains(out, "INVALID") {
		t.Errorf("run --help: %d, %q", code, out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--brokers", "a:1", "--speed", "5"}, "unknown flag --speed"},
		{nil, "--brokers"},
		{[]string{"--brokers", "a:1", "--floor", "b:1", "--agents", "c:1"}, "a floor beside agents"},
		{[]string{"--brokers", "a:1", "--driver", "java"}, "--driver"},
		{[]string{"--brokers", "a:1", "--warm-up", "long"}, "want auto, or a duration"},
		{[]string{"--brokers", "a:1", "--size", "3"}, "24 to"},
		{[]string{"--brokers", "a:1", "--rate", "0"}, "rate 0"},
		{[]string{"--brokers", "a:1", "--for", "0s"}, "measured window"},
		{[]string{"--brokers", "a:1", "--connections=-4"}, "connections -4"},
		{[]string{"--brokers", "a:1", "--stages", "some"}, "--stages"},
		{[]string{"--brokers", "a:1", "--stages", "on", "--driver", "kgo"}, "stages are asked for with the wire driver's"},
		{[]string{"--brokers", "a:1", "--create"}, "unknown flag --create"},
		{[]string{"--brokers", "a:1", "--existing"}, "--topic"},
		{[]string{"--brokers", "a:1", "--workload", "fetch"}, "--existing"},
		{[]string{"--brokers", "a:1", "--tls-ca", "ca.pem"}, "without --tls"},
		{[]string{"--brokers", "a:1", "--sasl", "gssapi", "--sasl-user", "u"}, "scram-sha-256"},
		{[]string{"--floor", "a:1", "--tls"}, "neither TLS nor SASL"},
	} {
		code, _, errOut := do(t, c.args...)
		if code != exitUsage || !strings.Contains(errOut, c.says) || !strings.Contains(errOut, "--help") {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, code, errOut, exitUsage, c.says)
		}
	}
}

func TestErrors(t *testing.T) {
	nobody := brokertest.Refused(t)
	b := brokertest.Start(t, 1)
	b.Create("there", 1)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--brokers", nobody}, []string{"connection refused", "is one listening there?"}},
		{[]string{"--brokers", "localhost"}, []string{"want host:port"}},
		{[]string{"--floor", nobody}, []string{"connection refused", "tools/floor"}},
		{[]string{"--brokers", b.Addr(), "--topic", "missing", "--existing"}, []string{"no such topic", "leave --existing away"}},
		{[]string{"--brokers", b.Addr(), "--topic", "there"}, []string{`topic "there" is there already`, "--existing"}},
		{[]string{"--brokers", b.Addr(), "--topic", "there", "--existing", "--workload", "fetch"}, []string{"is empty"}},
		{[]string{"--brokers", b.Addr(), "--topic", "there", "--existing", "--hlog", filepath.Join(t.TempDir(), "no", "dir")}, []string{"hlog"}},
	} {
		code, _, errOut := do(t, c.args...)
		if code != exitError {
			t.Errorf("%v: exit %d, %q", c.args, code, errOut)
		}
		for _, s := range c.says {
			if !strings.Contains(errOut, s) {
				t.Errorf("%v: %q does not say %q", c.args, errOut, s)
			}
		}
	}
	if !b.Has("there") {
		t.Error("a topic that was there before was deleted")
	}
}

// A run from end to end, with everything that it can write.
func TestRun(t *testing.T) {
	b := brokertest.Start(t, 1)
	dir := t.TempDir()
	js, hl := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.hlog")
	code, out, errOut := do(t, short(b, "--json", js, "--hlog", hl, "--end-to-end", "--connections", "2", "--in-flight", "2")...)
	// On a busy machine the generator may well find itself late; what it may not find is anything else.
	if code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	for _, want := range []string{"operations acknowledged", "response", "end to end", "0 lost"} {
		if !strings.Contains(out, want) {
			t.Errorf("the summary lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(errOut, "\x1b") || !strings.Contains(errOut, " 1 s measure ") || !strings.Contains(errOut, "lag p99") {
		t.Errorf("progress without a terminal:\n%s", errOut)
	}
	raw, err := os.ReadFile(js)
	if err != nil {
		t.Fatal(err)
	}
	var r result.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	for _, reason := range r.Verdict.Reasons {
		if !slices.Contains([]result.Code{result.Lag, result.Starved, result.Garbage, result.CPULimit}, reason.Code) {
			t.Errorf("%+v", reason)
		}
	}
	if (code == exitValid) != (r.Verdict.Status == result.Valid) {
		t.Errorf("exit %d with the verdict %s", code, r.Verdict.Status)
	}
	if r.Counts.Acked < 400 || r.Latency.Set.Response.Count() != r.Counts.Acked || len(r.Effective.Connections) != 2 || r.Latency.EndToEnd.Count() != r.Counts.Acked {
		t.Errorf("counts %+v, effective %+v", r.Counts, r.Effective)
	}
	if log, err := os.ReadFile(hl); err != nil || !bytes.Contains(log, []byte("#[Histogram log format version 1.3]")) || !bytes.Contains(log, []byte("Tag=lag,")) {
		t.Errorf("hlog: %v, %d bytes", err, len(log))
	}
	if b.Has("t") {
		t.Error("the topic that the run made is still there")
	}
}

// The wire driver asks for stages unless it is told not to; no other driver is made to.
func TestStagesFlag(t *testing.T) {
	for _, c := range []struct {
		args  []string
		shown bool
	}{{nil, true}, {[]string{"--stages", "on"}, true}, {[]string{"--stages", "off"}, false}, {[]string{"--driver", "kgo"}, false}} {
		b := brokertest.Start(t, 1)
		b.Break(brokertest.Faults{Tell: func() []byte { return append([]byte{1}, make([]byte, 48)...) }})
		code, out, errOut := do(t, short(b, c.args...)...)
		if shown := strings.Contains(out, "acknowledged requests joined (100.0%)"); shown != c.shown || strings.Contains(out, "joined") != c.shown || code == exitError || code == exitUsage {
			t.Errorf("%v: exit %d, stages shown: %v\n%s%s", c.args, code, shown, out, errOut)
		}
	}
}

func TestJSONToStandardOutput(t *testing.T) {
	b := brokertest.Start(t, 1)
	_, out, errOut := do(t, short(b, "--json", "-", "--keep", "--no-check", "--for", "300ms")...)
	var r result.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %.200q", err, out)
	}
	if !strings.Contains(errOut, "check: none") || !b.Has("t") || r.Check != nil {
		t.Errorf("check %+v, topic kept: %v\n%s", r.Check, b.Has("t"), errOut)
	}
}

func TestFailedCheck(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{CorruptBatch: 30})
	hl := filepath.Join(t.TempDir(), "r.hlog")
	code, out, _ := do(t, short(b, "--hlog", hl)...)
	if code != exitFailed || strings.Contains(out, "p99") || !strings.Contains(out, "CHECK FAILED") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if _, err := os.Stat(hl); err == nil {
		t.Error("a run that failed the check left its latencies in an hlog")
	}
}

func TestBrokerDies(t *testing.T) {
	b := brokertest.Start(t, 1)
	// The first progress line comes from within the run.
	w := &trigger{on: " 1 s measure", do: func() { b.Kill(1) }}
	var out bytes.Buffer
	args := short(b, "--for", "1h", "--timeout", "2s")
	if code := run(context.Background(), args, &out, w); code != exitInvalid || !strings.Contains(out.String(), "ended-early") {
		t.Errorf("exit %d:\n%s%s", code, out.String(), w.text())
	}
	if !strings.Contains(w.text(), "delete topic") {
		t.Errorf("that the topic could not be deleted is not said:\n%s", w.text())
	}
}

func TestInterrupt(t *testing.T) {
	b := brokertest.Start(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &trigger{on: " 1 s measure", do: cancel}
	var out bytes.Buffer
	code := run(ctx, short(b, "--for", "1h"), &out, w)
	if (code != exitValid && code != exitInvalid) || !strings.Contains(out.String(), "operations acknowledged") || b.Has("t") {
		t.Errorf("exit %d, topic still there: %v\n%s%s", code, b.Has("t"), out.String(), w.text())
	}
}

// trigger does something when it is written a text.
type trigger struct {
	on string
	do func()

	mu  sync.Mutex // guards buf and did
	buf bytes.Buffer
	did bool
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.buf.Write(p)
	act := !w.did && strings.Contains(w.buf.String(), w.on)
	w.did = w.did || act
	w.mu.Unlock()
	if act {
		w.do()
	}
	return len(p), nil
}

func (w *trigger) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// Runs are added to a file that benchstat takes, whether they are valid or not.
func TestBenchfmt(t *testing.T) {
	b := brokertest.Start(t, 1)
	path := filepath.Join(t.TempDir(), "runs")
	valid := 0
	for range 2 {
		if code, out, errOut := do(t, short(b, "--benchfmt", path, "--for", "300ms")...); code == exitValid {
			valid++
		} else if code != exitInvalid {
			t.Fatalf("exit %d: %s%s", code, out, errOut)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\nBenchmarkProduce/")); n != valid || n+bytes.Count(text, []byte("no figures")) != 2 {
		t.Errorf("%d lines of %d valid runs of 2:\n%s", n, valid, text)
	}
	if valid > 0 && !bytes.Contains(text, []byte("/size=200/arrivals=poisson/rate=400-")) {
		t.Errorf("%s", text)
	}
	code, out, errOut := do(t, short(b, "--benchfmt", "-", "--for", "300ms")...)
	if code != exitValid && code != exitInvalid || strings.Contains(out, "acknowledged in") || !strings.Contains(errOut, "acknowledged in") ||
		!strings.Contains(out, "BenchmarkProduce") && !strings.Contains(out, "no figures") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if code, _, errOut := do(t, short(b, "--benchfmt", "-", "--json", "-")...); code != exitUsage || !strings.Contains(errOut, "one of them") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}
