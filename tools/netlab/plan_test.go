package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/lab"
)

func relays(t *testing.T) *lab.Lab {
	t.Helper()
	top, err := region.Parse("small.toml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(top, lab.Relay, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestPlan(t *testing.T) {
	l := relays(t)
	both := []string{"n1 to n3: cut", "n3 to n1: cut"}
	isolated := []string{"n1 to n3: cut", "n2 to n3: cut", "n3 to n1: cut", "n3 to n2: cut"}
	for _, c := range []struct {
		steps []string
		want  []string
	}{
		{[]string{"0s cut n1 n3"}, both[:1]},
		{[]string{"0s part n1 n3"}, both},
		{[]string{"0s isolate west"}, isolated},
		{[]string{"1ms heal n2 n3", "0s isolate west"}, both}, // by time, not as they stand
		{[]string{"0s isolate west", "0s heal"}, nil},
		{[]string{"0s worsen n1 n2 delay=50ms jitter=5ms loss=2.5% limit=100mbit"},
			[]string{"n1 to n2: 50ms more delay, 5ms more jitter, 2.5% more loss, limit 1.25e+07 B/s (0 = none)"}},
	} {
		p, err := parsePlan(l, c.steps)
		if err != nil {
			t.Errorf("%q: %v", c.steps, err)
			continue
		}
		out := newBuffer()
		stop := p.start(t.Context(), l, out)
		out.wait(t, "netlab: after ", len(c.steps))
		stop()
		if got := l.Faults(); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.steps, got, c.want)
		}
		if err := l.HealAll(); err != nil {
			t.Fatal(err)
		}
	}
	p, err := parsePlan(l, []string{"1h cut n1 n2"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	begin := time.Now()
	stop := p.start(ctx, l, newBuffer())
	cancel()
	stop()
	if took := time.Since(begin); took > 10*time.Second || l.Faults() != nil {
		t.Errorf("stopping took %v and left %q", took, l.Faults())
	}
}

func TestPlanErrors(t *testing.T) {
	l := relays(t)
	for step, want := range map[string]string{
		"10s":                           "want a time and what happens then",
		"soon cut n1 n2":                `time "soon": want`,
		"-1s heal":                      `time "-1s": want`,
		"1s break n1 n2":                `"break": want`,
		"1s cut n1":                     "want a time and what happens then",
		"1s cut n1 n2 n3":               "want a time and what happens then",
		"1s cut n1 n9":                  `host "n9" is not in small`,
		"1s isolate north":              `no host is in a region "north"`,
		"1s worsen n1 n2":               "worse in what?",
		"1s worsen n1 n2 speed=1":       `"speed=1": want delay, jitter, loss or limit`,
		"1s worsen n1 n2 loss=5":        `"loss=5": "5" has no % behind it`,
		"1s worsen n1 n2 loss=-5%":      "or is negative",
		"1s worsen n1 n2 loss=100%":     "a loss below 100%",
		"1s worsen n1 n2 delay=-50ms":   "want nothing negative",
		"1s worsen n1 n2 delay=50":      "missing unit",
		"1s worsen n1 n2 limit=fast":    "invalid syntax",
		"1s worsen n1 n2 limit=100gbit": "invalid syntax",
	} {
		if _, err := parsePlan(l, []string{"0s heal", step}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), step) {
			t.Errorf("%q: got %v, want an error with the step and %q", step, err, want)
		}
	}
	if l.Faults() != nil {
		t.Error("reading a plan did something")
	}
}

func TestFaultsWhileCommandsRun(t *testing.T) {
	code, out, errOut := netlab(t, "run", file(t, small), "--mode", "relay", "--fault", "1ms part n1 n3", "--fault", "2ms heal", "--host", "n1", "--host", "n2", "--", "sh", "-c", "sleep 1; echo {host}")
	if code != 0 || strings.Count(out, "\n") != 2 || strings.Contains(out, "n3") ||
		!strings.Contains(errOut, "netlab: after 1ms: part n1 n3\nnetlab: after 2ms: heal\n") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if code, _, errOut := netlab(t, "run", "world-3", "--mode", "relay", "--fault", "1s flood tokyo", "--", "true"); code != 1 ||
		!strings.Contains(errOut, `--fault "1s flood tokyo"`) {
		t.Errorf("exit %d, %s", code, errOut)
	}
}
