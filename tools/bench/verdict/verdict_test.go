package verdict

import (
	"math"
	"strings"
	"testing"

	"ackline/tools/bench/record"
)

func TestLaunchSaysThatTheHostIsToBlame(t *testing.T) {
	for _, c := range []struct {
		spoil func(b *Book)
		want  bool
	}{
		{func(b *Book) { b.InvalidByHost("late") }, true},
		{func(b *Book) { b.InvalidByHost("late"); b.Invalid("foreign") }, false},
		{func(b *Book) { b.InvalidByHost("late"); b.Fail("lost") }, false},
		{func(b *Book) {}, false},
	} {
		b := &Book{Rec: &record.Launch{Verdict: record.OK, Pairs: []record.Pair{{Name: "p50"}}}}
		c.spoil(b)
		b.Finish(0.071)
		said := strings.Contains(strings.Join(b.Rec.Reasons, "\n"), "nothing but the host speaks against this launch: it took 7.1% of this machine's CPU time")
		if b.Rec.HostOnly != c.want || said != c.want || (b.Rec.Pairs == nil) != (b.Rec.Verdict != record.OK) {
			t.Errorf("%+v, want host only %v", b.Rec, c.want)
		}
		if v, ok := b.Rec.Get(record.Host, record.StolenFraction); !ok || v != 0.071 {
			t.Errorf("the launch says that %v was stolen", v)
		}
	}
}

// What could not be computed is no figure, and the launch is invalid for it.
func TestNoFigureOfNothing(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		b := &Book{Rec: &record.Launch{Verdict: record.OK}}
		b.Figure(record.Floor, "ratio", "1", v)
		if len(b.Rec.Figures) > 0 || b.Rec.Verdict != record.Invalid || !strings.Contains(b.Rec.Reasons[0], "ratio of the floor") {
			t.Errorf("%v: %+v", v, b.Rec)
		}
	}
}
