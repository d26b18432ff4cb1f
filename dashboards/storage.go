package dashboards

import "ackline/broker/metric"

var syncs = Row{"Sync", []Panel{
	{"Time of a sync", Seconds, quantiles(metric.WALSync),
		"Time to write one WAL batch and have it on disk. Every acknowledged record waits for one of these on a majority.",
		"p99 leaves what walbench measured on this disk: something else writes to it, it is nearly full, or it fails."},
	{"Oldest write under way", Seconds, []Query{{gauge(metric.WALOutstanding), "{{instance}}"}},
		"For how long the oldest write to the WAL has been on its way to the disk when it was looked. The time of a sync knows only those that came back.",
		"It grows by a second each second: the disk hangs, and nothing that this node leads is acknowledged, although its process answers."},
	{"Batches", PerSecond, []Query{{rate(metric.WALBatches), "{{instance}} {{method}}"}},
		"Batches written and synced per second, by sync method.",
		"It stands at 1 / sync time: the WAL is busy without a pause, and latency is queueing."},
	{"Bytes", BytesPerSecond, []Query{{rate(metric.WALBytes), "{{instance}} {{method}}"}},
		"Bytes written to the WAL, headers and padding included.",
		"It is many times what is produced: batches are small, and padding outweighs them."},
	{"Records in a batch", Number, []Query{{mean(metric.WALBatchRecords), "{{instance}}"}},
		"Records that share one sync, on average.",
		"It rises with the sync time: that is how group commit answers a slow disk, up to the batch's limit."},
	{"Hand-overs", PerSecond, []Query{{rate(metric.WALHandOvers), "{{instance}}"}},
		"Times that a writer found more to write behind its batch and woke the syncer for it.",
		"It is as high as the batches: the load never pauses."},
}}

var ring = Row{"Ring", []Panel{
	{"Ring in use", Fraction, []Query{{gauge(metric.WALRingUsed) + " / " + gauge(metric.WALRingUsable), "{{instance}}"}},
		"What is still needed, as a fraction of what entries may use. A checkpoint begins at storage.checkpoint_percent (50), throttling at " +
			"limits.throttle_percent (75), where these are not set.",
		"It stays well above the former: checkpoints do not keep up or fail, and producers are about to be throttled."},
	{"Ring", Bytes, []Query{{gauge(metric.WALRingUsed), "{{instance}} used"}, {gauge(metric.WALRingUsable), "{{instance}} for entries"}, {gauge(metric.WALRingSize), "{{instance}} size"}},
		"What is used, what entries may use, and all there is; the rest is kept free for votes and checkpoints.",
		"The ring holds less than what is produced in the time that a checkpoint takes: make the next node's wal.ring_bytes larger."},
	{"Freed", BytesPerSecond, []Query{{rate(metric.WALReclaimed), "{{instance}}"}},
		"Bytes of the ring freed for new batches.",
		"0 for minutes while the ring fills."},
}}

var segments = Row{"Checkpoints and segments", []Panel{
	{"Time of a checkpoint", Seconds, quantiles(metric.Checkpoint),
		"Time to flush, record and free ring space.",
		"It takes longer than the ring takes to fill."},
	{"Failed checkpoints", PerSecond, []Query{{rate(metric.CheckpointErrors), "{{instance}}"}},
		"Checkpoints that failed, and are tried again.",
		"Above 0: the log says why. A full disk is the usual reason."},
	{"Flushed", BytesPerSecond, []Query{{rate(metric.SeglogFlushed), "{{instance}}"}},
		"Committed records written to segments and synced.",
		"It stays below what is produced: the ring fills."},
	{"Time of a flush", Seconds, quantiles(metric.SeglogFlush),
		"Time to write one group's committed records to its segments and sync them.",
		"It rises together with the time of a WAL sync: the two compete for the disk."},
	{"Segments", Number, []Query{{gauge(metric.SeglogSegments), "{{instance}}"}},
		"Segment files on the node.",
		"It grows without end: retention is not set, or does not delete."},
}}

var groups = Row{"Groups", []Panel{
	{"Groups without a leader", Number, []Query{{gauge(metric.RaftLeaderless), "{{instance}}"}},
		"Groups with a replica on the node that knows of no leader, the metadata group included. An election takes less than a few seconds.",
		"Above 0 for longer than an election: what these groups hold can be neither written nor read; without the metadata's, topics cannot be made."},
	{"Leaders", Number, []Query{{gauge(metric.RaftLeaders), "{{instance}}"}},
		"Groups that the node leads.",
		"One node leads far more than the others for long, or the sum falls without a topic having been deleted."},
	{"Groups", Number, []Query{{gauge(metric.RaftGroups), "{{instance}}"}},
		"Groups with a replica on the node, the metadata group included.",
		"It falls without a topic having been deleted or a replica moved."},
	{"Entries behind", Number, []Query{{gauge(metric.RaftBehind), "{{instance}}"}},
		"Entries that the replica lacks that is furthest behind, of all groups that the node leads.",
		"It does not fall: a node is away or too slow, and the next failure may cost the quorum."},
}}

var links = Row{"Links between nodes", []Panel{
	{"Messages", PerSecond, []Query{{rate(metric.RaftMessages), "{{instance}}"}},
		"Raft messages given to the links to other nodes.",
		"0 on one node while others send: it is cut off, or leads and follows nothing."},
	{"Messages in a frame", Number, []Query{{rate(metric.RaftMessages) + " / " + rate(metric.RaftFrames), "{{instance}}"}},
		"How many messages share one frame; heartbeats are frames with none.",
		"It rises with latency: the link is the queue."},
	{"Bytes", BytesPerSecond, []Query{{rate(metric.RaftBytes), "{{instance}}"}},
		"Bytes that the kernel took for other nodes.",
		"It nears what the network can do; a leader sends what it takes to every follower."},
	{"Heartbeats", PerSecond, []Query{{rate(metric.RaftHeartbeats), "{{instance}}"}},
		"Heartbeats of other nodes that arrived; one covers all groups of a pair of nodes.",
		"It falls on one node: frames are late or lost, and elections follow."},
	{"Round trip", Seconds, []Query{{gauge(metric.RaftRoundTrip), "{{instance}} to {{peer}}"}},
		"How long a heartbeat takes to another node and back, smoothed.",
		"One pair is far from what its distance takes: the way, or a reader at one of its ends, is slow. A pair is missing: one does not hear the other."},
	{"Election time-out", Seconds, []Query{{gauge(metric.RaftElection), "{{instance}}"}},
		"How long a group that hears nothing of its leader waits at least before it elects another.",
		"It is more than cluster.election_ms: a node is so far away that 4.75 round trips take longer, and an outage lasts as much longer."},
}}
