package admin

import (
	"time"

	"ackline/broker/id"
)

// Status is how a cluster is, as one node sees it.
type Status struct {
	ClusterID string    `json:"cluster_id"` // empty before the cluster is formed
	Asked     id.NodeID `json:"asked"`      // the node that answers
	// Current: the answer includes everything that was committed before the node started. Without a majority it may not.
	Current  bool     `json:"current"`
	Nodes    []Node   `json:"nodes"`
	Metadata Metadata `json:"metadata"`
	Counts   Counts   `json:"counts"`
	// Leaderless and UnderReplicated list the first partitions in question, in order of their topics; Counts has how many there are.
	Leaderless      []Partition `json:"leaderless"`
	UnderReplicated []Partition `json:"under_replicated"`
	Warnings        []string    `json:"warnings"` // what the reader should know of this answer
	// RoundTrips has a row for each pair of living nodes that were heard, as the first of them measured it, by node.
	RoundTrips []RoundTrip `json:"round_trips"`
}

// RoundTrip is how long a heartbeat takes from one node to another and back, in microseconds: smoothed, its mean deviation, and the
// shortest since the node was started.
type RoundTrip struct {
	From        id.NodeID `json:"from"`
	To          id.NodeID `json:"to"`
	SmoothedUs  int64     `json:"smoothed_us"`
	DeviationUs int64     `json:"deviation_us"`
	LeastUs     int64     `json:"least_us"`
}

// Node is one node of a cluster.
type Node struct {
	ID          id.NodeID `json:"id"`
	State       string    `json:"state"`           // one of the States
	Since       time.Time `json:"since,omitzero"`  // when the node that answers saw it become so; absent if it has always been
	Incarnation string    `json:"incarnation"`     // of its data directory, hexadecimal; empty until it joins
	KafkaAddr   string    `json:"kafka_addr"`      // empty until it joins
	RaftAddr    string    `json:"raft_addr"`       //
	Region      string    `json:"region,omitzero"` //
	Zone        string    `json:"zone,omitzero"`   //
	Replicas    int       `json:"replicas"`        // placed there
	Leads       int       `json:"leads"`           // partitions
}

// The states of a node.
const (
	Alive    = "alive"
	Dead     = "dead"     // it does not answer
	Expected = "expected" // it was added and has not come yet
)

// Metadata is the group that decides.
type Metadata struct {
	Leader   id.NodeID   `json:"leader"` // 0: none known
	Epoch    id.Term     `json:"epoch"`
	Nodes    []id.NodeID `json:"nodes"`              // where its replicas belong
	Voters   []id.NodeID `json:"voters"`             // as the answering node's own replica has it
	Learners []id.NodeID `json:"learners,omitempty"` // they follow, and do not count
}

// Counts sums up.
type Counts struct {
	Topics          int `json:"topics"`
	Partitions      int `json:"partitions"`
	Leaderless      int `json:"leaderless"`
	UnderReplicated int `json:"under_replicated"`
	Going           int `json:"going"` // replicas that were replaced, or whose topic was deleted, and whose files are still there
}

// Partition is one partition.
type Partition struct {
	Topic     string      `json:"topic"`
	Partition int32       `json:"partition"`
	Leader    id.NodeID   `json:"leader"` // 0: none known
	Epoch     id.Term     `json:"epoch"`
	Replicas  []id.NodeID `json:"replicas"`         // where they belong, the preferred leader first
	Lacks     []Lack      `json:"lacks,omitempty"`  // what it does not have that it should
	Unsure    bool        `json:"unsure,omitempty"` // its leader was not heard: this is what the answering node knows
}

// Lack is a replica that is not what it should be.
type Lack struct {
	Node    id.NodeID    `json:"node"`
	Replica id.ReplicaID `json:"replica"`
	Why     string       `json:"why"`
}

// Leaders is who leads what.
type Leaders struct {
	Asked      id.NodeID         `json:"asked"`
	Current    bool              `json:"current"`
	Nodes      map[id.NodeID]int `json:"nodes"` // how many partitions each leads
	Leaderless int               `json:"leaderless"`
	Partitions []Partition       `json:"partitions"`
}

// TransferRequest asks for other leaders: of one partition, or of everything that a node leads.
type TransferRequest struct {
	Topic     string    `json:"topic,omitempty"`
	Partition int32     `json:"partition,omitempty"`
	AllFrom   id.NodeID `json:"all_from,omitempty"` // instead of Topic and Partition
	To        id.NodeID `json:"to"`                 // 0, with AllFrom: to whoever of the others that hold a replica leads least
}

// TransferAnswer is what became of it. An error of one partition does not keep the others.
type TransferAnswer struct {
	Moved  []Partition `json:"moved"`
	Failed []Failed    `json:"failed"`
}

// Failed is a partition that did not get another leader, and why.
type Failed struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Why       string `json:"why"`
}

// AddRequest makes the cluster expect a node.
type AddRequest struct {
	Node     id.NodeID `json:"node"`
	RaftAddr string    `json:"raft_addr"`
}

// AddAnswer says what is to be done next, on the new machine.
type AddAnswer struct {
	Node Node   `json:"node"`
	Next string `json:"next"`
}

// RemoveRequest moves everything off a node, then forgets it.
type RemoveRequest struct {
	Node id.NodeID `json:"node"`
	To   id.NodeID `json:"to,omitempty"` // takes its place; 0: whoever has room
}

// RemoveAnswer says how far it is.
type RemoveAnswer struct {
	Gone bool `json:"gone"` // the node is forgotten
	// Moved is how many replicas were given another place by this request, Left how many of the node's its groups still count on.
	Moved int `json:"moved"`
	Left  int `json:"left"`
	// Waiting names some of those, and what for.
	Waiting []string `json:"waiting,omitempty"`
}
