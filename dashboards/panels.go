package dashboards

import (
	"fmt"

	"ackline/broker/metric"
	load "ackline/loadgen/metric"
)

// Unit is Grafana's name of a unit.
type Unit string

// The units of the panels.
const (
	Seconds        Unit = "s"
	Bytes          Unit = "bytes"
	BytesPerSecond Unit = "Bps"
	PerSecond      Unit = "cps"
	Fraction       Unit = "percentunit"
	Number         Unit = "short"
)

// Query is one line, or one line for each series, of a panel.
type Query struct {
	Expr   string // PromQL; "{@" begins the matchers of the dashboard's variables
	Legend string // Grafana's template of a series' name
}

// Panel is one graph.
type Panel struct {
	Title   string
	Unit    Unit
	Queries []Query
	Means   string // what the figure is
	Worry   string // when to worry, and about what
}

// Row is the panels of one topic.
type Row struct {
	Title  string
	Panels []Panel
}

// Dashboard is one page of Grafana.
type Dashboard struct {
	UID   string // also the name of the file
	Title string
	Info  fmt.Stringer // the metric that every instance of the page has, by which it can be chosen
	Rows  []Row
}

// Dashboards are all pages.
var Dashboards = []Dashboard{
	{"ackline-broker", "ackline: broker", metric.BuildInfo, []Row{overview, producing, fetching, clients, process, machine}},
	{"ackline-wal", "ackline: WAL", metric.BuildInfo, []Row{syncs, ring, segments}},
	{"ackline-raft", "ackline: raft", metric.BuildInfo, []Row{groups, links}},
	{"ackline-loadgen", "ackline: load generator", load.BuildInfo, []Row{loads, latencies, checks, generator}},
}

// NotShown are the metrics that no panel shows, with the reason.
var NotShown = map[metric.ID]string{}

var overview = Row{"Overview", []Panel{
	{"Nodes that answer", Number, []Query{{`up{@,job="ackline"}`, "{{instance}}"}},
		"1 for a broker that Prometheus could scrape, else 0.",
		"One is 0: the process, its machine or the way to it is gone. Two of three: nothing can be acknowledged."},
	{"Versions", Number, []Query{{"count by (version) (" + gauge(metric.BuildInfo) + ")", "{{version}}"}},
		"How many brokers run which version.",
		"Several versions for longer than a rolling upgrade takes."},
	{"Objective missed", Fraction, []Query{{slowRatio("5m") + `{cluster=~"$cluster"}`, "{{cluster}} 5m"}, {slowRatio("1h") + `{cluster=~"$cluster"}`, "{{cluster}} 1h"}},
		"The fraction of Produce requests that took longer than the objective of " + objectiveText + ".",
		"It stays above 1%: the objective is being missed. The alerts say at which speed the month's budget goes."},
}}

var producing = Row{"Produce", []Panel{
	{"Requests", PerSecond, []Query{{rate(metric.ProduceRequests), "{{instance}}"}},
		"Produce requests answered per second.",
		"It falls while the producers have not changed: look at errors, throttling and leaders."},
	{"Records", PerSecond, []Query{{rate(metric.ProduceRecords), "{{instance}}"}},
		"Records that arrived per second.",
		"One node has most of it for long: leaders are badly spread, or a partition is hot."},
	{"Bytes", BytesPerSecond, []Query{{rate(metric.ProduceBytes), "{{instance}}"}},
		"Record batches that arrived, as the clients sent them.",
		"It comes near what the disk or network can do; every byte is written twice, to the WAL and to a segment."},
	{"Time of a Produce request", Seconds, quantiles(metric.ProduceTotal),
		"From the last byte of a request to the last byte of its reply; the network to the client is not in it.",
		"p99 rises and stays there. The stages beside it say where the time goes."},
	{"p99 of each stage", Seconds, []Query{{quantile("0.99", metric.ProduceStage, "stage"), "{{instance}} {{stage}}"}},
		"How long each step takes: decode, propose, queue (for a WAL batch), sync (own disk), quorum (other nodes), reply. Quantiles do not add up; means do.",
		"sync rises: the disk. quorum rises alone: the network, or another node's disk. queue rises: more load than the WAL takes. decode or propose: CPU."},
	{"Errors", PerSecond, []Query{{sumRate(metric.ProduceErrors, "code"), "{{instance}} {{code}}"}},
		"Partitions in responses that carry an error, by Kafka's code. 6 says that the leader is elsewhere: clients learn it and go there.",
		"6 without a change of leaders, or any other code for more than a moment."},
	{"Errors for each request", Fraction, []Query{{produceErrors + `{cluster=~"$cluster"}`, "{{cluster}}"}},
		"Errors of the panel before this one, for each Produce request of the cluster, over five minutes.",
		"It stays above 1%: the code says whose fault it is."},
	{"Throttled responses", PerSecond, []Query{{"rate(" + metric.ProduceThrottle.String() + "_count{@}[$__rate_interval])", "{{instance}}"}},
		"Responses that told their client to wait, because the ring or memory fills.",
		"Above 0 for minutes: producers are faster than checkpoints free the ring."},
	{"Throttle time", Seconds, []Query{{mean(metric.ProduceThrottle), "{{instance}}"}},
		"How long those clients were told to wait, on average.",
		"It nears a second: producers are held back for good."},
	{"Detours", PerSecond, []Query{{rate(metric.ProduceDetours), "{{instance}} {{how}}"}},
		"Batches for a partition that is led elsewhere: held until a leader was known, or forwarded to it.",
		"Forwarded without end: clients do not follow metadata, and pay a hop."},
}}

var fetching = Row{"Fetch and metadata", []Panel{
	{"Requests", PerSecond, []Query{{rate(metric.FetchRequests), "{{instance}}"}},
		"Fetch requests answered per second.",
		"Many with few bytes: consumers ask with a short fetch.max.wait.ms or a small fetch.min.bytes."},
	{"Bytes", BytesPerSecond, []Query{{rate(metric.FetchBytes), "{{instance}}"}},
		"Record batches sent to consumers.",
		"It stays below what is produced: consumers fall behind."},
	{"Time of a Fetch request", Seconds, quantiles(metric.FetchDuration),
		"From reading a request to sending its response. The wait for new records is in it: without traffic it is the consumer's fetch.max.wait.ms.",
		"It exceeds the consumers' wait: reads come from a slow disk."},
	{"Errors", PerSecond, []Query{{sumRate(metric.FetchErrors, "code"), "{{instance}} {{code}}"}},
		"Partitions in responses that carry an error, by Kafka's code.",
		"1 says that consumers ask for what retention has deleted: they are too slow, or retention too short."},
	{"Metadata held", PerSecond, []Query{{rate(metric.MetadataHeld), "{{instance}}"}},
		"Metadata requests that waited for a partition to be given a leader.",
		"Outside failovers and new topics: groups are without a leader."},
}}

var clients = Row{"Connections and memory", []Panel{
	{"Connections", Number, []Query{{gauge(metric.Connections), "{{instance}}"}},
		"Open client connections.",
		"It grows without end: clients do not close what they open."},
	{"Connections accepted", PerSecond, []Query{{rate(metric.ConnectionsAccepted), "{{instance}}"}},
		"New client connections per second.",
		"High with a flat number of open ones: clients connect for each request, or are refused and come again."},
	{"Refused", PerSecond, []Query{{sumRate(metric.Refused, "cause"), "{{instance}} {{cause}}"}},
		"Connections and requests that were refused or ended by the broker, by cause.",
		"Above 0: the cause says whether a limit or a client is at fault."},
	{"Unanswered requests, of the limit", Fraction, []Query{{gauge(metric.InFlight) + " / " + gauge(metric.InFlightLimit), "{{instance}}"}},
		"Bytes of requests that were read and not answered, as a fraction of the limit at which clients are no longer read.",
		"It stays above 0.9: latency is limited by memory (limits.inflight_bytes), most likely because syncs or a quorum are slow."},
	{"Entry cache", Bytes, []Query{{gauge(metric.CacheBytes), "{{instance}}"}},
		"Record data that raft logs keep in memory.",
		"It stands at limits.cache_bytes: followers that are behind are served from disk."},
}}

var process = Row{"Process", []Panel{
	{"CPU", Number, []Query{{"rate(process_cpu_seconds_total{@,job=\"ackline\"}[$__rate_interval])", "{{instance}}"}},
		"Cores that the broker uses.",
		"It nears the number of cores: latency grows before throughput stops."},
	{"Resident memory", Bytes, []Query{{`process_resident_memory_bytes{@,job="ackline"}`, "{{instance}}"}},
		"Memory of the process.",
		"It grows for hours under an even load."},
	{"Open files", Fraction, []Query{{`process_open_fds{@,job="ackline"} / process_max_fds{@,job="ackline"}`, "{{instance}}"}},
		"Open descriptors as a fraction of the process's limit.",
		"Above 0.8: connections or segments will be refused soon."},
	{"Goroutines", Number, []Query{{`go_goroutines{@,job="ackline"}`, "{{instance}}"}},
		"Goroutines of the process.",
		"It grows while connections and groups do not."},
	{"Garbage collection pauses", Seconds, []Query{{`go_gc_duration_seconds{@,job="ackline",quantile="1"}`, "{{instance}}"}},
		"The longest recent pause.",
		"It is as large as the p99 of Produce."},
}}

// machine is node_exporter's view, whose instances are not the brokers'.
var machine = Row{"Machine", []Panel{
	{"Machines that answer", Number, []Query{{`up{cluster=~"$cluster",job="node"}`, "{{instance}}"}},
		"1 for a node_exporter that Prometheus could scrape, else 0.",
		"One is 0: nothing is known of that machine's disks and clock."},
	{"Disk space left", Fraction, []Query{{"node_filesystem_avail_bytes" + disks(`cluster=~"$cluster",`) + " / node_filesystem_size_bytes" + disks(`cluster=~"$cluster",`), "{{instance}} {{mountpoint}}"}},
		"What is free of each file system of the machines, as a fraction.",
		"Less than a tenth is left where a data directory is, or the line will be at 0 before somebody looks again."},
	{"Clock kept", Number, []Query{{`node_timex_sync_status{cluster=~"$cluster",job="node"}`, "{{instance}}"}},
		"1 where something keeps the clock of the machine, else 0.",
		"0 for more than the minutes after a start."},
	{"Clock offset", Seconds, []Query{{`abs(node_timex_offset_seconds{cluster=~"$cluster",job="node"})`, "{{instance}}"}},
		"How far the kernel knows the clock to be off.",
		"Above 50 ms: a wrong or distant source. Retention by time and the times of records depend on it."},
}}
