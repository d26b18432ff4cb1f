package record

import (
	"math"
	"strings"
	"testing"
)

func TestStolen(t *testing.T) {
	r := sample()
	if f, ok := Stolen(r); ok {
		t.Errorf("a run that does not say: %v", f)
	}
	for i := range r.Launches {
		l := &r.Launches[i]
		l.Seconds = 1
		l.Figures = append(l.Figures, Figure{Name: StolenFraction, Unit: "1", Side: Host, Value: 0.01})
	}
	r.Launches[0].Seconds, r.Launches[0].Figures[len(r.Launches[0].Figures)-1].Value = 5, 0.21
	r.Launches[0].Verdict, r.Launches[0].Reasons = Invalid, []string{"late"} // counts all the same
	if f, ok := Stolen(r); !ok || math.Abs(f-0.11) > 1e-12 {
		t.Errorf("%v, %v; want 0.11, the mean over time", f, ok)
	}
}

func TestHostOnly(t *testing.T) {
	spoil := func(host func(i int) bool) *Results {
		r := sample()
		for i := range r.Launches {
			r.Launches[i].Verdict, r.Launches[i].Reasons, r.Launches[i].HostOnly = Invalid, []string{"late"}, host(i)
		}
		return r
	}
	r := spoil(func(int) bool { return true })
	if v, reasons := Judge(r); v != Invalid || !HostOnly(r) || len(reasons) != 1 || !strings.Contains(reasons[0], "only because the host took CPU time") {
		t.Errorf("%s, %q, host only: %v", v, reasons, HostOnly(r))
	}
	if r := spoil(func(i int) bool { return i > 0 }); HostOnly(r) {
		t.Error("a launch with a reason of its own was put down to the host")
	}
	r.Interrupted = true
	if HostOnly(r) {
		t.Error("an interruption was put down to the host")
	}
	if HostOnly(sample()) {
		t.Error("a run with nothing against it was put down to the host")
	}
}
