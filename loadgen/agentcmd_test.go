package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"ackline/loadgen/brokertest"
)

// agentOf starts loadgen agent and returns where it listens.
func agentOf(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	out := &trigger{on: "agent ready: ", do: func() { ready <- "" }}
	var wg sync.WaitGroup
	wg.Go(func() {
		if code := run(ctx, []string{"agent", "--listen", "127.0.0.1:0"}, out, new(bytes.Buffer)); code != exitValid {
			t.Errorf("the agent ended with %d", code)
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	<-ready
	return strings.TrimSpace(strings.TrimPrefix(out.text(), "agent ready: "))
}

// A run that leads agents is used as any other, and cleans up.
func TestRunWithAgents(t *testing.T) {
	b := brokertest.Start(t, 1)
	code, out, errOut := do(t, short(b, "--agents", agentOf(t)+","+agentOf(t))...)
	if code != exitValid && code != exitInvalid || !strings.Contains(out, "agents:") || !strings.Contains(out, "0 lost") || !strings.Contains(errOut, "2 agents have reached the system") {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	if strings.Contains(out, "agent-lost") || b.Has("t") {
		t.Errorf("topic still there: %t\n%s", b.Has("t"), out)
	}
	for says, args := range map[string][]string{
		"loadgen agent\" running there": {"--agents", brokertest.Refused(t)},
		"hlog with agents":              {"--agents", "a:1", "--hlog", "x"},
	} {
		if code, _, errOut := do(t, short(b, args...)...); code == exitValid || !strings.Contains(errOut, says) {
			t.Errorf("%v: exit %d, %q does not say %q", args, code, errOut, says)
		}
	}
	if b.Has("t") {
		t.Error("a run whose agents could not be reached left its topic")
	}
}
