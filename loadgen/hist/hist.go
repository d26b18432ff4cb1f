// Package hist records latencies so that a percentile means what a reader takes it to mean.
//
// The problem: an average of percentiles is no percentile, a sampled tail is no tail, and an operation that never
// finished has no latency, so that it silently drops out of the figure that it should have ruined. Here one HdrHistogram
// per worker holds every operation and workers' histograms are merged; failed operations are counted beside the
// histogram and rank above every success; a value outside of the range is counted, never clamped, and fails the run; a
// percentile with fewer than a hundred samples beyond it is known as unsupported.
//
// Values are recorded as they are: HdrHistogram's own correction for coordinated omission is not used, because
// latencies here count from the intended time and would be corrected twice.
package hist

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of every histogram, in nanoseconds.
const (
	LowestNS  = int64(time.Microsecond)
	HighestNS = int64(600 * time.Second)
	Digits    = 3
)

// TailSamples is how many samples must lie beyond a percentile for it to be published.
const TailSamples = 100

// Hist is a histogram of durations. Used by one goroutine at a time.
type Hist struct {
	h      *hdr.Histogram
	lowest int64 // 0 or LowestNS: values below are out of range
	failed int64
	below  int64
	above  int64
}

// NewLatency returns a histogram for durations of operations: nothing below 1 µs can be right.
func NewLatency() *Hist { return &Hist{h: hdr.New(LowestNS, HighestNS, Digits), lowest: LowestNS} }

// NewDelay returns a histogram for delays, which may be as little as 0 and are resolved to about a microsecond.
func NewDelay() *Hist { return &Hist{h: hdr.New(LowestNS, HighestNS, Digits)} }

// Record counts one success that took ns nanoseconds.
func (h *Hist) Record(ns int64) {
	switch {
	case ns < h.lowest:
		h.below++
	case ns > HighestNS:
		h.above++
	default:
		if err := h.h.RecordValue(ns); err != nil {
			panic(fmt.Sprintf("hist: %d ns lies in [%d, %d] but: %v", ns, h.lowest, HighestNS, err))
		}
	}
}

// Fail counts one operation that failed, timed out or was never answered.
func (h *Hist) Fail() { h.failed++ }

// FailN counts n of them.
func (h *Hist) FailN(n int64) { h.failed += n }

// Merge adds o's samples to h.
func (h *Hist) Merge(o *Hist) {
	if dropped := h.h.Merge(o.h); dropped != 0 {
		panic(fmt.Sprintf("hist: merging equal geometries dropped %d samples", dropped))
	}
	h.failed += o.failed
	h.below += o.below
	h.above += o.above
}

// Moved returns the same operations, as if each had taken ns more, to the histogram's precision.
func (h *Hist) Moved(ns int64) *Hist {
	out := &Hist{h: hdr.New(LowestNS, HighestNS, Digits), lowest: h.lowest, failed: h.failed, below: h.below, above: h.above}
	for _, b := range h.h.Distribution() {
		for range b.Count {
			out.Record((b.From+b.To)/2 + ns)
		}
	}
	return out
}

// Reset empties h.
func (h *Hist) Reset() {
	h.h.Reset()
	h.failed, h.below, h.above = 0, 0, 0
}

// Clone returns an independent copy.
func (h *Hist) Clone() *Hist {
	c := *h
	c.h = h.h.Clone()
	return &c
}

// Count is the number of successes, those out of range included.
func (h *Hist) Count() int64 { return h.h.TotalCount() + h.below + h.above }

// Failed is the number of failures.
func (h *Hist) Failed() int64 { return h.failed }

// OutOfRange is how many successes took less than the histogram's lowest or more than 600 s.
func (h *Hist) OutOfRange() int64 { return h.below + h.above }

// Total is successes and failures.
func (h *Hist) Total() int64 { return h.Count() + h.failed }

// Mean is the mean of the successes within range, in ns; 0 when there are none.
func (h *Hist) Mean() float64 { return h.h.Mean() }

// Max is the largest success, in ns, to 3 digits; 0 when there are none.
func (h *Hist) Max() int64 {
	if h.above > 0 {
		return HighestNS
	}
	if h.h.TotalCount() == 0 {
		return 0 // the library would answer the first bucket's end
	}
	return h.h.Max()
}

// Value is a percentile. AtLeast says that the rank fell on an operation that did not succeed: the true value is not
// known, only that it is no less than NS.
type Value struct {
	NS      int64
	AtLeast bool
}

// Percentile returns the p-th percentile, 0 < p <= 100, over successes and failures together. timeoutNS is what a
// failure is printed as: "at least the time-out", or the slowest success when that took longer. An empty histogram answers 0.
func (h *Hist) Percentile(p float64, timeoutNS int64) Value {
	if !(p > 0 && p <= 100) {
		panic(fmt.Sprintf("hist: percentile %g", p))
	}
	total := h.Total()
	if total == 0 {
		return Value{}
	}
	rank := max(int64(math.Ceil(p/100*float64(total)-1e-9)), 1)
	in := h.h.TotalCount()
	switch {
	case rank <= h.below:
		return Value{NS: h.lowest}
	case rank <= h.below+in:
		// The library rounds to the nearest rank, so that the exact quotient comes back as this rank.
		return Value{NS: h.h.ValueAtPercentile(float64(rank-h.below) / float64(in) * 100)}
	case rank <= h.below+in+h.above:
		return Value{NS: HighestNS, AtLeast: true}
	}
	return Value{NS: max(timeoutNS, h.Max()), AtLeast: true}
}

// Supports reports whether the p-th percentile has TailSamples samples beyond it (for the median and below: on either
// side, which asks no more than twice as many in all).
func (h *Hist) Supports(p float64) bool { return h.Total() >= Needed(p) }

// Needed is how many samples the p-th percentile needs: 10,000 for p99.
func Needed(p float64) int64 {
	beyond := math.Min(1-p/100, p/100)
	if beyond <= 0 {
		return math.MaxInt64
	}
	return int64(math.Round(TailSamples / beyond))
}

// String prints v in microseconds, or in milliseconds above ten of them.
func (v Value) String() string {
	s := ""
	if v.AtLeast {
		s = "≥ "
	}
	us := float64(v.NS) / 1e3
	switch {
	case us < 100:
		return fmt.Sprintf("%s%.1f µs", s, us)
	case us < 10_000:
		return fmt.Sprintf("%s%.0f µs", s, us)
	case us < 1e6:
		return fmt.Sprintf("%s%.1f ms", s, us/1e3)
	}
	return fmt.Sprintf("%s%.2f s", s, us/1e6)
}

// encoded is the JSON form: HdrHistogram's V2 compressed encoding in base64, and what stands beside it.
type encoded struct {
	HDR    string `json:"hdr"`
	Lowest int64  `json:"lowest_ns"`
	Failed int64  `json:"failed,omitempty"`
	Below  int64  `json:"below_range,omitempty"`
	Above  int64  `json:"above_range,omitempty"`
}

// MarshalJSON writes the histogram with everything that Percentile needs.
func (h *Hist) MarshalJSON() ([]byte, error) {
	b, err := h.h.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return json.Marshal(encoded{HDR: string(b), Lowest: h.lowest, Failed: h.failed, Below: h.below, Above: h.above})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Hist) UnmarshalJSON(b []byte) error {
	var e encoded
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	d, err := hdr.Decode([]byte(e.HDR))
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if d.LowestTrackableValue() != LowestNS || d.HighestTrackableValue() != HighestNS || d.SignificantFigures() != Digits {
		return fmt.Errorf("histogram: range %d–%d ns with %d digits, want %d–%d with %d", d.LowestTrackableValue(),
			d.HighestTrackableValue(), d.SignificantFigures(), LowestNS, HighestNS, Digits)
	}
	if (e.Lowest != 0 && e.Lowest != LowestNS) || e.Failed < 0 || e.Below < 0 || e.Above < 0 {
		return fmt.Errorf("histogram: lowest_ns %d, failed %d, below_range %d, above_range %d", e.Lowest, e.Failed, e.Below, e.Above)
	}
	*h = Hist{h: d, lowest: e.Lowest, failed: e.Failed, below: e.Below, above: e.Above}
	return nil
}
