package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
)

// soaking makes a soak of a fraction of a second.
func soaking(b *brokertest.Cluster, args ...string) []string {
	return append([]string{"check", "--brokers", b.Addr(), "--topic", "t", "--rate", "400", "--size", "200", "--timeout", "2m"}, args...)
}

func TestCheckUsage(t *testing.T) {
	code, out, _ := do(t, "check", "--help")
	if code != exitValid || !strings.Contains(out, "--state") || !strings.Contains(out, "Exit codes:") || !strings.Contains(out, "kill -9") {
		t.Errorf("check --help: %d, %q", code, out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"check", "--brokers", "a:1"}, "--for"},
		{[]string{"check", "--for", "8h"}, "--brokers"},
		{[]string{"check", "--brokers", "a:1", "--for", "0s"}, "a soak of 0s"},
		{[]string{"check", "--brokers", "a:1", "--for", "8h", "--rate", "0"}, "rate 0"},
		{[]string{"check", "--brokers", "a:1", "--for", "8h", "--rate=-1"}, "rate -1"},
		{[]string{"check", "--brokers", "a:1", "--for", "8h", "--size", "3"}, "24 to"},
		{[]string{"check", "--brokers", "a", "--for", "8h"}, "want host:port"},
	} {
		code, _, errOut := do(t, c.args...)
		if code != exitUsage || !strings.Contains(errOut, c.says) || !strings.Contains(errOut, "--help") {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, code, errOut, exitUsage, c.says)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	noState := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(noState, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"check", "--brokers", brokertest.Refused(t), "--for", "1s"}, "connection refused"},
		{[]string{"check", "--brokers", b.Addr(), "--topic", "missing", "--existing", "--for", "1s"}, "--existing"},
		{soaking(b, "--for", "1s"), "say --existing"},
		{soaking(b, "--existing", "--for", "1s", "--state", noState), "no state of a soak"},
		{soaking(b, "--for", "1s", "--state", filepath.Join(noState, "s")), "state"},
	} {
		if code, _, errOut := do(t, c.args...); code != exitError || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, code, errOut, exitError, c.says)
		}
	}
}

func TestCheckFails(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{CorruptBatch: 10})
	code, out, errOut := do(t, soaking(b, "--for", "500ms")...)
	if code != exitFailed || !strings.Contains(out, "CHECK FAILED") || !strings.Contains(out, "1 changed") || !strings.Contains(errOut, "FOUND: ") {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	if !b.Has("t") {
		t.Error("the topic with the evidence was deleted")
	}
}

// ^C saves the state and says how to go on; going on ends VALID.
func TestCheckInterruptAndResume(t *testing.T) {
	b := brokertest.Start(t, 1)
	state := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		b.AwaitStored("t", 0, 20)
		cancel()
	}()
	var out, errOut bytes.Buffer
	args := soaking(b, "--for", "1h", "--state", state)
	code := run(ctx, args, &out, &errOut)
	if code != exitInvalid || !strings.Contains(out.String(), "INVALID: not finished") || !strings.Contains(out.String(), "to go on from here: loadgen "+strings.Join(args, " ")) {
		t.Fatalf("exit %d:\n%s%s", code, out.String(), errOut.String())
	}
	args[len(args)-3] = "1500ms"
	code, again, said := do(t, args...)
	if code != exitValid || !strings.Contains(again, "\nVALID\n") || !strings.Contains(again, "started 2 times") || !strings.Contains(said, "resumed after") || b.Has("t") {
		t.Errorf("exit %d, topic still there: %v\n%s%s", code, b.Has("t"), again, said)
	}
	if code, _, said := do(t, args...); code != exitError || !strings.Contains(said, "complete") {
		t.Errorf("a soak that is over: exit %d, %s", code, said)
	}
}
