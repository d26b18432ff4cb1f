package meta

import (
	"math"
	"slices"
	"strings"

	"ackline/broker/id"
	"ackline/broker/meta/topicconfig"
)

// maxIssued bounds every counter far below the end of its type: at a million ids a second it lasts 146,000 years, so
// that counting past it is a fault and not a case to handle.
const maxIssued = math.MaxInt64 / 2

func (b Bootstrap) apply(c *change) Result {
	if c.level > 0 {
		if c.cluster == b.ClusterID {
			return Result{}
		}
		return refused(CodeInconsistentClusterID, "this is cluster %s, it cannot become %s", c.cluster, b.ClusterID)
	}
	c.level, c.cluster, c.metadata = b.Level, b.ClusterID, b.Replicas
	for _, r := range b.Replicas {
		c.nextReplica = max(c.nextReplica, r.ID+1)
	}
	return Result{}
}

func (r RegisterNode) apply(c *change) Result {
	n := r.Node
	i, found := c.findNode(n.ID)
	if found && c.nodes[i].Incarnation != n.Incarnation && c.nodes[i].Incarnation != 0 {
		return refused(CodeDuplicateNode, "node %d is registered with another data directory "+
			"(incarnation %#x, this one has %#x): start it on that directory, or under a new node id", n.ID, c.nodes[i].Incarnation, n.Incarnation)
	}
	if !found && n.Incarnation != 0 && !slices.ContainsFunc(c.metadata, func(r Replica) bool { return r.Node == n.ID }) {
		return refused(CodeNodeNotRegistered, "node %d is not a node of the cluster: it was removed, or never added", n.ID)
	}
	for _, other := range c.nodes {
		if other.ID != n.ID && (other.KafkaAddr == n.KafkaAddr && n.KafkaAddr != "" || other.RaftAddr == n.RaftAddr) {
			return refused(CodeDuplicateNode, "node %d has the addresses %s and %s, node %d announces %s and %s: "+
				"each node needs its own", other.ID, other.KafkaAddr, other.RaftAddr, n.ID, n.KafkaAddr, n.RaftAddr)
		}
	}
	if found {
		c.nodes = replace(c.nodes, i, n)
	} else {
		c.nodes = insert(c.nodes, i, n)
	}
	return Result{}
}

func (r RemoveNode) apply(c *change) Result {
	i, found := c.findNode(r.Node)
	if !found {
		return refused(CodeNodeNotRegistered, "node %d is not registered", r.Node)
	}
	held := len(slices.DeleteFunc(slices.Clone(c.metadata), func(m Replica) bool { return m.Node != r.Node }))
	for _, candidate := range c.Candidates() {
		if candidate.Node == r.Node {
			held += candidate.Replicas
		}
	}
	if held > 0 {
		return refused(CodeInvalidRequest, "node %d still holds %d replicas: move them first", r.Node, held)
	}
	c.nodes = slices.Concat(c.nodes[:i], c.nodes[i+1:])
	// Its disk is not coming back to say that the files are gone.
	c.strike(func(_ id.GroupID, replica Replica) bool { return replica.Node == r.Node })
	return Result{}
}

func refused(code Code, format string, args ...any) Result {
	return Result{Refused: refuse(code, format, args...)}
}

// strike drops the replicas that gone names from the tombstones.
func (c *change) strike(gone func(id.GroupID, Replica) bool) {
	var left []Tombstone
	for _, t := range c.tombstones {
		replicas := slices.DeleteFunc(slices.Clone(t.Replicas), func(r Replica) bool { return gone(t.Group, r) })
		if len(replicas) > 0 {
			left = append(left, Tombstone{Group: t.Group, Replicas: replicas})
		}
	}
	c.tombstones = left
}

func (t CreateTopic) apply(c *change) Result {
	if existing := c.TopicNamed(t.Name); existing != nil {
		if existing.ID == t.ID {
			return Result{Topic: existing} // the proposer tried again, not knowing that it had succeeded
		}
		return refused(CodeTopicExists, "topic '%s' already exists", t.Name)
	}
	if existing := c.TopicByID(t.ID); existing != nil {
		return refused(CodeInvalidRequest, "topic id %s belongs to topic '%s'", t.ID, existing.Name)
	}
	if r := c.unregistered(t.Assignment); r != nil {
		return Result{Refused: r}
	}
	topic := &Topic{Name: t.Name, ID: t.ID, Configs: t.Configs, Settings: topicconfig.SettingsOf(t.Configs)}
	c.addPartitions(topic, t.Assignment)
	return Result{Topic: topic}
}

func (c *change) unregistered(rows [][]id.NodeID) *Refusal {
	for i, row := range rows {
		for _, n := range row {
			if !c.joined(n) {
				return refuse(CodeInvalidReplicaAssignment, "partition %d is assigned to node %d, which is not registered", i, n)
			}
		}
	}
	return nil
}

// addPartitions appends partitions to a topic that nobody else has seen yet, and puts it into the Catalog.
func (c *change) addPartitions(t *Topic, rows [][]id.NodeID) {
	first := len(t.Partitions)
	for _, nodes := range rows {
		p := Partition{Group: c.nextGroup, Replicas: c.issue(nodes)}
		c.nextGroup++
		t.Partitions = append(t.Partitions, p)
	}
	for i, p := range t.Partitions[first:] {
		c.events = append(c.events, Event{
			Kind: GroupCreated, Group: p.Group, Topic: t, Partition: int32(first + i), Replicas: p.Replicas,
		})
	}
	c.putTopic(t, first)
}

func (d DeleteTopic) apply(c *change) Result {
	t := c.TopicByID(d.ID)
	if t == nil {
		return refused(CodeUnknownTopicID, "there is no topic with id %s", d.ID)
	}
	c.removeTopic(t)
	for _, p := range t.Partitions {
		gone := c.bury(p.Group, p.Replicas)
		c.events = append(c.events, Event{Kind: GroupDeleted, Group: p.Group, Gone: gone})
	}
	return Result{Topic: t}
}

func (f FilesGone) apply(c *change) Result {
	gone := make(map[GroupReplica]bool, len(f.Replicas))
	for _, r := range f.Replicas {
		gone[r] = true
	}
	c.strike(func(g id.GroupID, r Replica) bool { return r.Node == f.Node && gone[GroupReplica{g, r.ID}] })
	return Result{}
}

func (s SetConfigs) apply(c *change) Result {
	t := c.TopicByID(s.ID)
	if t == nil {
		return refused(CodeUnknownTopicID, "there is no topic with id %s", s.ID)
	}
	next := *t
	next.Configs = s.merge(t.Configs)
	if len(next.Configs) > MaxConfigs {
		return refused(CodeInvalidConfig, "topic '%s' would set %d configuration keys, at most %d are allowed",
			t.Name, len(next.Configs), MaxConfigs)
	}
	next.Settings = topicconfig.SettingsOf(next.Configs)
	c.putTopic(&next, len(next.Partitions))
	return Result{Topic: &next}
}

// merge returns what a topic sets after the change. A key in both Set and Delete is deleted.
func (s SetConfigs) merge(old []Config) []Config {
	values := map[string]string{}
	if !s.Replace {
		for _, o := range old {
			values[o.Key] = o.Value
		}
	}
	for _, n := range s.Set {
		values[n.Key] = n.Value
	}
	for _, key := range s.Delete {
		delete(values, key)
	}
	merged := make([]Config, 0, len(values))
	for key, value := range values {
		merged = append(merged, Config{Key: key, Value: value})
	}
	slices.SortFunc(merged, func(a, b Config) int { return strings.Compare(a.Key, b.Key) })
	return merged
}

func (a AddPartitions) apply(c *change) Result {
	t := c.TopicByID(a.ID)
	if t == nil {
		return refused(CodeUnknownTopicID, "there is no topic with id %s", a.ID)
	}
	if int(a.Before) != len(t.Partitions) {
		return refused(CodeInvalidPartitions, "topic '%s' has %d partitions by now, not %d",
			t.Name, len(t.Partitions), a.Before)
	}
	if got, want := len(a.Assignment[0]), t.ReplicationFactor(); got != want {
		return refused(CodeInvalidReplicaAssignment, "topic '%s' has %d replicas per partition, the new ones have %d",
			t.Name, want, got)
	}
	if r := c.unregistered(a.Assignment); r != nil {
		return Result{Refused: r}
	}
	next := *t
	next.Partitions = slices.Clone(t.Partitions)
	c.addPartitions(&next, a.Assignment)
	return Result{Topic: &next}
}

func (r ReplaceReplica) apply(c *change) Result {
	topic, partition := c.Group(r.Group)
	var old []Replica
	switch {
	case r.Group == id.MetadataGroup:
		old = c.metadata
	case topic != nil:
		old = topic.Partitions[partition].Replicas
	default:
		return refused(CodeUnknownPartition, "there is no group %d", r.Group)
	}
	at := slices.IndexFunc(old, func(o Replica) bool { return o.ID == r.Old })
	if at < 0 {
		return refused(CodeInvalidReplicaAssignment, "group %d has no replica %d; it has %v", r.Group, r.Old, old)
	}
	if !c.joined(r.Node) {
		return refused(CodeNodeNotRegistered, "node %d is not registered", r.Node)
	}
	gone := c.Gone(r.Group)
	for _, o := range slices.Concat(old[:at], old[at+1:], gone) { // what goes must have gone: a node holds one replica of a group
		if o.Node == r.Node {
			return refused(CodeInvalidReplicaAssignment, "node %d holds replica %d of group %d already", r.Node, o.ID, r.Group)
		}
	}
	fresh := c.issue([]id.NodeID{r.Node})[0]
	replicas := replace(old, at, fresh)
	if topic == nil {
		c.metadata = replicas
	} else {
		next := *topic
		now := Partition{Group: r.Group, Replicas: replicas, Founders: topic.Partitions[partition].First()}
		next.Partitions = replace(topic.Partitions, int(partition), now)
		c.putTopic(&next, len(next.Partitions))
		topic = &next
	}
	gone = c.bury(r.Group, old[at:at+1])
	c.events = append(c.events, Event{
		Kind: GroupReplaced, Group: r.Group, Topic: topic, Partition: partition, Replicas: replicas, Gone: gone,
	})
	return Result{Topic: topic, Replica: fresh}
}

func (s SetMetadataNode) apply(c *change) Result {
	old := c.metadata
	at := slices.IndexFunc(old, func(r Replica) bool { return r.Node == s.Node })
	var gone []Replica
	switch {
	case s.Member == (at >= 0):
		return Result{}
	case s.Member && !c.joined(s.Node):
		return refused(CodeNodeNotRegistered, "node %d is not registered", s.Node)
	case s.Member:
		c.metadata = slices.Concat(old, c.issue([]id.NodeID{s.Node}))
	case len(old) == 1:
		return refused(CodeInvalidRequest, "node %d is the only one that holds the metadata", s.Node)
	default:
		c.metadata = slices.Concat(old[:at], old[at+1:])
		gone = c.bury(id.MetadataGroup, old[at:at+1])
	}
	c.events = append(c.events, Event{Kind: GroupReplaced, Group: id.MetadataGroup, Replicas: c.metadata, Gone: gone})
	return Result{}
}

func (i IssueProducerIDs) apply(c *change) Result {
	block := ProducerIDs{First: c.nextProducer, Count: int32(i.Count)}
	c.nextProducer += int64(i.Count)
	return Result{Producers: block}
}

func (s SetFeatureLevel) apply(c *change) Result {
	if s.Level < c.level {
		return refused(CodeFeatureUpdateFailed, "the feature level is %d and cannot go back to %d", c.level, s.Level)
	}
	c.level = s.Level
	return Result{}
}
