package session

import (
	"time"

	"ackline/tools/bench/meter"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
)

// Judge turns a sample and the readings around it into a slice. hasDevice: the readings have a device that only the two sides should write to.
func Judge(number int, s record.Side, began time.Time, smp Sample, before, after meter.Reading, hasDevice bool) record.Slice {
	length, stolen := after.At.Sub(before.At), after.CPU.Sub(before.CPU).StolenFraction()
	dev, own := after.Device.Sub(before.Device), after.Own.Sub(before.Own)
	other, bench := after.Other.Sub(before.Other), after.Bench.Sub(before.Bench)
	sl := record.Slice{Number: number, Side: s, StartNs: before.At.Sub(began).Nanoseconds(), LengthNs: length.Nanoseconds(),
		Requests: smp.Requests, Failures: smp.Failures, Verdict: record.OK, HostOnly: true}
	against := func(c Cause) {
		sl.Verdict, sl.Reasons = record.Invalid, append(sl.Reasons, c.Text)
		sl.HostOnly = sl.HostOnly && c.ByHost(stolen, smp.Stolen)
	}
	for _, c := range smp.Invalid {
		against(c)
	}
	if hasDevice {
		if why := meter.Foreign(length, smp.Files, dev.WriteBytes, own.AtMost(smp.ReplyBytes)+bench.AtMost(0), other.OnDevice(0)); why != "" {
			against(Cause{Text: why})
		}
	}
	if smp.Requests == 0 {
		against(Cause{Text: "nothing was acknowledged"})
	}
	sl.HostOnly = sl.HostOnly && sl.Verdict != record.OK
	add := func(name, unit string, v float64) {
		sl.Figures = append(sl.Figures, record.Figure{Name: name, Unit: unit, Side: s, Value: v})
	}
	if smp.Requests > 0 {
		smp.Latencies(add)
		add("requests_per_second", "1/s", float64(smp.Requests)/smp.Rated.Seconds())
		add("drain_ms", "ms", float64(smp.Drain.Nanoseconds())/1e6)
	}
	here := after.Own != proc.Counters{} // else its processes are elsewhere, and what they cost is unknown
	if all := float64(smp.All); all > 0 && here {
		add("cpu_ns_per_request", "ns/request", float64(own.CPUNs)/all)
		if lead := after.Lead.Sub(before.Lead); lead.CPUNs > 0 {
			add("leader_cpu_ns_per_request", "ns/request", float64(lead.CPUNs)/all)
			add("follower_cpu_ns_per_request", "ns/request", float64(own.CPUNs-lead.CPUNs)/all)
			add("leader_io_calls_per_request", "1/request", float64(lead.Calls)/all)
			add("follower_io_calls_per_request", "1/request", float64(own.Calls-lead.Calls)/all)
		}
		add("context_switches_per_request", "1/request", float64(own.VoluntarySwitches+own.InvoluntarySwitches)/all)
		add("io_calls_per_request", "1/request", float64(own.Calls)/all)
	}
	if all := float64(smp.All); all > 0 {
		add("client_cpu_ns_per_request", "ns/request", float64(bench.CPUNs)/all)
		if hasDevice {
			add("device_writes_per_request", "1/request", float64(dev.Writes)/all)
			add("device_flushes_per_request", "1/request", float64(dev.Flushes)/all)
		}
		if hasDevice && smp.UserBytes > 0 {
			add("device_bytes_per_user_byte", "bytes/byte", float64(dev.WriteBytes)/float64(smp.UserBytes))
		}
	}
	if here {
		add("resident_bytes", "bytes", float64(own.ResidentBytes))
	}
	sl.Figures = append(sl.Figures, record.Figure{Name: record.StolenFraction, Unit: "1", Side: record.Host, Value: stolen})
	return sl
}
