package ladder

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/verdict"
)

// beyond is a sample of n requests at us, the last of them answered after half a second, some of which were never sent.
func beyond(n int, us float64, unsent int64) session.Sample {
	s := session.Sample{Hist: hist.NewSet(), Answered: time.Second / 2, Requests: int64(n), Failures: unsent, Unsent: unsent}
	for range n {
		s.Hist.Record(0, 0, 0, int64(us*1000))
	}
	s.Hist.Unsent(unsent)
	return s
}

func TestRungOf(t *testing.T) {
	ok := record.Slice{Side: record.Floor, Verdict: record.OK}
	if r := rungOf(5000, beyond(10_000, 300, 0), ok, time.Second); r.Verdict != record.OK || r.AtLeast || math.Abs(r.P99Us-300) > 1 || r.Side != record.Floor || r.RatePerSecond != 5000 ||
		r.AnsweredPerSecond != 20_000 {
		t.Errorf("rung %+v", r)
	}
	if r := rungOf(5000, beyond(10_000, 300, 200), ok, time.Second); !r.AtLeast || r.P99Us != 1e6 || r.Unsent != 200 || r.Meets(1e9) {
		t.Errorf("one in fifty was not sent: %+v, want a p99 of at least the time-out", r)
	}
	if r := rungOf(5000, beyond(9_000, 300, 0), ok, time.Second); r.Verdict != record.Invalid || !strings.Contains(r.Reasons[0], "too few") {
		t.Errorf("9,000 requests: %+v", r)
	}
	late := record.Slice{Side: record.System, Verdict: record.Invalid, Reasons: []string{"late"}, HostOnly: true}
	if r := rungOf(5000, beyond(9_000, 300, 0), late, time.Second); r.Verdict != record.Invalid || !r.HostOnly || r.Reasons[0] != "late" {
		t.Errorf("a slice that does not count: %+v", r)
	}
}

func TestSaturated(t *testing.T) {
	for _, c := range []struct {
		r    record.Rung
		want bool
	}{{record.Rung{P50Us: 900, P99Us: 50_000}, false}, {record.Rung{P50Us: 1001}, true}, {record.Rung{P50Us: 5, AtLeast: true}, true}} {
		if got := beyondAll(c.r, 100); got != c.want {
			t.Errorf("%+v with an objective of 100 µs: %v", c.r, got)
		}
	}
}

// A side goes on until it is saturated, whatever becomes of the other; who begins changes; a slice that does not count is run once more, with other arrivals.
func TestClimb(t *testing.T) {
	w := &profiles.Workload{RatePerSecond: 100, RateFactor: 2, RateLimitPerSecond: 800, ObjectiveP99Us: 1000, TimeoutMs: 1000}
	rec := &record.Launch{Verdict: record.OK}
	b := &verdict.Book{Rec: rec}
	sides := []record.Side{record.System, record.Floor}
	var ran []string
	seeds := map[uint64]bool{}
	err := Climb(b, w, sides, func(s record.Side, rate float64, seed uint64) (session.Sample, record.Slice, error) {
		ran = append(ran, fmt.Sprintf("%s %v", s, rate))
		smp, sl := beyond(10_000, 300, 0), record.Slice{Side: s, Verdict: record.OK}
		switch {
		case s == record.System && rate == 400:
			smp = beyond(10_000, 300, 2000)
		case s == record.Floor && rate == 800 && !seeds[0]:
			seeds[0], seeds[seed] = true, true
			sl.Verdict, sl.Reasons = record.Invalid, []string{"late"}
		case s == record.Floor && rate == 800 && seeds[seed]:
			t.Error("the second try has the arrivals of the first")
		}
		return smp, sl, nil
	})
	want := []string{"system 100", "floor 100", "floor 200", "system 200", "system 400", "floor 400", "floor 800", "floor 800"}
	if err != nil || !slices.Equal(ran, want) {
		t.Fatalf("%v, ran %q, want %q", err, ran, want)
	}
	Conclude(b, w, sides)
	knee, _ := rec.Get(record.System, "knee_per_second")
	if _, ok := rec.Get(record.Floor, "knee_per_second"); ok || knee != 200 || rec.Requests != 30_000 || len(rec.Rungs) != 7 || rec.Verdict != record.OK {
		t.Errorf("the system's knee is %v, want 200, the floor's is not known: %+v", knee, rec)
	}
	broken := errors.New("broken")
	if err := Climb(b, w, sides, func(record.Side, float64, uint64) (session.Sample, record.Slice, error) {
		return session.Sample{}, record.Slice{}, broken
	}); !errors.Is(err, broken) {
		t.Errorf("ended with %v", err)
	}
}

// A ladder without a valid rung is the host's fault only if every rung is.
func TestNoValidRung(t *testing.T) {
	for _, other := range []bool{false, true} {
		rec := record.Launch{Verdict: record.OK, Rungs: []record.Rung{{Side: record.System, Verdict: record.Invalid, Reasons: []string{"stolen"}, HostOnly: true},
			{Side: record.System, Verdict: record.Invalid, Reasons: []string{"foreign"}, HostOnly: !other}, {Side: record.Floor, Verdict: record.OK, Requests: 5}}}
		b := verdict.Book{Rec: &rec}
		Conclude(&b, &profiles.Workload{ObjectiveP99Us: 1000}, []record.Side{record.System, record.Floor})
		b.Finish(0.07)
		if rec.Verdict != record.Invalid || rec.HostOnly == other || !strings.Contains(rec.Reasons[0], "stolen") || rec.Requests != 0 {
			t.Errorf("another reason: %v; %+v", other, rec)
		}
	}
}
