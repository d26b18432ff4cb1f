package render

import (
	"bytes"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/report/payload"
	"ackline/tools/stats"
)

func TestNumbers(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{quantity(151.234, "us"), "151 µs"}, {quantity(2500, "us"), "2.50 ms"}, {quantity(0.4, "us"), "400 ns"},
		{quantity(999.6, "us"), "1.00 ms"}, {quantity(1.5, "s"), "1.50 s"}, {quantity(78_544, "1/s"), "78,500/s"},
		{quantity(1_234_567, "1/s"), "1,230,000/s"}, {quantity(150<<20, "bytes"), "150 MiB"}, {quantity(3, "bytes/byte"), "3.00 bytes/byte"},
		{quantity(31_000, "ns/request"), "31.0 µs/request"}, {quantity(0, "us"), "0 ns"}, {quantity(2.1, "1/request"), "2.10/request"}, {quantity(1.05, "ratio"), "1.05"}, {quantity(-2500, "us"), "-2.50 ms"},
		{quantity(0.0123, "1"), "0.0123"}, {exact(15, "ms"), "15 ms"}, {exact(150_000, "1/s"), "150,000/s"}, {exact(0.5, "s"), "500 ms"},
		{ratio(stats.Estimate{Shift: 1.094, Low: 1.07, High: 1.12}), "1.09 [1.07–1.12]"},
		{percent(stats.Estimate{Shift: 0.969, Low: 0.96, High: 1.02}), "-3.1% [-4.0%…+2.0%]"},
		{spread(stats.Estimate{Shift: 151, Low: 149, High: 156}, "us"), "151 µs [149 to 156 µs]"},
		{spread(stats.Estimate{Shift: 0.5, Low: -0.5, High: 1.5}, "us"), "500 ns [-500 ns to 1.50 µs]"},
		{word("a b/c", 10), "a_b_c"}, {word("", 10), "unknown"}, {group("-1234567"), "-1,234,567"}, {group("123"), "123"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	a, b := word("a-long-name-of-a-scenario-1", 20), word("a-long-name-of-a-scenario-2", 20)
	if len(a) != 20 || len(b) != 20 || a == b {
		t.Errorf("long names became %q and %q, want 20 bytes each and different", a, b)
	}
}

// The raw data is thinned only as far as it must be, the file says so, and it still renders to itself.
func TestThin(t *testing.T) {
	doc := &Document{Results: sample("0123456789ab", 1)}
	_, whole, err := thin(doc, MaxPayload)
	if err != nil {
		t.Fatal(err)
	}
	size := payload.Size(whole)
	same, packed, err := thin(doc, size)
	if err != nil || same != doc || !bytes.Equal(packed, whole) {
		t.Fatalf("a document of exactly the limit was changed (%v)", err)
	}
	smaller, packed, err := thin(doc, size-1)
	if err != nil {
		t.Fatal(err)
	}
	l := smaller.Results.Of("latency-1")[0]
	if payload.Size(packed) >= size || l.Hist(record.System, "lag") != nil || l.Hist(record.System, "response") == nil {
		t.Errorf("%d bytes of at most %d; want the histograms of lag gone and those of responses kept", payload.Size(packed), size-1)
	}
	if n := smaller.Results.Notes; len(n) != 1 || !strings.Contains(n[0], "leaves out the histograms of lag;") {
		t.Errorf("notes are %q", n)
	}
	if len(doc.Results.Notes) != 0 || doc.Results.Of("latency-1")[0].Hist(record.System, "lag") == nil {
		t.Error("the original was changed")
	}
	if err := Check(file(smaller, packed)); err != nil {
		t.Error(err)
	}
	if _, _, err := thin(doc, 100); err == nil || !strings.Contains(err.Error(), "run fewer launches") {
		t.Errorf("100 bytes: %v", err)
	}
}

func TestBars(t *testing.T) {
	for _, tt := range []struct {
		b    Bar
		e    stats.Estimate
		want stats.Verdict
	}{
		{Bar{Limit: 1.2}, stats.Estimate{Low: 1.1, High: 1.2}, stats.Met},
		{Bar{Limit: 1.2}, stats.Estimate{Low: 1.1, High: 1.21}, stats.Undecided},
		{Bar{Limit: 1.2}, stats.Estimate{Low: 1.21, High: 1.3}, stats.Missed},
		{Bar{Limit: 0.35, AtLeast: true}, stats.Estimate{Low: 0.35, High: 0.4}, stats.Met},
		{Bar{Limit: 0.35, AtLeast: true}, stats.Estimate{Low: 0.34, High: 0.4}, stats.Undecided},
		{Bar{Limit: 0.35, AtLeast: true}, stats.Estimate{Low: 0.3, High: 0.34}, stats.Missed},
		{Bar{Limit: 0.35, AtLeast: true}, stats.Estimate{Low: 0.4, High: 0.5, Short: true}, stats.Undecided},
	} {
		if got := tt.b.against(tt.e); got != tt.want {
			t.Errorf("%+v against %+v: %s, want %s", tt.e, tt.b.limit(), got, tt.want)
		}
	}
	l := &record.Launch{Pairs: []record.Pair{{Name: "p50", System: 190, Floor: 60}, {Name: "rate", Ratio: 2.5}}}
	if v, ok := beyond("p50", 1.5)(nil, l); !ok || v != 100 {
		t.Errorf("190 is beyond 1.5 x 60 by %v, want 100", v)
	}
	if v, ok := inverse(pairRatio("rate"))(nil, l); !ok || v != 0.4 {
		t.Errorf("a rate's ratio of 2.5 is a share of %v, want 0.4", v)
	}
	if _, ok := inverse(pairRatio("p99"))(nil, l); ok {
		t.Error("a pair that is not there has a value")
	}
	c := &scenario{Scenario: record.Scenario{Configuration: map[string]string{"record_bytes": "1024", "records_per_request": "64"}}}
	l = &record.Launch{Pairs: []record.Pair{{Name: "rate", System: 3000}}}
	if _, ok := shareOfDisk(c, l); ok {
		t.Error("a share of a disk that was not measured")
	}
	l.Figures = []record.Figure{{Name: record.DurableRate, Side: record.Host, Value: 64 * 1024 * 6000}}
	if v, ok := shareOfDisk(c, l); !ok || v != 0.5 {
		t.Errorf("3,000 requests of 64 KiB are %v of a disk that does 6,000, want 0.5", v)
	}
}
