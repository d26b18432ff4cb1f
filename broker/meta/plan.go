package meta

import (
	"cmp"
	"slices"
	"strings"

	"ackline/broker/id"
	"ackline/broker/meta/placement"
	"ackline/broker/meta/topicconfig"
)

// Limits is what a cluster allows, below what the format allows. It is the proposer's: nodes need not agree on it.
type Limits struct {
	DefaultPartitions  int   // of a topic that asks for none; zero means 1
	PartitionsPerTopic int   // zero means 10,000
	PartitionsTotal    int   // of all topics; zero means 100,000
	MaxMessageBytes    int64 // largest max.message.bytes, which must fit a request; zero means 64 MiB
	RefuseCollisions   bool  // refuse a name that differs from an existing one only by '.' against '_'; false allows it
}

func (l Limits) withDefaults() Limits {
	l.DefaultPartitions = cmp.Or(l.DefaultPartitions, 1)
	l.PartitionsPerTopic = cmp.Or(l.PartitionsPerTopic, 10_000)
	l.PartitionsTotal = cmp.Or(l.PartitionsTotal, 100_000)
	l.MaxMessageBytes = cmp.Or(l.MaxMessageBytes, 64<<20)
	return l
}

// TopicRequest is what a client asks for.
type TopicRequest struct {
	Name              string
	Partitions        int           // -1 for the default, or when Assignment says it
	ReplicationFactor int           // -1 for the default, min(3, nodes), or when Assignment says it
	Assignment        [][]id.NodeID // by partition, the preferred leader first; nil lets Place decide
	Configs           []Config      // in any order

	// Avoid names nodes that get no replica as long as enough others remain, such as those that do not answer. Nil
	// avoids none.
	Avoid func(id.NodeID) bool
}

// PlanCreateTopic turns a request into a command, or says why not. It decides everything that must not be decided
// anew by each replica: defaults, placement, validity of the configuration.
func (c *Catalog) PlanCreateTopic(r TopicRequest, l Limits, topic TopicID) (CreateTopic, *Refusal) {
	l = l.withDefaults()
	if refused := c.Allows(KindCreateTopic); refused != nil {
		return CreateTopic{}, refused
	}
	if err := CheckTopicName(r.Name); err != nil {
		return CreateTopic{}, refuse(CodeInvalidTopic, "%v", err)
	}
	if c.TopicNamed(r.Name) != nil {
		return CreateTopic{}, refuse(CodeTopicExists, "topic '%s' already exists", r.Name)
	}
	if other := c.Collision(r.Name); other != "" && l.RefuseCollisions {
		return CreateTopic{}, refuse(CodeInvalidTopic, "topic '%s' collides with existing topic '%s'", r.Name, other)
	}
	rows, refused := c.planRows(r, l)
	if refused != nil {
		return CreateTopic{}, refused
	}
	configs, refused := checkConfigs(r.Configs, len(rows[0]), l)
	if refused != nil {
		return CreateTopic{}, refused
	}
	return CreateTopic{ID: topic, Name: r.Name, Configs: configs,
		Assignment: placement.Lead(rows, c.Candidates(), topicconfig.SettingsOf(configs).LeaderRegion)}, nil
}

func (c *Catalog) planRows(r TopicRequest, l Limits) ([][]id.NodeID, *Refusal) {
	if r.Assignment != nil {
		if r.Partitions != -1 || r.ReplicationFactor != -1 {
			return nil, refuse(CodeInvalidRequest, "an assignment and numbers as well (%d partitions of %d replicas): "+
				"give -1 for the numbers", r.Partitions, r.ReplicationFactor)
		}
		if refused := c.checkPartitions(len(r.Assignment), 0, l); refused != nil {
			return nil, refused
		}
		return r.Assignment, c.checkAssignment(r.Assignment)
	}
	partitions, replication := r.Partitions, r.ReplicationFactor
	if partitions == -1 {
		partitions = l.DefaultPartitions
	}
	if refused := c.checkPartitions(partitions, 0, l); refused != nil {
		return nil, refused
	}
	if replication == -1 {
		replication = min(3, len(c.Candidates()))
	}
	return c.place(partitions, replication, r.Avoid)
}

func (c *Catalog) place(partitions, replication int, avoid func(id.NodeID) bool) ([][]id.NodeID, *Refusal) {
	candidates := c.Candidates()
	if most := min(len(candidates), MaxReplicas); replication < 1 || replication > most {
		return nil, refuse(CodeInvalidReplicationFactor, "replication factor %d, want 1 to %d, the number of nodes", replication, most)
	}
	if avoid != nil {
		var good, bad []placement.Candidate
		for _, x := range candidates {
			if avoid(x.Node) {
				bad = append(bad, x)
			} else {
				good = append(good, x)
			}
		}
		candidates = append(good, bad[:max(0, replication-len(good))]...)
	}
	rows, err := placement.Place(candidates, partitions, replication)
	if err != nil {
		return nil, refuse(CodeInvalidReplicationFactor, "%v", err)
	}
	return rows, nil
}

// checkPartitions checks a topic of n partitions, had of which exist.
func (c *Catalog) checkPartitions(n, had int, l Limits) *Refusal {
	if most := min(l.PartitionsPerTopic, MaxPartitions); n < 1 || n > most {
		return refuse(CodeInvalidPartitions, "%d partitions, want 1 to %d", n, most)
	}
	if total := c.Partitions() + n - had; total > l.PartitionsTotal {
		return refuse(CodePolicyViolation, "the cluster would have %d partitions, at most %d are allowed",
			total, l.PartitionsTotal)
	}
	return nil
}

func (c *Catalog) checkAssignment(rows [][]id.NodeID) *Refusal {
	for i, row := range rows {
		if len(row) < 1 || len(row) > MaxReplicas || len(row) != len(rows[0]) {
			return refuse(CodeInvalidReplicaAssignment, "partition %d is assigned %d replicas and partition 0 %d: "+
				"all need the same number, 1 to %d", i, len(row), len(rows[0]), MaxReplicas)
		}
		if n, twice := duplicate(row); twice {
			return refuse(CodeInvalidReplicaAssignment, "partition %d is assigned to node %d twice", i, n)
		}
	}
	return (&change{Catalog: *c}).unregistered(rows)
}

// checkConfigs returns the configuration in the order that commands need.
func checkConfigs(configs []Config, replication int, l Limits) ([]Config, *Refusal) {
	sorted := slices.SortedFunc(slices.Values(configs), func(a, b Config) int { return strings.Compare(a.Key, b.Key) })
	for i, c := range sorted {
		if i > 0 && c.Key == sorted[i-1].Key {
			return nil, refuse(CodeInvalidConfig, "configuration key %s is given twice", c.Key)
		}
		k, known := topicconfig.Lookup(c.Key)
		if !known {
			return nil, refuse(CodeInvalidConfig, "unknown configuration key %s; known are %s", c.Key, topicconfig.Names())
		}
		n, err := k.Parse(c.Value)
		if err != nil {
			return nil, refuse(CodeInvalidConfig, "%v", err)
		}
		if c.Key == "max.message.bytes" && n > l.MaxMessageBytes {
			return nil, refuse(CodeInvalidConfig, "max.message.bytes=%d: want at most %d, what this cluster accepts in one request",
				n, l.MaxMessageBytes)
		}
	}
	s := topicconfig.SettingsOf(sorted)
	if majority := int64(replication/2 + 1); s.MinInSyncReplicas > majority {
		return nil, refuse(CodeInvalidConfig, "min.insync.replicas=%d: want at most %d, the majority of %d replicas: a record is "+
			"acknowledged when a majority has it on disk", s.MinInSyncReplicas, majority, replication)
	}
	return sorted, nil
}

// PlanSetConfigs turns a change of a topic's configuration into a command, or says why not. set is in any order;
// replace drops what it does not name; remove lists keys that go back to their defaults.
func (c *Catalog) PlanSetConfigs(topic TopicID, set []Config, remove []string, replace bool, l Limits) (SetConfigs, *Refusal) {
	if refused := c.Allows(KindSetConfigs); refused != nil {
		return SetConfigs{}, refused
	}
	t := c.TopicByID(topic)
	if t == nil {
		return SetConfigs{}, refuse(CodeUnknownTopicID, "there is no topic with id %s", topic)
	}
	sorted, refused := checkConfigs(set, t.ReplicationFactor(), l.withDefaults())
	if refused != nil {
		return SetConfigs{}, refused
	}
	remove = slices.Sorted(slices.Values(remove))
	for i, key := range remove {
		if i > 0 && key == remove[i-1] {
			return SetConfigs{}, refuse(CodeInvalidConfig, "configuration key %s is deleted twice", key)
		}
		// A key that this version does not know may be there from a newer one, and may go.
		if key == "" || len(key) > MaxString {
			return SetConfigs{}, refuse(CodeInvalidConfig, "a configuration key of %d bytes, want 1 to %d", len(key), MaxString)
		}
	}
	if len(remove) > MaxConfigs {
		return SetConfigs{}, refuse(CodeInvalidConfig, "%d configuration keys to delete, at most %d are allowed",
			len(remove), MaxConfigs)
	}
	return SetConfigs{ID: topic, Replace: replace, Set: sorted, Delete: remove}, nil
}

// PartitionsRequest asks for more partitions of a topic.
type PartitionsRequest struct {
	Topic      TopicID
	Total      int                  // how many it is to have
	Assignment [][]id.NodeID        // of the new ones; nil lets Place decide
	Avoid      func(id.NodeID) bool // as in TopicRequest
}

// PlanAddPartitions turns a request into a command, or says why not.
func (c *Catalog) PlanAddPartitions(r PartitionsRequest, l Limits) (AddPartitions, *Refusal) {
	if refused := c.Allows(KindAddPartitions); refused != nil {
		return AddPartitions{}, refused
	}
	t := c.TopicByID(r.Topic)
	if t == nil {
		return AddPartitions{}, refuse(CodeUnknownTopicID, "there is no topic with id %s", r.Topic)
	}
	had := len(t.Partitions)
	if r.Total <= had {
		return AddPartitions{}, refuse(CodeInvalidPartitions, "topic '%s' has %d partitions: want more than that, not %d",
			t.Name, had, r.Total)
	}
	if refused := c.checkPartitions(r.Total, had, l.withDefaults()); refused != nil {
		return AddPartitions{}, refused
	}
	if r.Assignment == nil {
		rows, refused := c.place(r.Total-had, t.ReplicationFactor(), r.Avoid)
		return AddPartitions{ID: r.Topic, Before: uint32(had), Assignment: rows}, refused
	}
	if len(r.Assignment) != r.Total-had {
		return AddPartitions{}, refuse(CodeInvalidReplicaAssignment, "%d new partitions are assigned, want %d",
			len(r.Assignment), r.Total-had)
	}
	if got := len(r.Assignment[0]); got != t.ReplicationFactor() {
		return AddPartitions{}, refuse(CodeInvalidReplicaAssignment, "the new partitions are assigned %d replicas, want the topic's %d",
			got, t.ReplicationFactor())
	}
	return AddPartitions{ID: r.Topic, Before: uint32(had), Assignment: r.Assignment}, c.checkAssignment(r.Assignment)
}
