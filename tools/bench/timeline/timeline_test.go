package timeline

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/report/payload"
)

const ms = int64(time.Millisecond)

// never is when a record was acknowledged that never was.
const never = math.MaxInt64

func TestOf(t *testing.T) {
	const from = 5_000_000_000
	samples := []probe.Sample{{Intended: from - 1, Acked: from + ms}, // before it
		{Intended: from, Acked: from + 2*ms}, {Intended: from + 10*ms, Acked: from + 11*ms}, {Intended: from + 99*ms, Acked: from + 400*ms},
		{Intended: from + 100*ms, Acked: never}, // in a step of its own
		{Intended: from + 299*ms, Acked: from + 299*ms + 123_456},
		{Intended: from + 300*ms, Acked: from + 301*ms}} // after it
	got := Of(from, from+300*ms, samples, Event{"later", from + 200*ms, from + 250*ms}, Event{"first", from + 40*ms, from + 110*ms})
	want := record.Timeline{StepMs: 100, P50Us: []float64{2000, 0, 123.5}, WorstUs: []float64{301_000, 0, 123.5},
		Spans: []record.Span{{What: "first", FromMs: 40, ToMs: 110, WorstUs: 301_000}, {What: "later", FromMs: 200, ToMs: 250}}}
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if got.LengthMs() != 300 {
		t.Errorf("%v ms, want 300", got.LengthMs())
	}
}

// maxKept is what a timeline may take of a RESULTS.md, of which a run has a few dozen.
const maxKept = 12 << 10

// The largest timeline that a failover makes, of latencies that compress badly, fits.
func TestKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var samples []probe.Sample
	var events []Event
	for i := range int64(10 * record.MaxSteps) {
		at := i * 100 * ms
		samples = append(samples, probe.Sample{Intended: at, Acked: at + rng.Int64N(50*ms)})
		if i%50 == 0 {
			events = append(events, Event{"one-way-out of node 3", at, at + 10*ms + rng.Int64N(100*ms)})
		}
	}
	packed, err := payload.Pack(Of(0, 1000*record.MaxSteps*ms, samples, events...))
	if err != nil {
		t.Fatal(err)
	}
	if n := payload.Size(packed); n > maxKept {
		t.Errorf("%d spans and %d records take %d bytes, want at most %d", len(events), len(samples), n, maxKept)
	}
}

// However long, it is of at most so many steps, and what was slow is in one of them.
func TestBounded(t *testing.T) {
	for _, length := range []time.Duration{0, time.Millisecond, time.Minute, time.Minute + 1, 5 * time.Minute, 3 * time.Hour} {
		var samples []probe.Sample
		for at := int64(0); at < length.Nanoseconds(); at += max(1, length.Nanoseconds()/5000) {
			samples = append(samples, probe.Sample{Intended: at, Acked: at + ms})
		}
		if n := len(samples); n > 0 {
			samples[n-1].Acked = samples[n-1].Intended + 777*ms
		}
		got := Of(0, length.Nanoseconds(), samples)
		n := len(got.P50Us)
		if n == 0 || n > record.MaxSteps || len(got.WorstUs) != n || got.LengthMs() < float64(length.Nanoseconds())/1e6 {
			t.Errorf("%v: %d steps of %v ms, want all of it in at most %d", length, n, got.StepMs, record.MaxSteps)
		}
		if length > 0 && slices.Max(got.WorstUs) != 777_000 {
			t.Errorf("%v: the slowest record of 777 ms is not in it", length)
		}
	}
}
