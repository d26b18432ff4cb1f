package dashboards

import (
	"ackline/broker/metric"
	load "ackline/loadgen/metric"
)

var loads = Row{"Load", []Panel{
	{"Operations", PerSecond, []Query{{rate(load.Acked), "{{instance}} {{target}}"}},
		"Operations acknowledged per second, warm-up included.",
		"It falls below the rate that was asked for: see what is in flight, and the failures."},
	{"Records", PerSecond, []Query{{rate(load.Records), "{{instance}} {{target}}"}},
		"Records acknowledged or fetched per second.",
		"Beside it on the page of the broker stands what arrived there; other clients make the difference."},
	{"Bytes", BytesPerSecond, []Query{{rate(load.ValueBytes), "{{instance}} {{target}}"}},
		"Bytes of the values of these records.",
		"It stands still while the rate grows: the network or a disk is at its end."},
	{"Failures", PerSecond, []Query{{sumRate(load.Failed, "target", "code"), "{{instance}} {{target}} {{code}}"}},
		"Operations that failed, by Kafka's name of the error, or timeout, connection, abandoned (at the end of a load).",
		"Any outside a failover. The run's own summary lists when nothing was acknowledged."},
	{"In flight", Number, []Query{{gauge(load.InFlight), "{{instance}} {{target}}"}},
		"Operations that were sent and have no answer.",
		"It stands at connections times in-flight: the window is full, and arrivals wait."},
	{"Threads", Number, []Query{{gauge(load.Workers), "{{instance}}"}},
		"Threads that make a load at the moment; 0 between loads of an agent.",
		"0 while a load should be made."},
}}

var latencies = Row{"Latency", []Panel{
	{"Response", Seconds, targetQuantiles(load.Response),
		"From when the schedule said that an operation begins until its acknowledgement. One that failed ranks above every other.",
		"p99 is the figure that a producer feels. The rows below, and the stages on the page of the broker, say where it comes from."},
	{"Service", Seconds, targetQuantiles(load.Service),
		"From sending an operation until its acknowledgement: response without the waits before sending.",
		"It rises: the system is slower. It does not while the response does: operations wait for room, or the generator is late."},
	{"Backlog", Seconds, targetQuantiles(load.Backlog),
		"How long operations waited for room in the window: the system's delay, before they were even sent.",
		"Above 0 for long: the system takes less than the schedule gives."},
	{"Overdue", Seconds, []Query{{gauge(load.Overdue), "{{instance}} {{target}}"}},
		"How long the operation has been due that waits longest for room. During a stall this rises, when there are no latencies to show.",
		"It rises without end: nothing is acknowledged."},
	{"Lag", Seconds, targetQuantiles(load.Lag),
		"How late the generator itself was to get to an operation.",
		"p99 above a twentieth of the response's p99: the generator is too slow, and the run's verdict will be INVALID."},
	{"p99, by clients and by brokers", Seconds, []Query{
		{quantile("0.99", load.Service, "target"), "{{instance}} {{target}} service"},
		{"histogram_quantile(0.99, sum by (instance, le) (rate(" + metric.ProduceTotal.String() + `_bucket{cluster=~"$cluster"}[$__rate_interval])))`, "{{instance}} broker"}},
		"The same requests from both sides. What lies between is the network, both kernels, and the wait for a busy reader.",
		"The gap grows while the brokers' own time does not: look at the network and at the CPU of both sides."},
}}

var checks = Row{"Check", []Panel{
	{"Acknowledged and read back", PerSecond, []Query{{rate(load.CheckAcked), "{{instance}} acknowledged"}, {rate(load.CheckRead), "{{instance}} read back"}},
		"Records of loadgen check, per second.",
		"They part: what was acknowledged is not found, or reading is slow."},
	{"Records with something wrong", Number, []Query{{gauge(load.CheckFaults), "{{instance}} {{fault}}"}},
		"Records that were acknowledged and are lost, there twice, out of order, at another offset or changed, since the check began.",
		"Above 0, ever. The check's own output names the first ones."},
	{"Not read back yet", Number, []Query{{gauge(load.CheckUnread), "{{instance}}"}},
		"Records that were acknowledged and not read back yet.",
		"It grows: the reader finds nothing, or is slower than the writer."},
	{"Outages", Number, []Query{{gauge(load.CheckOutages), "{{instance}}"}},
		"How often the check had no acknowledgement for a second or more.",
		"It rises without a failover that explains it."},
	{"Time in outages", Seconds, []Query{{gauge(load.CheckOutageTime), "{{instance}}"}},
		"How long these were in all.",
		"It rises by more than a failover takes."},
}}

var generator = Row{"Generator", []Panel{
	{"Generators that answer", Number, []Query{{`up{@,job="loadgen"}`, "{{instance}}"}},
		"1 for a generator that Prometheus could scrape. One that has ended is 0, and is no fault.",
		"0 while a run should be under way."},
	{"Versions", Number, []Query{{"count by (version) (" + gauge(load.BuildInfo) + ")", "{{version}}"}},
		"How many generators run which version.",
		"Several versions make one load: agents and who leads them must be of one."},
	{"CPU", Number, []Query{{`rate(process_cpu_seconds_total{@,job="loadgen"}[$__rate_interval])`, "{{instance}}"}},
		"Cores that the generator uses.",
		"It nears the number of cores: the generator will be late."},
	{"Garbage collection pauses", Seconds, []Query{{`go_gc_duration_seconds{@,job="loadgen",quantile="1"}`, "{{instance}}"}},
		"The longest recent pause.",
		"It is as large as the p99 of the response."},
}}

// targetQuantiles are quantiles of one of the generator's histograms, brokers and floor apart.
func targetQuantiles(m load.ID) []Query {
	return []Query{{quantile("0.5", m, "target"), "{{instance}} {{target}} p50"}, {quantile("0.99", m, "target"), "{{instance}} {{target}} p99"}}
}
