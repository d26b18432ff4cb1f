package selftest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
)

// Format is the version of Report's JSON. It changes when a field changes its meaning.
const Format = 1

// Report is what a self-test found.
type Report struct {
	Format  int       `json:"format"` // of this structure; see Format
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	CPUs    int       `json:"cpus"`
	Seed    uint64    `json:"seed"`

	Ladder      Ladder      `json:"ladder"`
	OneInFlight OneInFlight `json:"one_in_flight"`
	OneCore     OneCore     `json:"one_core"`

	Bars   []Bar    `json:"bars"`
	Belief []Belief `json:"believable"`
}

// Ladder is the generator at growing rates.
type Ladder struct {
	Connections int    `json:"connections"`
	InFlight    int    `json:"in_flight_per_connection"`
	Threads     int    `json:"threads"`
	Rungs       []Rung `json:"rungs"`
}

// Rung is one rate of Poisson arrivals.
type Rung struct {
	RatePerSecond float64 `json:"rate_per_second"`
	Operations    int64   `json:"operations"`
	Enough        bool    `json:"enough"` // they are enough for a p99
	LagP50US      float64 `json:"lag_p50_us"`
	LagP99US      float64 `json:"lag_p99_us"`
	P50US         float64 `json:"p50_us"` // of the response
	P99US         float64 `json:"p99_us"`
	CPUShare      float64 `json:"cpu_share"` // of one core, by the whole generator
	// Saturated says that most of the time was spent waiting for room. Lag means nothing then: nobody could have been on time.
	Saturated bool `json:"saturated,omitempty"`
	// Valid and Reasons are a verdict's about a system that answers as fast as the responder.
	Valid    bool            `json:"valid"`
	Reasons  []result.Reason `json:"reasons,omitempty"`
	Lag      *hist.Hist      `json:"lag_histogram,omitempty"`
	Response *hist.Hist      `json:"response_histogram,omitempty"`
}

// disturbed says that something else had the CPU when the generator needed it.
func (r *Rung) disturbed() bool {
	v := result.Verdict{Reasons: r.Reasons}
	return v.Has(result.Starved) || v.Has(result.CPULimit)
}

// OneInFlight compares the wire driver with a bare echo. The histograms tell half a microsecond apart, and so do its figures.
type OneInFlight struct {
	RequestBytes int        `json:"request_bytes"`
	ReplyBytes   int        `json:"reply_bytes"`
	WireP50US    float64    `json:"wire_p50_us"`
	EchoP50US    float64    `json:"echo_p50_us"`
	BeyondUS     []float64  `json:"beyond_us"` // of each pair of turns: the driver's p50 less the echo's
	MedianUS     float64    `json:"beyond_median_us"`
	Wire         *hist.Hist `json:"wire_histogram,omitempty"`
	Echo         *hist.Hist `json:"echo_histogram,omitempty"`
}

// OneCore is what one core of the generator makes.
type OneCore struct {
	How     string     `json:"how"` // it was held to one core
	Single  Throughput `json:"single"`
	Batched Throughput `json:"batched"`
}

// Throughput is a closed loop's.
type Throughput struct {
	RecordsPerRequest int     `json:"records_per_request"`
	RequestBytes      int     `json:"request_bytes"`
	Requests          int64   `json:"requests"`
	Seconds           float64 `json:"seconds"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	RecordsPerSecond  float64 `json:"records_per_second"`
}

// Outcome is whether a bar was reached.
type Outcome string

// The outcomes. TooFew is a figure that a longer step would have to confirm. NotIdle is one that would have been missed while others
// had the CPU, which says nothing about the generator.
const (
	Met     Outcome = "met"
	Missed  Outcome = "missed"
	TooFew  Outcome = "too few operations"
	NotIdle Outcome = "undecided, the host was not idle"
)

// Bar is a figure beside what is asked of it.
type Bar struct {
	What    string  `json:"what"`
	Unit    string  `json:"unit"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least,omitempty"` // Limit is a minimum
	Outcome Outcome `json:"outcome"`
}

// Belief is the highest rate at which the generator may be believed about a class of systems.
type Belief struct {
	// ResponseP99US is the class: systems whose p99 is so much or more.
	ResponseP99US float64 `json:"response_p99_us"`
	AllowedUS     float64 `json:"allowed_lag_us"`  // at the p99
	RatePerSecond float64 `json:"rate_per_second"` // 0: at none that was tried
	// Next is the lowest rate at which it may not be, 0 if there was none: then RatePerSecond is no limit. Saturated: at Next it was
	// not the lag but the responder, or the window, that had no room.
	Next      float64 `json:"next_rate_per_second,omitempty"`
	Saturated bool    `json:"saturated,omitempty"`
}

// classes are the response times, in µs, of systems that are told apart. The first allows the least lag of all.
var classes = []float64{0, 1000, 2000, 5000, 10_000, slowestClass}

const slowestClass = 100_000

// allowedUS is the p99 lag that a verdict allows beside a p99 response, both in µs.
func allowedUS(responseUS float64) float64 {
	return float64(result.Allowed(int64(responseUS*1e3))) / 1e3
}

// believable walks up the ladder, for each class until a rung is too late for it.
func believable(rungs []Rung) []Belief {
	var out []Belief
	for _, class := range classes {
		b := Belief{ResponseP99US: class, AllowedUS: allowedUS(class)}
		for _, r := range rungs {
			if r.Saturated || r.LagP99US > b.AllowedUS {
				b.Next, b.Saturated = r.RatePerSecond, r.Saturated
				break
			}
			b.RatePerSecond = r.RatePerSecond
		}
		out = append(out, b)
	}
	return out
}

// judge fills in the bars and the beliefs.
func (r *Report) judge() {
	r.Belief, r.Bars = believable(r.Ladder.Rungs), nil
	bar := func(what, unit string, value, limit float64, atLeast, enough bool) {
		b := Bar{what, unit, value, limit, atLeast, Missed}
		if atLeast == (value >= limit) || value == limit {
			b.Outcome = Met
		}
		if !enough {
			b.Outcome = TooFew
		}
		r.Bars = append(r.Bars, b)
	}
	if len(r.Ladder.Rungs) > 0 {
		first := r.Ladder.Rungs[0]
		at := fmt.Sprintf("at %s/s Poisson", figure(first.RatePerSecond))
		bar("lag p50 "+at, "µs", first.LagP50US, maxLagP50US, false, first.Operations > 0)
		bar("lag p99 "+at, "µs", first.LagP99US, maxLagP99US, false, first.Enough)
		bar("CPU "+at, "% of a core", 100*first.CPUShare, 100*maxCPUShare, false, first.Operations > 0)
		for i := range r.Bars {
			if r.Bars[i].Outcome == Missed && first.disturbed() {
				r.Bars[i].Outcome = NotIdle
			}
		}
	}
	one, core := &r.OneInFlight, &r.OneCore
	bar("one in flight beyond a bare echo, p50", "µs", one.MedianUS, maxBeyondUS, false, one.Wire != nil && one.Wire.Supports(50) && one.Echo.Supports(50))
	bar("one core, one record a request", "requests/s", core.Single.RequestsPerSecond, minRequests, true, core.Single.Requests > 0)
	bar(fmt.Sprintf("one core, %d records a request", core.Batched.RecordsPerRequest), "records/s", core.Batched.RecordsPerSecond, minRecords, true, core.Batched.Requests > 0)
}

// AllMet says whether every bar was reached.
func (r *Report) AllMet() bool {
	for _, b := range r.Bars {
		if b.Outcome != Met {
			return false
		}
	}
	return true
}

// JSON returns r as indented JSON with a newline at its end.
func (r *Report) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "loadgen against a responder that does nothing, on %d CPUs\n\n", r.CPUs)
	for _, x := range r.Bars {
		sign := "≤"
		if x.AtLeast {
			sign = "≥"
		}
		fmt.Fprintf(&b, "  %-42s %10s %-11s  asked %s %s: %s\n", x.What, figure(x.Value), x.Unit, sign, figure(x.Limit), x.Outcome)
	}
	fmt.Fprintf(&b, "\n  one in flight: wire p50 %.1f µs, echo p50 %.1f µs (%d bytes out, %d back); beyond, by turns:", r.OneInFlight.WireP50US, r.OneInFlight.EchoP50US,
		r.OneInFlight.RequestBytes, r.OneInFlight.ReplyBytes)
	for _, us := range r.OneInFlight.BeyondUS {
		fmt.Fprintf(&b, " %.1f", us)
	}
	fmt.Fprintf(&b, "\n  one core: %s\n", r.OneCore.How)
	r.ladder(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Report) ladder(b *strings.Builder) {
	l := &r.Ladder
	fmt.Fprintf(b, "\nPoisson arrivals, %d connections × %d in flight, load threads: %d\n", l.Connections, l.InFlight, l.Threads)
	fmt.Fprintf(b, "  %10s %12s %12s %12s %12s %10s\n", "rate", "lag p50", "lag p99", "p50", "p99", "of a core")
	us := func(v float64) string { return hist.Value{NS: int64(v * 1e3)}.String() }
	for _, x := range l.Rungs {
		fmt.Fprintf(b, "  %8s/s %12s %12s %12s %12s %9.1f%%", figure(x.RatePerSecond), us(x.LagP50US), us(x.LagP99US), us(x.P50US), us(x.P99US), 100*x.CPUShare)
		switch {
		case x.Saturated:
			b.WriteString("  no room: most of the time went by waiting for the responder")
		case !x.Valid:
			for i, reason := range x.Reasons {
				sep := ","
				if i == 0 {
					sep = "  INVALID for a system this fast:"
				}
				fmt.Fprintf(b, "%s %s", sep, reason.Code)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nOn this host the generator's lag can be believed\n")
	for _, x := range r.Belief {
		when := "whatever the system's p99 is"
		if x.ResponseP99US > 0 {
			when = "when the system's p99 is ≥ " + us(x.ResponseP99US)
		}
		upTo := "up to " + figure(x.RatePerSecond) + "/s"
		if x.RatePerSecond == 0 {
			upTo = "at no rate tried"
		}
		why := "; no higher rate was tried"
		if x.Next > 0 {
			why = fmt.Sprintf("; at %s/s the p99 lag is beyond %s", figure(x.Next), us(x.AllowedUS))
		}
		if x.Saturated {
			why = fmt.Sprintf("; at %s/s there was no room", figure(x.Next))
		}
		fmt.Fprintf(b, "  %s %s%s\n", upTo, when, why)
	}
	for i := range l.Rungs {
		if l.Rungs[i].disturbed() {
			fmt.Fprintf(b, "\nThe host was not idle: at %s/s the generator's threads waited for a CPU that others had. Do this again when nothing else runs.\n",
				figure(l.Rungs[i].RatePerSecond))
			break
		}
	}
}

// figure writes a number with as many digits as it deserves.
func figure(v float64) string {
	if v >= 1000 {
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	}
	return fmt.Sprintf("%.3g", v)
}
