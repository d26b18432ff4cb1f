package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
)

// ask reads a page.
func ask(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

var (
	metricsAt  = regexp.MustCompile(`metrics: (http://\S+)`)
	something  = regexp.MustCompile(`(?m)^loadgen_acked_total\{target="brokers"\} [1-9]`)
	underWay   = regexp.MustCompile(`(?m)^loadgen_workers [1-9]`)
	readBack   = regexp.MustCompile(`(?m)^loadgen_check_read_records_total [1-9]`)
	betweenTwo = regexp.MustCompile(`(?m)^loadgen_workers 0$`)
)

// A run is watched while it goes on.
func TestMetricsOfARun(t *testing.T) {
	b := brokertest.Start(t, 1)
	errOut := &trigger{on: "measure  "}
	seen := ""
	errOut.do = func() { seen = ask(t, metricsAt.FindStringSubmatch(errOut.text())[1]) }
	var out bytes.Buffer
	code := run(context.Background(), short(b, "--metrics-addr", "127.0.0.1:0", "--for", "2500ms"), &out, errOut)
	if code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d:\n%s%s", code, out.String(), errOut.text())
	}
	if !something.MatchString(seen) || !underWay.MatchString(seen) {
		t.Errorf("in the middle of the run:\n%s", seen)
	}
}

// An agent keeps counting from one load to the next, and tells whoever asks in between.
func TestMetricsOfAnAgent(t *testing.T) {
	b := brokertest.Start(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	out, errOut := &trigger{on: "agent ready: ", do: func() { close(ready) }}, &trigger{on: "\x00"}
	var wg sync.WaitGroup
	wg.Go(func() {
		if code := run(ctx, []string{"agent", "--listen", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"}, out, errOut); code != exitValid {
			t.Errorf("the agent ended with %d: %s", code, errOut.text())
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	<-ready
	url := metricsAt.FindStringSubmatch(errOut.text())[1]
	if text := ask(t, url); something.MatchString(text) || !betweenTwo.MatchString(text) {
		t.Errorf("before a load:\n%s", text)
	}
	addr := strings.TrimSpace(strings.TrimPrefix(out.text(), "agent ready: "))
	if code, out, errOut := do(t, short(b, "--agents", addr)...); code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d:\n%s%s", code, out, errOut)
	}
	if text := ask(t, url); !something.MatchString(text) || !betweenTwo.MatchString(text) {
		t.Errorf("after a load:\n%s", text)
	}
	code, _, says := do(t, short(b, "--agents", addr, "--metrics-addr", "127.0.0.1:0")...)
	if code != exitUsage || !strings.Contains(says, "give it to each loadgen agent") {
		t.Errorf("exit %d, %q", code, says)
	}
	if code, _, says := do(t, short(b, "--metrics-addr", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics"))...); code != exitError || !strings.Contains(says, "--metrics-addr") {
		t.Errorf("an address that is taken: exit %d, %q", code, says)
	}
}

// A check is seen while it goes on, with what it has read back.
func TestMetricsOfACheck(t *testing.T) {
	b := brokertest.Start(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	errOut := &trigger{on: "\x00"}
	var out bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx, soaking(b, "--for", "1h", "--metrics-addr", "127.0.0.1:0"), &out, errOut) })
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text := ""
		if at := metricsAt.FindStringSubmatch(errOut.text()); at != nil {
			text = ask(t, at[1])
		}
		if readBack.MatchString(text) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is read back:\n%s\n%s", text, errOut.text())
		}
	}
}
