package dashboards

import (
	"fmt"
	"strconv"

	"ackline/broker/metric"
	load "ackline/loadgen/metric"
)

// The objective: of the Produce requests of a month, objectiveShare are answered within objectiveBound. The bound must be
// one of the histogram's, or the fraction of slow requests could only be guessed.
const (
	objectiveBound = "0.016384" // seconds
	objectiveShare = 0.99
	objectiveText  = "16.384 ms for 99 of 100"
)

// Rule is a query that Prometheus evaluates all the time and keeps the result of.
type Rule struct {
	Record string // level:metric:operation
	Expr   string
}

// Severity says how soon somebody must act.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // records cannot be written or read, or soon cannot: wake somebody
	Warning  Severity = "warning"  // it will become critical: on the next working day
)

// Alert is a condition that somebody must do something about.
type Alert struct {
	Name     string
	Severity Severity
	Expr     string
	For      string // how long Expr holds before the alert fires, in Prometheus's form
	Summary  string // one line; a template of Prometheus
	First    string // what to do first
}

// Group is the rules or alerts of one topic.
type Group struct {
	Name   string
	Rules  []Rule
	Alerts []Alert
}

// Target is what Prometheus scrapes.
type Target struct {
	Job     string
	Address string // of the machine on which Prometheus runs
	Why     string
}

// Targets are what the dashboards and alerts need.
var Targets = []Target{
	{"ackline", "127.0.0.1:9644", "Brokers: node.http_addr of each."},
	{"node", "127.0.0.1:9100", "node_exporter on the brokers' machines: without it nothing is known of disk space and clocks."},
	{"loadgen", "127.0.0.1:9650", "Load generators: --metrics-addr of each. They come and go; that one is away is no alert."},
}

// windows are the stretches over which slow requests are counted.
var windows = []string{"5m", "30m", "1h", "6h"}

// produceErrors names the rule that holds how many errors there are for each Produce request.
const produceErrors = "cluster:ackline_produce_errors:ratio_rate5m"

// slowRatio names the rule that holds the fraction of requests beyond the objective's bound.
func slowRatio(window string) string { return "cluster:ackline_produce_slow:ratio_rate" + window }

// burn holds when the month's budget of slow requests goes times as fast as it may, over a long window that says it
// matters and a short one that says it still goes on. 14.4 times spends 2% of it in an hour, 6 times 5% in six hours.
func burn(times float64, long, short string) string {
	limit := strconv.FormatFloat(times*(1-objectiveShare), 'f', 3, 64)
	return fmt.Sprintf("%s > %s and %s > %s", slowRatio(long), limit, slowRatio(short), limit)
}

// Recording are the rules by which dashboards and alerts share figures.
var Recording = []Group{{Name: "ackline", Rules: append(slowRules(),
	Rule{produceErrors, fmt.Sprintf("sum by (cluster) (rate(%v[5m])) / sum by (cluster) (rate(%v[5m]))",
		metric.ProduceErrors, metric.ProduceRequests)},
	Rule{"instance:ackline_wal_sync_seconds:p99_rate5m", fmt.Sprintf("histogram_quantile(0.99, sum by (cluster, instance, le) (rate(%v_bucket[5m])))",
		metric.WALSync)},
	Rule{"instance:ackline_wal_ring_used:ratio", fmt.Sprintf("%v / %v", metric.WALRingUsed, metric.WALRingUsable)},
)}}

func slowRules() (rules []Rule) {
	for _, w := range windows {
		rules = append(rules, Rule{slowRatio(w), fmt.Sprintf(`1 - sum by (cluster) (rate(%v_bucket{le="%s"}[%s])) / sum by (cluster) (rate(%v_count[%s]))`,
			metric.ProduceTotal, objectiveBound, w, metric.ProduceTotal, w)})
	}
	return rules
}

// disks leaves out file systems that hold no data. more are matchers in front, each with a comma behind it.
func disks(more string) string {
	return "{" + more + `job="node",fstype!~"tmpfs|ramfs|overlay|squashfs|devtmpfs|iso9660"}`
}

// Alerts are what somebody must act on.
var Alerts = []Group{
	{Name: "ackline-broker", Alerts: []Alert{
		{"AcklineDown", Critical, `up{job="ackline"} == 0`, "1m",
			"{{ $labels.instance }} does not answer",
			"See whether the machine answers, then the broker's log: its last lines say why it ended. Start it again if its disk is whole; a lost disk " +
				"needs a new node (broker admin replace), never an empty directory under the old id."},
		{"AcklineBudgetBurnsFast", Critical, burn(14.4, "1h", "5m"), "2m",
			"{{ $labels.cluster }}: {{ $value | humanizePercentage }} of Produce requests are slower than the objective of " + objectiveText,
			"Open the dashboard of the broker at 'p99 of each stage'. sync: look at the disk (AcklineSyncSlow). quorum alone: look at the network and at the " +
				"other nodes' disks. queue, decode or propose: the load has grown beyond the machine."},
		{"AcklineBudgetBurnsSlowly", Warning, burn(6, "6h", "30m"), "15m",
			"{{ $labels.cluster }}: {{ $value | humanizePercentage }} of Produce requests were slower than the objective of " + objectiveText,
			"Compare 'p99 of each stage' with a week ago: which stage grew, on which node? If the load grew instead, see what the machines still have to spare."},
		{"AcklineProduceErrors", Warning, produceErrors + " > 0.01", "10m",
			"{{ $labels.cluster }}: {{ $value | humanize }} errors for each Produce request",
			"Look at 'Errors' on the dashboard of the broker for the code. 6: leaders move, see the dashboard of raft. 56: a disk is full. 3: clients write to a " +
				"topic that does not exist."},
		{"AcklineClientsNotRead", Warning, fmt.Sprintf("%v / %v > 0.9", metric.InFlight, metric.InFlightLimit), "5m",
			"{{ $labels.instance }} holds {{ $value | humanizePercentage }} of the request bytes that it may",
			"Look whether syncs or quorums are slow: then that is the cause. If they are not, raise limits.inflight_bytes, as far as memory allows."},
		{"AcklineOpenFiles", Warning, `process_open_fds{job="ackline"} / process_max_fds{job="ackline"} > 0.8`, "10m",
			"{{ $labels.instance }} has {{ $value | humanizePercentage }} of the descriptors open that it may",
			"Look at 'Connections': if they grow, find the client that leaks them. Else raise the limit of the service (LimitNOFILE)."},
	}},
	{Name: "ackline-storage", Alerts: []Alert{
		{"AcklineSyncSlow", Warning, "instance:ackline_wal_sync_seconds:p99_rate5m > 0.05", "10m",
			"{{ $labels.instance }}: the p99 of a sync is {{ $value | humanizeDuration }}",
			"Look for what else writes to that disk (iostat, pidstat -d), then for the device's errors (dmesg, smartctl). Move the leaders away meanwhile: " +
				"broker admin transfer."},
		{"AcklineDiskHangs", Critical, fmt.Sprintf("%v > 5", metric.WALOutstanding), "10s",
			"{{ $labels.instance }}: a write to the WAL is on its way for {{ $value | humanizeDuration }}",
			"The process lives, but nothing that it leads is acknowledged. Look at the kernel's log (dmesg: I/O errors, tasks blocked), then at what is behind the " +
				"device: a controller, a path, a volume's provider. If it does not come back, end the broker (kill -9), so that others lead; replace the node " +
				"(broker admin replace) if its disk is lost."},
		{"AcklineRingFull", Critical, "instance:ackline_wal_ring_used:ratio > 0.8", "5m",
			"{{ $labels.instance }}: {{ $value | humanizePercentage }} of what entries may use of the WAL ring is in use",
			"Checkpoints do not free it. Look at AcklineCheckpointFails and at free disk space first; if both are well, the segments' disk is slower than the " +
				"load: slow the producers down."},
		{"AcklineCheckpointFails", Critical, fmt.Sprintf("increase(%v[15m]) > 0", metric.CheckpointErrors), "1m",
			"{{ $labels.instance }} cannot move records from the WAL to segments",
			"Read the broker's log for the error. A full disk: free space, or shorten retention; the broker goes on by itself."},
		{"AcklineDiskAlmostFull", Critical, "node_filesystem_avail_bytes" + disks("") + " / node_filesystem_size_bytes" + disks("") + " < 0.1", "5m",
			"{{ $labels.instance }}: {{ $labels.mountpoint }} has {{ $value | humanizePercentage }} left",
			"If it holds a data directory: shorten the retention of the largest topics, then delete what is not the broker's. A leader without room refuses records."},
		{"AcklineDiskFills", Warning, "predict_linear(node_filesystem_avail_bytes" + disks("") + "[6h], 24 * 3600) < 0", "1h",
			"{{ $labels.instance }}: {{ $labels.mountpoint }} is full within a day if it goes on like this",
			"Find the topic that grows. Set its retention (retention.bytes, retention.ms), or add disk, before the night."},
	}},
	{Name: "ackline-raft", Alerts: []Alert{
		{"AcklineLeaderless", Critical, fmt.Sprintf("%v > 0", metric.RaftLeaderless), "30s",
			"{{ $labels.instance }} knows of no leader for {{ $value }} groups",
			"Run broker admin status. If another node is down, start it: a majority of the replicas is missing. If all are up and only this one complains, it " +
				"is cut off: check the port of the links (raft-addr) from both sides."},
		{"AcklineReplicaBehind", Warning, fmt.Sprintf("%v > 10000", metric.RaftBehind), "15m",
			"A replica of a group that {{ $labels.instance }} leads lacks {{ $value | humanize }} entries",
			"See which node is down, or slow in its syncs. One that catches up gets less behind by the minute: wait. Until it has, do not stop another."},
	}},
	{Name: "ackline-check", Alerts: []Alert{
		{"AcklineRecordsWrong", Critical, fmt.Sprintf("%v > 0", load.CheckFaults), "1s",
			"{{ $labels.instance }}: {{ $value }} acknowledged records are {{ $labels.fault }}",
			"Stop whatever deletes or rewrites data (retention, replacements, upgrades). Keep the check's output and its state file: they name partition and " +
				"offset. Compare what each replica has there, and look at what happened to the leaders at that time (AcklineDown, AcklineLeaderless)."},
	}},
	{Name: "ackline-machine", Alerts: []Alert{
		{"AcklineMachineUnknown", Warning, `up{job="node"} == 0`, "10m",
			"Nothing is known of the disk space and clock of {{ $labels.instance }}",
			"Start node_exporter there: while it is away, neither a full disk nor a wrong clock is noticed."},
		{"AcklineClockUnsynchronised", Warning, `node_timex_sync_status{job="node"} == 0`, "10m",
			"The clock of {{ $labels.instance }} is not kept by anything",
			"Start chrony or systemd-timesyncd and see that it reaches its servers. Retention by time and the times of records depend on the clock."},
		{"AcklineClockOff", Warning, `abs(node_timex_offset_seconds{job="node"}) > 0.05`, "10m",
			"The clock of {{ $labels.instance }} is {{ $value | humanizeDuration }} off",
			"Look at chronyc tracking: a wrong or distant source, or a machine that was paused. Let it slew; a step makes records go back in time."},
	}},
}
