package session

import (
	"fmt"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
	"ackline/tools/bench/record"
)

// Sample is what one slice of load gave.
type Sample struct {
	Hist       *hist.Set      // of the operations that began after the discarded part
	Counted    time.Duration  // length of the part that is not discarded
	EndedNS    int64          // CLOCK_MONOTONIC, of that part's end
	Answered   time.Duration  // from that part's beginning until nothing was outstanding
	Drain      time.Duration  // from there until its side owed the disk nothing
	Rated      time.Duration  // what requests are divided by for the rate: counted, and drain where the rate is of bytes that are durable
	Requests   int64          // acknowledged within the counted part
	Failures   int64          // within the counted part, those that were never sent included
	Unsent     int64          // of them: there was never room, because those before were not answered
	All        int64          // acknowledged in the whole slice: what the counters belong to
	UserBytes  int64          // record bytes that were written in the whole slice
	Files      int64          // that were written to beside the logs, when they are many
	ReplyBytes int64          // that the measured side wrote to sockets in the whole slice
	Invalid    []Cause        // why the generator does not vouch for it
	Stages     *result.Stages // where the time went, when that was asked for
	Stolen     bool           // the host took CPU time away, and no limit of a control group was reached

	Ends     bool       // a consumer is there, or it is the floor's slice beside such a one
	EndToEnd *hist.Hist // sent → in the consumer's hand; nil without a consumer
	Delivery *hist.Hist // acknowledged → in the consumer's hand, 0 when it was there first
	Early    int64      // were in hand before the producer had its answer
}

// Cause is one reason against a slice. Code is "" when it is none of the generator's.
type Cause struct {
	Text string
	Code result.Code
}

// ByHost tells whether a host that takes CPU time away brings this cause about, when it took that share of it during the slice.
func (c Cause) ByHost(fraction float64, stolen bool) bool {
	switch c.Code {
	case result.CPULimit:
		return stolen
	case result.Lag, result.Starved:
		return fraction > record.StolenWorthTelling
	}
	return false
}

// P50us is the median response, in µs.
func (s Sample) P50us() float64 {
	return float64(s.Hist.Response.Percentile(50, hist.HighestNS).NS) / 1e3
}

// Latencies adds the percentiles of every distribution that the slice has.
func (s Sample) Latencies(add func(name, unit string, v float64)) {
	for _, d := range []struct {
		name string
		h    *hist.Hist
		has  bool
	}{{"latency", s.Hist.Response, true}, {"service", s.Hist.Service, s.Ends}, {"end_to_end", s.EndToEnd, s.EndToEnd != nil}} {
		if !d.has {
			continue
		}
		for _, p := range []float64{50, 99} {
			add(fmt.Sprintf("%s_us_p%g", d.name, p), "us", float64(d.h.Percentile(p, hist.HighestNS).NS)/1e3)
		}
	}
	if s.EndToEnd != nil && s.EndToEnd.Count() > 0 {
		add("early_reads_fraction", "1", float64(s.Early)/float64(s.EndToEnd.Count()))
	}
}
