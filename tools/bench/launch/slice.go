package launch

import (
	"fmt"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/record"
)

// sample is what one slice of load gave.
type sample struct {
	hist       *hist.Set      // of the operations that began after the discarded part
	counted    time.Duration  // length of the part that is not discarded
	endedNS    int64          // CLOCK_MONOTONIC, of that part's end
	drain      time.Duration  // from there until its side owed the disk nothing
	rated      time.Duration  // what requests are divided by for the rate: counted, and drain where the rate is of bytes that are durable
	requests   int64          // acknowledged within the counted part
	failures   int64          // within the counted part, those that were never sent included
	unsent     int64          // of them: there was never room, because those before were not answered
	all        int64          // acknowledged in the whole slice: what the counters belong to
	userBytes  int64          // record bytes that were written in the whole slice
	files      int64          // that were written to beside the logs, when they are many
	replyBytes int64          // that the measured side wrote to sockets in the whole slice
	invalid    []cause        // why the generator does not vouch for it
	stages     *result.Stages // where the time went, when that was asked for
	stolen     bool           // the host took CPU time away, and no limit of a control group was reached

	ends     bool       // a consumer is there, or it is the floor's slice beside such a one
	endToEnd *hist.Hist // sent → in the consumer's hand; nil without a consumer
	delivery *hist.Hist // acknowledged → in the consumer's hand, 0 when it was there first
	early    int64      // were in hand before the producer had its answer
}

// cause is one reason against a slice. code is "" when it is none of the generator's.
type cause struct {
	text string
	code result.Code
}

// byHost tells whether a host that takes CPU time away brings this cause about, when it took that share of it during the slice.
func (c cause) byHost(fraction float64, stolen bool) bool {
	switch c.code {
	case result.CPULimit:
		return stolen
	case result.Lag, result.Starved:
		return fraction > record.StolenWorthTelling
	}
	return false
}

// p50us is the median response, in µs.
func (s sample) p50us() float64 {
	return float64(s.hist.Response.Percentile(50, hist.HighestNS).NS) / 1e3
}

type side = record.Side

// judge turns a sample and the readings around it into a slice.
func judge(number int, s side, began time.Time, smp sample, before, after meter.Reading, hasDevice bool) record.Slice {
	length, stolen := after.At.Sub(before.At), after.CPU.Sub(before.CPU).StolenFraction()
	dev, own := after.Device.Sub(before.Device), after.Own.Sub(before.Own)
	other, bench := after.Other.Sub(before.Other), after.Bench.Sub(before.Bench)
	sl := record.Slice{Number: number, Side: s, StartNs: before.At.Sub(began).Nanoseconds(), LengthNs: length.Nanoseconds(),
		Requests: smp.requests, Failures: smp.failures, Verdict: record.OK, HostOnly: true}
	against := func(c cause) {
		sl.Verdict, sl.Reasons = record.Invalid, append(sl.Reasons, c.text)
		sl.HostOnly = sl.HostOnly && c.byHost(stolen, smp.stolen)
	}
	for _, c := range smp.invalid {
		against(c)
	}
	if hasDevice {
		if why := meter.Foreign(length, smp.files, dev.WriteBytes, own.AtMost(smp.replyBytes)+bench.AtMost(0), other.OnDevice(0)); why != "" {
			against(cause{text: why})
		}
	}
	if smp.requests == 0 {
		against(cause{text: "nothing was acknowledged"})
	}
	sl.HostOnly = sl.HostOnly && sl.Verdict != record.OK
	add := func(name, unit string, v float64) {
		sl.Figures = append(sl.Figures, record.Figure{Name: name, Unit: unit, Side: s, Value: v})
	}
	if smp.requests > 0 {
		smp.latencies(add)
		add("requests_per_second", "1/s", float64(smp.requests)/smp.rated.Seconds())
		add("drain_ms", "ms", float64(smp.drain.Nanoseconds())/1e6)
	}
	if all := float64(smp.all); all > 0 {
		add("cpu_ns_per_request", "ns/request", float64(own.CPUNs)/all)
		if lead := after.Lead.Sub(before.Lead); lead.CPUNs > 0 {
			add("leader_cpu_ns_per_request", "ns/request", float64(lead.CPUNs)/all)
			add("follower_cpu_ns_per_request", "ns/request", float64(own.CPUNs-lead.CPUNs)/all)
			add("leader_io_calls_per_request", "1/request", float64(lead.Calls)/all)
			add("follower_io_calls_per_request", "1/request", float64(own.Calls-lead.Calls)/all)
		}
		add("context_switches_per_request", "1/request", float64(own.VoluntarySwitches+own.InvoluntarySwitches)/all)
		add("io_calls_per_request", "1/request", float64(own.Calls)/all)
		add("client_cpu_ns_per_request", "ns/request", float64(bench.CPUNs)/all)
		if hasDevice {
			add("device_writes_per_request", "1/request", float64(dev.Writes)/all)
			add("device_flushes_per_request", "1/request", float64(dev.Flushes)/all)
		}
		if hasDevice && smp.userBytes > 0 {
			add("device_bytes_per_user_byte", "bytes/byte", float64(dev.WriteBytes)/float64(smp.userBytes))
		}
	}
	add("resident_bytes", "bytes", float64(own.ResidentBytes))
	sl.Figures = append(sl.Figures, record.Figure{Name: record.StolenFraction, Unit: "1", Side: record.Host, Value: stolen})
	return sl
}

// latencies adds the percentiles of every distribution that the slice has.
func (s sample) latencies(add func(name, unit string, v float64)) {
	for _, d := range []struct {
		name string
		h    *hist.Hist
		has  bool
	}{{"latency", s.hist.Response, true}, {"service", s.hist.Service, s.ends}, {"end_to_end", s.endToEnd, s.endToEnd != nil}} {
		if !d.has {
			continue
		}
		for _, p := range []float64{50, 99} {
			add(fmt.Sprintf("%s_us_p%g", d.name, p), "us", float64(d.h.Percentile(p, hist.HighestNS).NS)/1e3)
		}
	}
	if s.endToEnd != nil && s.endToEnd.Count() > 0 {
		add("early_reads_fraction", "1", float64(s.early)/float64(s.endToEnd.Count()))
	}
}
