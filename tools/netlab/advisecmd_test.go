package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ackline/tools/netlab/advise"
)

func TestAdvise(t *testing.T) {
	code, out, errOut := netlab(t, "advise", "world-5", "--replicas", "3", "--producers", "frankfurt=70%,tokyo=0.3")
	if code != 0 || errOut != "" {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	// 91 ms is Frankfurt to Washington and back, 229.5 Frankfurt to Tokyo.
	for _, want := range []string{"the leader on n2 (frankfurt): writes commit from frankfurt in 91.100 ms, from tokyo in 320.600 ms; n1 (washington) is the slowest",
		"looked at 30 placements", "mean below 159.850 ms"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, out, _ = netlab(t, "advise", file(t, small), "--sync", "1ms", "--sync-p99", "5ms", "--sync-of", "n2=50ms,n3=2ms", "--json")
	var r advise.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Replicas != 3 || len(r.Placements) != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	// n3 has 2 of its own, 40 + 1 of n1, 40 + 50 of n2; n1 would have the 42 of n3. When every sync takes 5, n3 has the 45 of n1.
	if p := r.Placements[0]; p.Leader != "n3" || p.Slowest != "n1" || p.Commit != 41*time.Millisecond || p.Slow-p.Mean != 4*time.Millisecond {
		t.Errorf("got %+v", p)
	}
}

func TestAdviseErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"world-3", "--replicas", "5"}, 1, "5 replicas: world-3 has 3 hosts: want 1 to 3, or all"},
		{[]string{"world-3", "--replicas", "some"}, 1, "--replicas some: want 1 to 3, or all"},
		{[]string{"world-3", "--producers", "tokyo"}, 1, `--producers "tokyo": want REGION=SHARE`},
		{[]string{"world-3", "--producers", "kyoto=1"}, 1, `"kyoto" is not in world-3: there are washington, frankfurt, tokyo`},
		{[]string{"world-3", "--producers", "tokyo=60%,frankfurt=60%"}, 1, "the shares add up to 1.2: want 1 (or 100%)"},
		{[]string{"zones-3", "--survive-region"}, 1, "no set of 3 replicas on zones-3 keeps a majority (2) whichever region goes away"},
		{[]string{"world-3", "--sync", "fast"}, 2, "netlab --help explains"},
	} {
		code, _, errOut := netlab(t, append([]string{"advise"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: exit %d, want %d, and\n%s\nwant %q in it", c.args, code, c.code, errOut, c.want)
		}
	}
	code, out, _ := netlab(t, "advise", "--help")
	if text := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(text, "netlab advise world-5 --replicas 3") || !strings.Contains(text, "one-way(c,l) + commit(l)") {
		t.Errorf("--help: exit %d\n%s", code, out)
	}
}
