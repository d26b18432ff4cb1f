// Package id names the quantities that every other package passes around, so that an Index can never be handed over
// where an Offset is meant. It holds types only.
package id

type (
	// NodeID is one broker process: Kafka's broker id.
	NodeID int32
	// Incarnation is a random number drawn once per data directory, so that a node that comes back with an emptied
	// disk is not taken for the node that left.
	Incarnation uint64
	// GroupID is one raft group: a partition, the metadata group, a coordinator group. Never reused.
	GroupID uint64
	// ReplicaID is one group on one node: the raft id, issued by the metadata group and never reused.
	ReplicaID uint64
	// Term is a raft term. A partition's Kafka leader epoch is its group's term.
	Term uint64
	// Index is a raft entry's position in its group's log, from 1.
	Index uint64
	// Offset is a Kafka record's position in a partition, from 0.
	Offset int64
	// LSN is a byte position in the node's WAL, ever increasing across recycling and restarts.
	LSN uint64
)

// MetadataGroup is the group that holds nodes, topics, placement and ids.
const MetadataGroup GroupID = 1
