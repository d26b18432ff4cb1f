package meta

import (
	"fmt"
	"io"

	"ackline/broker/id"
	"ackline/broker/meta/address"
	"ackline/broker/meta/names"
	"ackline/broker/meta/topicconfig"
)

// Bounds that the command format fixes: a command beyond them cannot be encoded. What a cluster allows below them is
// policy (Limits).
const (
	MaxTopicName   = names.MaxBytes
	MaxPartitions  = 100_000 // per topic
	MaxReplicas    = 64      // per partition
	MaxConfigs     = 256     // per topic
	MaxConfigValue = 4096    // bytes
	MaxString      = 255     // bytes of any other string: addresses, region, zone, cluster id, configuration key
	MaxIDBlock     = 1 << 20 // producer ids in one block
)

// TopicID names one creation of a topic.
type TopicID = names.TopicID

// NewTopicID draws an id.
func NewTopicID(random io.Reader) (TopicID, error) { return names.NewTopicID(random) }

// CheckTopicName says what is wrong with a name by Kafka's rules.
func CheckTopicName(name string) error { return names.Check(name) }

// Node is a registered broker process.
type Node struct {
	ID          id.NodeID
	Incarnation id.Incarnation // of the data directory that registered first; 0: none has, the node is expected to join
	KafkaAddr   string         // host:port that clients are told; empty while the node is expected
	RaftAddr    string         // host:port of the peer link
	Region      string         // may be empty
	Zone        string         // Kafka's rack; may be empty
}

// KafkaHostPort splits KafkaAddr.
func (n Node) KafkaHostPort() (host string, port int32) {
	host, p, err := address.Split(n.KafkaAddr)
	if err != nil {
		panic(fmt.Sprintf("meta: node %d is registered with the Kafka address %q: %v", n.ID, n.KafkaAddr, err))
	}
	return host, int32(p)
}

// Replica is one group's presence on one node.
type Replica struct {
	Node id.NodeID
	ID   id.ReplicaID
}

// Partition is one partition's group and where its replicas belong: the intent. What the group's configuration says is
// the truth, and lags behind.
type Partition struct {
	Group    id.GroupID
	Replicas []Replica // the first is the preferred leader
	// Founders are the voters that the group began with: what its log says of its members starts from them. Nil: Replicas.
	Founders []id.ReplicaID
}

// First returns the voters that the group began with.
func (p *Partition) First() []id.ReplicaID {
	first := p.Founders
	if first == nil {
		for _, r := range p.Replicas {
			first = append(first, r.ID)
		}
	}
	return first
}

// Config is one configuration key that a topic sets.
type Config = topicconfig.Entry

// Topic is a topic as of one Catalog. It is never modified.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions []Partition          // by partition number
	Configs    []Config             // what the topic sets itself, ascending by key
	Settings   topicconfig.Settings // Configs over the defaults, parsed
}

// ReplicationFactor is how many replicas its partitions have.
func (t *Topic) ReplicationFactor() int { return len(t.Partitions[0].Replicas) }

// Tombstone lists the replicas of a group whose files must go and are still there. The group was deleted, or the
// replica was replaced by another.
type Tombstone struct {
	Group    id.GroupID
	Replicas []Replica // ascending by ReplicaID
}

// GroupReplica is one group's replica, as FilesGone names it.
type GroupReplica struct {
	Group   id.GroupID
	Replica id.ReplicaID
}

// ProducerIDs is a block of producer ids: First to First+Count-1, issued once.
type ProducerIDs struct {
	First int64
	Count int32
}
