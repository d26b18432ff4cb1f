package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/climb"
	"ackline/loadgen/null"
)

// quick makes a climb of two rates, each tried once for a quarter of a second. An objective that a busy machine keeps, too.
func quick(b *brokertest.Cluster, args ...string) []string {
	return append([]string{"knee", "--brokers", b.Addr(), "--topic", "t", "--objective", "p50<=20s", "--from", "1000", "--to", "2000", "--trials", "1",
		"--for", "100ms", "--discard", "50ms", "--rest", "0s", "--warm-up", "100ms", "--size", "200", "--timeout", "2m", "--connections", "2", "--in-flight", "16"}, args...)
}

func TestKnee(t *testing.T) {
	b := brokertest.Start(t, 1)
	dir := t.TempDir()
	js, svg := filepath.Join(dir, "k.json"), filepath.Join(dir, "k.svg")
	code, out, errOut := do(t, quick(b, "--json", js, "--svg", svg)...)
	// On a busy machine every trial may be spoilt; what may not be is anything else.
	if code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	for _, want := range []string{"p50 ≤ 20s: ", "1,000/s", "0 lost", "driver wire: 2 connections × 16 in flight"} {
		if !strings.Contains(out, want) {
			t.Errorf("the summary lacks %q:\n%s", want, out)
		}
	}
	if !strings.Contains(errOut, "1000/s: warm-up") || !strings.Contains(errOut, "1,000/s trial 1: p50 ") {
		t.Errorf("progress:\n%s", errOut)
	}
	raw, err := os.ReadFile(js)
	if err != nil {
		t.Fatal(err)
	}
	var r climb.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Trials) == 0 || r.Check == nil || !r.Check.Done || r.Check.Read < r.Acked || r.Acked < 300 || b.Has("t") {
		t.Errorf("%d trials, %d acknowledged, check %+v, topic still there: %v", len(r.Trials), r.Acked, r.Check, b.Has("t"))
	}
	if a := r.Answer; a.Missed != 0 || (code == exitValid) != (a.Kept > 0) || (code == exitInvalid) != (a.Unproven == 1000) {
		t.Errorf("exit %d, %+v:\n%s", code, a, out)
	}
	picture, err := os.ReadFile(svg)
	if (len(r.Rates()) > 0) != strings.Contains(string(picture), "</svg>") {
		t.Errorf("%d rates with a trial that counts, and a picture of %d bytes, %v", len(r.Rates()), len(picture), err)
	}
}

// Towards a responder that keeps nothing the search is the same, and that nothing was checked is said.
func TestKneeWithoutACheck(t *testing.T) {
	s, err := null.New("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	code, out, errOut := do(t, "knee", "--brokers", s.Addr, "--topic", "t", "--existing", "--no-check", "--objective", "p90<=20s", "--from", "2000", "--to", "2000", "--trials", "1", "--for", "50ms",
		"--discard", "0s", "--rest", "0s", "--warm-up", "0s", "--in-flight", "64", "--size", "100")
	if (code != exitValid && code != exitInvalid) || !strings.Contains(out, "check: none") || !strings.Contains(out, "p90") || strings.Contains(errOut, "warm-up") {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	if (code == exitValid) != strings.Contains(out, "kept at 2,000/s, the highest rate that was allowed") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestKneeOfABrokerThatLosesRecords(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{LoseBatch: 30})
	dir := t.TempDir()
	js, svg := filepath.Join(dir, "k.json"), filepath.Join(dir, "k.svg")
	if err := os.WriteFile(svg, []byte("of another day"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, _ := do(t, quick(b, "--json", js, "--svg", svg)...)
	if code != exitFailed || strings.Contains(out, "µs") || !strings.Contains(out, "CHECK FAILED") || !strings.Contains(out, "no knee is published") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if raw, err := os.ReadFile(js); err != nil || strings.Contains(string(raw), "hdr") || strings.Contains(string(raw), "outcome") {
		t.Errorf("the JSON has latencies: %v", err)
	}
	if _, err := os.Stat(svg); err == nil {
		t.Error("there is a picture")
	}
}

func TestKneeEndsEarly(t *testing.T) {
	for name, act := range map[string]func(b *brokertest.Cluster, cancel func()){
		"interrupted":     func(_ *brokertest.Cluster, cancel func()) { cancel() },
		"the broker dies": func(b *brokertest.Cluster, _ func()) { b.Kill(1) },
	} {
		b := brokertest.Start(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		w := &trigger{on: "s: trial 1", do: func() { act(b, cancel) }}
		var out bytes.Buffer
		args := quick(b, "--for", "1h", "--longest", "1h", "--timeout", "2s")
		if code := run(ctx, args, &out, w); code != exitInvalid || !strings.Contains(out.String(), "ended-early") || !strings.Contains(out.String(), "did not get that far") {
			t.Errorf("%s: exit %d\n%s%s", name, code, out.String(), w.text())
		}
		if name == "interrupted" && (b.Has("t") || !strings.Contains(out.String(), "0 lost")) {
			t.Errorf("%s: topic still there: %v\n%s", name, b.Has("t"), out.String())
		}
		cancel()
	}
}

func TestKneeUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "--brokers"},
		{[]string{"--objective", "p98<=1ms"}, "want p50, p90"},
		{[]string{"--objective", "p99<=fast"}, "no duration"},
		{[]string{"--trials", "2"}, "odd number"},
		{[]string{"--trials", "0"}, "want more than 0"},
		{[]string{"--from", "5000", "--to", "100"}, "no less at the end"},
		{[]string{"--from", "10"}, "begin at a higher rate"},
		{[]string{"--resolution", "7"}, "resolution 7"},
		{[]string{"--end-to-end"}, "no place here"},
		{[]string{"--warm-up", "long"}, "want auto, or a duration"},
		{[]string{"--arrivals", "closed"}, "--arrivals"},
		{[]string{"--size", "3"}, "24 to"},
	} {
		args := append([]string{"knee"}, c.args...)
		if c.args != nil {
			args = append(args, "--brokers", "a:1")
		}
		if code, _, errOut := do(t, args...); code != exitUsage || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, code, errOut, exitUsage, c.says)
		}
	}
	if code, out, _ := do(t, "knee", "--help"); code != exitValid || !strings.Contains(out, "--objective") || !strings.Contains(out, "What a trial is") || !strings.Contains(out, "has no vote") {
		t.Errorf("--help: %d, %q", code, out)
	}
}
