package main

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
)

var madeTopic = regexp.MustCompile(`made topic (loadgen-\d{8}-[0-9a-f]{8}), which is (deleted at the end|kept)`)

// unnamed takes the topic's name out of a command line.
func unnamed(args []string) []string {
	i := slices.Index(args, "--topic")
	return slices.Delete(slices.Clone(args), i, i+2)
}

// The topic of a run is named while it is there, and gone after the run, after an interruption and after an error.
func TestOwnTopicIsNamedAndDeleted(t *testing.T) {
	b := brokertest.Start(t, 1)
	for _, how := range []string{"to its end", "interrupted", "refused"} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := &trigger{on: "made topic", do: func() {}}
		args := unnamed(short(b, "--for", "300ms"))
		switch how {
		case "interrupted":
			w.on, w.do = " 1 s measure", cancel
			args = append(args, "--for", "1h")
		case "refused":
			w.do = func() { b.Break(brokertest.Faults{Code: 29}) }
		}
		var out bytes.Buffer
		code := run(ctx, args, &out, w)
		b.Break(brokertest.Faults{})
		if want := how == "refused"; want != (code == exitError) {
			t.Errorf("%s: exit %d\n%s%s", how, code, out.String(), w.text())
		}
		m := madeTopic.FindStringSubmatch(w.text())
		if m == nil || m[2] == "kept" || b.Has(m[1]) {
			t.Errorf("%s: %q, still there: %v\n%s", how, m, m != nil && b.Has(m[1]), w.text())
		}
	}
}

func TestKeptTopicIsNamedAtTheEnd(t *testing.T) {
	b := brokertest.Start(t, 1)
	_, out, errOut := do(t, unnamed(short(b, "--for", "300ms", "--keep"))...)
	m := madeTopic.FindStringSubmatch(errOut)
	if m == nil || m[2] != "kept" || !b.Has(m[1]) || !strings.Contains(errOut, "--topic "+m[1]+" --existing") {
		t.Fatalf("%s%s", out, errOut)
	}
	// Used again, and left alone.
	code, out, errOut := do(t, append(unnamed(short(b, "--for", "300ms")), "--topic", m[1], "--existing")...)
	if (code != exitValid && code != exitInvalid) || strings.Contains(errOut, "made topic") || !b.Has(m[1]) {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}
