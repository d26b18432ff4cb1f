package meta

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"ackline/broker/id"
	"ackline/broker/meta/cowmap"
	"ackline/broker/meta/placement"
	"ackline/broker/meta/ticket"
)

// Catalog is the state as of one index. It is never modified, so any number of goroutines may read it without a lock;
// slices and topics that it returns must not be modified either.
type Catalog struct {
	applied      id.Index
	cluster      string
	level        uint32
	metadata     []Replica // of the metadata group
	nodes        []Node    // ascending by ID
	topics       *topicSet
	tombstones   []Tombstone // ascending by Group
	nextGroup    id.GroupID
	nextReplica  id.ReplicaID
	nextProducer int64
	tickets      ticket.Memory // of the commands that were decided
}

// topicSet is the part of a Catalog that is large.
type topicSet struct {
	names  cowmap.Map[string, *Topic]
	ids    cowmap.Map[TopicID, *Topic]
	groups cowmap.Map[id.GroupID, placed]
	sorted func() []*Topic // by name; computed when first asked for
}

// placed says which partition a group is. It names the topic by id, so that a change of the topic leaves it alone.
type placed struct {
	topic     TopicID
	partition int32
}

// The first of each counter. Producer ids start at 1 so that the zero value of a field is nobody's id.
const (
	firstGroup    = id.MetadataGroup + 1
	firstReplica  = id.ReplicaID(1)
	firstProducer = int64(1)
)

func emptyCatalog() *Catalog {
	t := &topicSet{
		names: cowmap.New[string, *Topic](cowmap.StringShard),
		ids:   cowmap.New[TopicID, *Topic](func(t TopicID) uint8 { return cowmap.BytesShard(t[:]) }),
		// The groups of one topic are issued in a row: this keeps them in few shards.
		groups: cowmap.New[id.GroupID, placed](func(g id.GroupID) uint8 { return uint8(g / 16) }),
	}
	t.sorted = sync.OnceValue(t.sort)
	return &Catalog{topics: t, nextGroup: firstGroup, nextReplica: firstReplica, nextProducer: firstProducer}
}

func (t *topicSet) sort() []*Topic {
	list := make([]*Topic, 0, t.names.Len())
	for _, topic := range t.names.All() {
		list = append(list, topic)
	}
	slices.SortFunc(list, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Applied is the index that the Catalog includes.
func (c *Catalog) Applied() id.Index { return c.applied }

// ClusterID is the cluster's id; empty before Bootstrap.
func (c *Catalog) ClusterID() string { return c.cluster }

// FeatureLevel gates commands and formats; 0 before Bootstrap.
func (c *Catalog) FeatureLevel() uint32 { return c.level }

// MetadataReplicas is where the metadata group's own replicas belong.
func (c *Catalog) MetadataReplicas() []Replica { return c.metadata }

// Nodes lists the registered nodes, ascending by id.
func (c *Catalog) Nodes() []Node { return c.nodes }

// Node returns a registered node.
func (c *Catalog) Node(n id.NodeID) (Node, bool) {
	i, found := c.findNode(n)
	if !found {
		return Node{}, false
	}
	return c.nodes[i], true
}

// joined tells whether a node may hold replicas: it is registered, and has come.
func (c *Catalog) joined(n id.NodeID) bool {
	node, found := c.Node(n)
	return found && node.Incarnation != 0
}

func (c *Catalog) findNode(n id.NodeID) (int, bool) {
	return slices.BinarySearchFunc(c.nodes, n, func(a Node, b id.NodeID) int { return cmp.Compare(a.ID, b) })
}

// Topic returns the topic of a name as it came off the wire, or nil. It does not allocate.
func (c *Catalog) Topic(name []byte) *Topic {
	t, _ := cowmap.GetBytes(&c.topics.names, name)
	return t
}

// TopicNamed is Topic for a string.
func (c *Catalog) TopicNamed(name string) *Topic {
	t, _ := c.topics.names.Get(name)
	return t
}

// TopicByID returns a topic, or nil.
func (c *Catalog) TopicByID(t TopicID) *Topic {
	topic, _ := c.topics.ids.Get(t)
	return topic
}

// Topics lists all topics, ascending by name. The list is made once for each set of topics.
func (c *Catalog) Topics() []*Topic { return c.topics.sorted() }

// Partitions is how many partitions all topics have together.
func (c *Catalog) Partitions() int { return c.topics.groups.Len() }

// Group returns the topic and the partition number that a group holds, or nil for a group that is no partition, or no
// more.
func (c *Catalog) Group(g id.GroupID) (*Topic, int32) {
	p, found := c.topics.groups.Get(g)
	if !found {
		return nil, 0
	}
	return c.TopicByID(p.topic), p.partition
}

// Issued tells whether a group's and a replica's id have been given out: then this Catalog says where they belong, if
// anywhere.
func (c *Catalog) Issued(g id.GroupID, r id.ReplicaID) bool {
	return g < c.nextGroup && r < c.nextReplica
}

// Replicas is where a group's replicas belong; nil when there is no such group.
func (c *Catalog) Replicas(g id.GroupID) []Replica { return c.replicasOf(g) }

// Tombstones lists the groups with files that must go, ascending by group.
func (c *Catalog) Tombstones() []Tombstone { return c.tombstones }

func (c *Catalog) findTombstone(g id.GroupID) (int, bool) {
	return slices.BinarySearchFunc(c.tombstones, g, func(t Tombstone, g id.GroupID) int { return cmp.Compare(t.Group, g) })
}

// Collision returns an existing topic whose name differs from the given one only by '.' against '_', or "". Kafka
// turns both into '_' in the names of its metrics, so that two such topics share theirs.
func (c *Catalog) Collision(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	folded := fold(name)
	for _, t := range c.Topics() {
		if t.Name != name && len(t.Name) == len(name) && bytes.Equal(fold(t.Name), folded) {
			return t.Name
		}
	}
	return ""
}

func fold(name string) []byte { return bytes.ReplaceAll([]byte(name), []byte("."), []byte("_")) }

// Candidates lists the nodes with what is placed on them, for placement.Place.
func (c *Catalog) Candidates() []placement.Candidate {
	list := make([]placement.Candidate, 0, len(c.nodes))
	at := make(map[id.NodeID]*placement.Candidate, len(c.nodes))
	for _, n := range c.nodes {
		if n.Incarnation != 0 { // one that is expected holds nothing
			list = append(list, placement.Candidate{Node: n.ID, Region: n.Region, Zone: n.Zone})
			at[n.ID] = &list[len(list)-1]
		}
	}
	for _, t := range c.topics.ids.All() {
		for _, p := range t.Partitions {
			at[p.Replicas[0].Node].Leaders++
			for _, r := range p.Replicas {
				at[r.Node].Replicas++
			}
		}
	}
	return list
}
