package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/result"
)

// write makes a file.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "w.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// A file gives what the command line does not, and what came of both stands in the summary and in the result.
func TestWorkloadFile(t *testing.T) {
	b := brokertest.Start(t, 1)
	file := write(t, "size = \"100..300\"\nkey = \"zipf:50,1.1\"\nheaders = \"2x10\"\ncompression = \"lz4\"\nratio = 2\nrecords_per_request = 5\n"+
		"connections = 3\nin_flight = 2\npartitions = 3\n")
	code, out, errOut := do(t, "--brokers", b.Addr(), "--topic", "t", "--rate", "200", "--for", "300ms", "--warm-up", "0s", "--judge", "0",
		"--timeout", "2m", "--workload-file", file, "--key", "sequential", "--in-flight", "4", "--json", "-")
	if code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{"5 records of up to 300 bytes", "values of 100..300 bytes, keys sequential, headers 2x10, ratio 2", "compression: lz4", "3 partitions", "0 changed"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("the summary lacks %q:\n%s", want, errOut)
		}
	}
	var r result.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(r.Asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"size":"100..300"`, `"key":"sequential"`, `"headers":"2x10"`, `"ratio":2`, `"Compression":"lz4"`, `"Connections":3`, `"InFlight":4`, `"RecordsPerRequest":5`} {
		if !strings.Contains(string(asked), want) {
			t.Errorf("the result lacks %s: %s", want, asked)
		}
	}
	if c := r.Counts; c.ValueBytes < 100*c.Records || c.ValueBytes > 300*c.Records || c.WireBytes == 0 || r.Check == nil || r.Check.Read != r.Check.Acked {
		t.Errorf("counts %+v, check %+v", c, r.Check)
	}
}

func TestBadWorkloads(t *testing.T) {
	for _, c := range []struct {
		text string
		args []string
		says []string
	}{
		{"\nkeey = \"none\"\n", nil, []string{"w.toml:2", `did you mean "key"?`, "in_flight"}},
		{"partition = 3\n", nil, []string{"w.toml:1", `did you mean "partitions"?`}},
		{"size = \"20..10\"\n", nil, []string{"w.toml:1:", "ends at 10"}},
		{"connections = \"x\"\n", nil, []string{"w.toml:1:"}},
		{"brokers = [\"b:1\"]\n", nil, []string{"w.toml:1", "unknown key"}},
		{"acks = \"2\"\n", nil, []string{"--acks must be one of"}},
		{"", []string{"--size", "7"}, []string{"the smallest is 7, want 24"}},
		{"", []string{"--ratio", "0.1"}, []string{"ratio 0.1"}},
		{"", []string{"--acks", "0", "--end-to-end"}, []string{"end to end with acks 0"}},
		{"", []string{"--acks", "0", "--hlog", "x"}, []string{"hlog with acks 0"}},
		{"", []string{"--idempotence", "on", "--in-flight", "6"}, []string{"at most 5"}},
		{"", []string{"--workload", "fetch", "--compression", "zstd"}, []string{"the fetch workload reads"}},
	} {
		code, _, errOut := do(t, append([]string{"--brokers", "a:1", "--workload-file", write(t, c.text)}, c.args...)...)
		for _, want := range c.says {
			if code != exitUsage || !strings.Contains(errOut, want) {
				t.Errorf("%q %v: exit %d, %q; want %q", c.text, c.args, code, errOut, want)
			}
		}
	}
	if code, _, errOut := do(t, "--brokers", "a:1", "--workload-file", filepath.Join(t.TempDir(), "none.toml")); code != exitUsage || !strings.Contains(errOut, "no such file") {
		t.Errorf("a file that is not there: %d, %q", code, errOut)
	}
	if code, _, errOut := do(t, "--floor", "a:1", "--acks", "0"); code != exitUsage || !strings.Contains(errOut, "a floor answers everything") {
		t.Errorf("a floor without answers: %d, %q", code, errOut)
	}
}

// Without answers there is a throughput and nothing else, and it is said why.
func TestNoAnswers(t *testing.T) {
	b := brokertest.Start(t, 1)
	code, out, errOut := do(t, "--brokers", b.Addr(), "--topic", "t", "--arrivals", "closed", "--for", "300ms", "--warm-up", "0s", "--acks", "0", "--keep")
	if code != exitValid || !strings.Contains(out, "operations sent") || !strings.Contains(out, "acks 0: there are no answers") || strings.Contains(out, "p99") ||
		!strings.Contains(out, "check: none") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if b.Stored("t", 0) == 0 || strings.Contains(errOut, "p50") || !strings.Contains(errOut, "/s sent") {
		t.Errorf("%d records stored; %s", b.Stored("t", 0), errOut)
	}
}
