package hist

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const timeout = int64(10 * time.Second)

func TestFailuresRankAboveEverySuccess(t *testing.T) {
	h := NewLatency()
	for range 98 {
		h.Record(100_000)
	}
	h.Fail()
	h.Fail()
	if v := h.Percentile(98, timeout); v.AtLeast || v.NS < 100_000 || v.NS > 100_400 {
		t.Errorf("p98 = %+v, want 100 µs", v)
	}
	v := h.Percentile(99, timeout)
	if !v.AtLeast || v.NS != timeout {
		t.Errorf("p99 = %+v, want at least the time-out", v)
	}
	if v.String() != "≥ 10.00 s" {
		t.Errorf("printed as %q", v)
	}
	slow := NewLatency()
	slow.Record(2 * timeout)
	slow.Fail()
	if v := slow.Percentile(100, timeout); v.NS < 2*timeout {
		t.Errorf("a failure printed as %+v although a success took 20 s", v)
	}
}

// Against the plain definition: sort, take the element of rank ceil(p% of n).
func TestPercentileIsTheRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		h := NewLatency()
		n := 1 + rng.IntN(3000)
		vs := make([]int64, n)
		for i := range vs {
			vs[i] = 1_000_000 + rng.Int64N(1e9)
			h.Record(vs[i])
		}
		slices.Sort(vs)
		for _, p := range []float64{0.1, 1, 25, 50, 75, 90, 99, 99.9, 100} {
			rank := 1
			for float64(rank) < p/100*float64(n)-1e-9 {
				rank++
			}
			want, got := vs[rank-1], h.Percentile(p, timeout).NS
			if float64(got) < float64(want) || float64(got) > float64(want)*1.0011 {
				t.Fatalf("n %d: p%g = %d, want %d to 3 digits", n, p, got, want)
			}
		}
	}
}

func TestOutOfRangeIsCountedNotClamped(t *testing.T) {
	h := NewLatency()
	h.Record(999)
	h.Record(HighestNS + 1)
	h.Record(-5)
	h.Record(1000)
	h.Record(HighestNS)
	if h.OutOfRange() != 3 || h.Count() != 5 {
		t.Fatalf("out of range %d of %d, want 3 of 5", h.OutOfRange(), h.Count())
	}
	if v := h.Percentile(100, timeout); !v.AtLeast || v.NS != HighestNS {
		t.Errorf("p100 = %+v with a value above the range", v)
	}
	d := NewDelay()
	d.Record(0)
	d.Record(-1)
	if d.OutOfRange() != 1 {
		t.Errorf("a delay of 0 or a negative one miscounted: %d out of range, want 1", d.OutOfRange())
	}
}

func TestSupportNeedsAHundredSamplesBeyond(t *testing.T) {
	for p, want := range map[float64]int64{50: 200, 90: 1000, 99: 10_000, 99.9: 100_000, 1: 10_000} {
		if got := Needed(p); got != want {
			t.Errorf("p%g needs %d samples, want %d", p, got, want)
		}
	}
	h := NewLatency()
	for range 9_999 {
		h.Record(5000)
	}
	if h.Supports(99) {
		t.Error("p99 supported by 9,999 samples")
	}
	h.Fail()
	if !h.Supports(99) {
		t.Error("p99 not supported by 10,000 samples")
	}
}

func TestEmpty(t *testing.T) {
	h := NewLatency()
	if h.Max() != 0 || h.Mean() != 0 || h.Percentile(99, timeout) != (Value{}) {
		t.Errorf("max %d, mean %g, p99 %v of nothing", h.Max(), h.Mean(), h.Percentile(99, timeout))
	}
	h.Fail()
	if v := h.Percentile(50, timeout); !v.AtLeast || v.NS != timeout {
		t.Errorf("p50 of a failure alone: %+v", v)
	}
	if _, err := json.Marshal(h); err != nil {
		t.Error(err)
	}
}

func TestSetSplitsResponse(t *testing.T) {
	s := NewSet()
	s.Record(1_000_000, 1_010_000, 1_050_000, 1_250_000)
	for name, c := range map[string]struct {
		h    *Hist
		want int64
	}{"response": {s.Response, 250_000}, "service": {s.Service, 200_000}, "lag": {s.Lag, 10_000}, "backlog": {s.Backlog, 40_000}} {
		if got := c.h.Max(); got < c.want || got > c.want+1024 {
			t.Errorf("%s %d ns, want %d", name, got, c.want)
		}
	}
	s.Fail(0, 5, 9)
	s.Unsent(3)
	if s.Response.Failed() != 4 || s.Lag.Count() != 2 || s.Backlog.Total() != 5 {
		t.Errorf("failed %d, lag %d, backlog %d; want 4, 2, 5", s.Response.Failed(), s.Lag.Count(), s.Backlog.Total())
	}
	sum := NewSet()
	sum.Merge(s)
	sum.Merge(s.Clone())
	if sum.Response.Total() != 10 || sum.Lag.Max() != s.Lag.Max() {
		t.Error("merge lost samples")
	}
	sum.Reset()
	if sum.Response.Total() != 0 || sum.OutOfRange() != 0 {
		t.Error("reset left samples")
	}
}

func TestJSONKeepsEverything(t *testing.T) {
	h := NewLatency()
	for i := range int64(1000) {
		h.Record(10_000 + i*1000)
	}
	h.Fail()
	h.Record(1)
	h.Record(HighestNS * 2)
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var got Hist
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, p := range []float64{0.05, 50, 99, 99.9, 100} {
		if a, b := h.Percentile(p, timeout), got.Percentile(p, timeout); a != b {
			t.Errorf("p%g: %+v became %+v", p, a, b)
		}
	}
	got.Merge(h) // geometry survives
	for _, bad := range []string{`{"hdr":""}`, `{"hdr":"AAAA"}`, `[]`, `{`} {
		if json.Unmarshal([]byte(bad), new(Hist)) == nil {
			t.Errorf("%s decoded", bad)
		}
	}
	other := hdr.New(1, 1000, 2)
	e, _ := other.Encode(hdr.V2CompressedEncodingCookieBase)
	if json.Unmarshal([]byte(`{"hdr":"`+string(e)+`"}`), new(Hist)) == nil {
		t.Error("another geometry decoded")
	}
}

func TestLogIsReadable(t *testing.T) {
	var out bytes.Buffer
	start := time.UnixMilli(1_700_000_000_250)
	l, err := NewLog(&out, start, "a run")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s := NewSet()
		s.Record(0, 1000, 2000, int64(i+1)*1_000_000)
		if i == 2 {
			s.Unsent(7)
		}
		at := start.Add(time.Duration(i) * time.Second)
		if err := l.Interval(at, at.Add(time.Second), s); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(out.String(), "# 7 operations failed") {
		t.Errorf("failures not noted:\n%s", out.String())
	}
	r := hdr.NewHistogramLogReader(&out)
	tags := map[string]int{}
	for {
		h, err := r.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		if h.Tag() == "" {
			want := int64(tags[""]+1) * 1_000_000
			if h.TotalCount() != 1 || h.Max() < want || float64(h.Max()) > float64(want)*1.001 {
				t.Errorf("interval %d: %d samples, max %d", tags[""], h.TotalCount(), h.Max())
			}
			if got := h.StartTimeMs(); got != start.UnixMilli()+int64(tags[""])*1000 {
				t.Errorf("interval %d starts at %d ms", tags[""], got)
			}
		}
		tags[h.Tag()]++
	}
	for _, tag := range []string{"", "service", "lag", "backlog"} {
		if tags[tag] != 3 {
			t.Errorf("tag %q: %d intervals, want 3 (%v)", tag, tags[tag], tags)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	s := NewSet()
	for i := 0; b.Loop(); i++ {
		s.Record(0, 500, 900, 100_000+int64(i%4096)*64)
	}
}

// Moved keeps counts, failures and ranks, and moves what succeeded.
func TestMoved(t *testing.T) {
	h := NewLatency()
	for i := range 1000 {
		h.Record(int64(20_000_000 + 1000*i))
	}
	h.Fail()
	for _, by := range []int64{-15_000_000, 0, 40_000_000} {
		m := h.Moved(by)
		if m.Count() != 1000 || m.Failed() != 1 || m.OutOfRange() != 0 {
			t.Errorf("moved by %d: %d successes, %d failures", by, m.Count(), m.Failed())
		}
		want, got := h.Percentile(50, HighestNS).NS+by, m.Percentile(50, HighestNS).NS
		if off := max(want-got, got-want); off > max(want, want-by)/500 {
			t.Errorf("moved by %d: a median of %d, want %d", by, got, want)
		}
	}
	if m := h.Moved(-20_500_000); m.OutOfRange() == 0 || m.Count() != 1000 {
		t.Errorf("what comes below the range is not counted so: %d of %d", m.OutOfRange(), m.Count())
	}
}
