package metric

import "fmt"

// ID names a metric of the table.
type ID int

// The metrics, in the order in which they are documented.
const (
	BuildInfo ID = iota

	ProduceRequests
	ProduceBytes
	ProduceRecords
	ProduceErrors
	ProduceThrottle
	ProduceDetours
	MetadataHeld
	ProduceStage
	ProduceTotal

	FetchRequests
	FetchBytes
	FetchErrors
	FetchDuration

	WALBatches
	WALBytes
	WALSync
	WALBatchRecords
	WALRingUsed
	WALRingSize
	WALRingUsable
	WALReclaimed
	WALOutstanding
	WALHandOvers

	RaftGroups
	RaftLeaders
	RaftLeaderless
	RaftBehind
	RaftMessages
	RaftFrames
	RaftBytes
	RaftHeartbeats
	RaftRoundTrip
	RaftElection

	SeglogFlushed
	SeglogSegments
	SeglogFlush

	Connections
	ConnectionsAccepted
	InFlight
	InFlightLimit
	CacheBytes
	Refused

	Checkpoint
	CheckpointErrors

	metrics // how many there are
)

// Kind is what a metric's values mean.
type Kind uint8

// The kinds of metrics.
const (
	Counter   Kind = iota + 1 // only ever rises, from 0 at the start of the process
	Gauge                     // rises and falls
	Histogram                 // how often which value was seen
)

func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Unit is what a metric counts in. It stands in the name, for the units that Prometheus has a word for.
type Unit string

// The units of the table. Count is anything that is counted by ones.
const (
	Seconds Unit = "seconds"
	Bytes   Unit = "bytes"
	Count   Unit = ""
)

// Def describes a metric.
type Def struct {
	Name   string
	Kind   Kind
	Unit   Unit
	Labels []string
	Help   string
}

// table is the one list of what this program measures. A name is API: dashboards and alerts break when it changes.
var table = [metrics]Def{
	BuildInfo: {"ackline_build_info", Gauge, Count, []string{"version"},
		"Always 1; the label says what is running."},

	ProduceRequests: {"ackline_produce_requests_total", Counter, Count, nil,
		"Produce requests answered, or with acks=0 taken."},
	ProduceBytes: {"ackline_produce_bytes_total", Counter, Bytes, nil,
		"Bytes of the record batches in Produce requests, as sent by the clients."},
	ProduceRecords: {"ackline_produce_records_total", Counter, Count, nil,
		"Records in Produce requests."},
	ProduceErrors: {"ackline_produce_errors_total", Counter, Count, []string{"code"},
		"Partitions in Produce responses that carry an error, by Kafka's error code."},
	ProduceStage: {"ackline_produce_duration_seconds", Histogram, Seconds, []string{"stage"},
		"Time that a Produce request spent in each stage of the write path; the stages add up to the whole."},
	ProduceThrottle: {"ackline_produce_throttle_seconds", Histogram, Seconds, nil,
		"How long Produce responses told their clients to wait, of those that did: the ring fills, or memory does."},
	ProduceDetours: {"ackline_produce_detours_total", Counter, Count, []string{"how"},
		"Batches whose partition is not led here: held until somebody was known to lead, or forwarded to that node."},
	MetadataHeld: {"ackline_metadata_held_total", Counter, Count, nil,
		"Metadata requests that were answered when a partition that they ask for had been given a leader, or too late for that."},
	ProduceTotal: {"ackline_produce_request_duration_seconds", Histogram, Seconds, nil,
		"Time from the last byte of a Produce request to the last byte of its reply."},

	FetchRequests: {"ackline_fetch_requests_total", Counter, Count, nil,
		"Fetch requests answered."},
	FetchBytes: {"ackline_fetch_bytes_total", Counter, Bytes, nil,
		"Bytes of the record batches in Fetch responses."},
	FetchErrors: {"ackline_fetch_errors_total", Counter, Count, []string{"code"},
		"Partitions in Fetch responses that carry an error, by Kafka's error code."},
	FetchDuration: {"ackline_fetch_duration_seconds", Histogram, Seconds, nil,
		"Time from reading a Fetch request to sending its response, the wait for new records included."},

	WALBatches: {"ackline_wal_batches_total", Counter, Count, []string{"method"},
		"Batches written to the WAL and synced, by sync method."},
	WALBytes: {"ackline_wal_bytes_total", Counter, Bytes, []string{"method"},
		"Bytes written to the WAL, headers and padding included."},
	WALSync: {"ackline_wal_sync_duration_seconds", Histogram, Seconds, []string{"method"},
		"Time to write one WAL batch and have it on disk."},
	WALBatchRecords: {"ackline_wal_batch_records", Histogram, Count, []string{"method"},
		"Records that one WAL batch, and so one sync, holds."},
	WALRingUsed: {"ackline_wal_ring_used_bytes", Gauge, Bytes, nil,
		"Bytes of the WAL ring that hold what is still needed."},
	WALRingSize: {"ackline_wal_ring_size_bytes", Gauge, Bytes, nil,
		"Bytes that the WAL ring has."},
	WALRingUsable: {"ackline_wal_ring_usable_bytes", Gauge, Bytes, nil,
		"Bytes of the WAL ring that entries may use; the rest is kept free for votes and checkpoints."},
	WALHandOvers: {"ackline_wal_hand_overs_total", Counter, Count, nil,
		"Times that a writer found more to write behind its batch and woke the syncer for it."},
	WALReclaimed: {"ackline_wal_reclaimed_bytes_total", Counter, Bytes, nil,
		"Bytes of the WAL ring that were freed for new batches."},
	WALOutstanding: {"ackline_wal_outstanding_write_seconds", Gauge, Seconds, nil,
		"How long the oldest write to the WAL has been on its way to the disk; 0 when none is."},

	RaftGroups: {"ackline_raft_groups", Gauge, Count, nil,
		"Raft groups with a replica on this node."},
	RaftLeaders: {"ackline_raft_leaders", Gauge, Count, nil,
		"Raft groups that this node leads."},
	RaftLeaderless: {"ackline_raft_leaderless_groups", Gauge, Count, nil,
		"Raft groups with a replica on this node that knows of no leader, the metadata group included."},
	RaftBehind: {"ackline_raft_behind_entries", Gauge, Count, nil,
		"Entries that the replica lacks that is furthest behind, of all groups that this node leads."},
	RaftMessages: {"ackline_raft_messages_total", Counter, Count, nil,
		"Raft messages given to the links to other nodes; those of a batch count one by one."},
	RaftFrames: {"ackline_raft_frames_total", Counter, Count, nil,
		"Frames given to the links to other nodes, heartbeats included."},
	RaftBytes: {"ackline_raft_sent_bytes_total", Counter, Bytes, nil,
		"Bytes that the kernel took for other nodes."},
	RaftHeartbeats: {"ackline_raft_heartbeats_total", Counter, Count, nil,
		"Heartbeats of other nodes that arrived; one covers all groups of a pair of nodes."},
	RaftRoundTrip: {"ackline_raft_round_trip_seconds", Gauge, Seconds, []string{"peer"},
		"How long a heartbeat takes to a node that lives and back, smoothed."},
	RaftElection: {"ackline_raft_election_timeout_seconds", Gauge, Seconds, nil,
		"How long a group that hears nothing of its leader waits at least before it elects another: cluster.election_ms, or what the round trips make of it."},

	SeglogFlushed: {"ackline_seglog_flushed_bytes_total", Counter, Bytes, nil,
		"Bytes of committed records written to segments and synced."},
	SeglogSegments: {"ackline_seglog_segments", Gauge, Count, nil,
		"Segment files on this node."},
	SeglogFlush: {"ackline_seglog_flush_duration_seconds", Histogram, Seconds, nil,
		"Time to write one group's committed records to its segments and sync them."},

	Connections: {"ackline_connections", Gauge, Count, nil,
		"Open client connections."},
	ConnectionsAccepted: {"ackline_connections_accepted_total", Counter, Count, nil,
		"Client connections accepted."},
	InFlight: {"ackline_in_flight_bytes", Gauge, Bytes, nil,
		"Bytes of requests that were read and not answered yet."},
	InFlightLimit: {"ackline_in_flight_limit_bytes", Gauge, Bytes, nil,
		"Bytes of unanswered requests at which clients are no longer read."},
	CacheBytes: {"ackline_entry_cache_bytes", Gauge, Bytes, nil,
		"Bytes of record data that raft logs keep in memory."},
	Refused: {"ackline_refused_total", Counter, Count, []string{"cause"},
		"Connections and requests that were refused, by cause."},

	Checkpoint: {"ackline_checkpoint_duration_seconds", Histogram, Seconds, nil,
		"Time of one checkpoint: flushing, recording and freeing ring space."},
	CheckpointErrors: {"ackline_checkpoint_errors_total", Counter, Count, nil,
		"Checkpoints that failed, and are tried again."},
}

// Def describes the metric.
func (i ID) Def() Def { return table[i] }

func (i ID) String() string { return table[i].Name }

// All lists the table in its order.
func All() []ID {
	list := make([]ID, metrics)
	for i := range list {
		list[i] = ID(i)
	}
	return list
}

// Series lists every name that a scrape of this program's own metrics can hold, with the suffixes of histograms, for
// checking dashboards and alerts.
func Series() []string {
	var names []string
	for _, d := range table {
		if d.Kind == Histogram {
			names = append(names, d.Name+"_bucket", d.Name+"_sum", d.Name+"_count")
		} else {
			names = append(names, d.Name)
		}
	}
	return names
}
