package meta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/statemachine"
)

// cluster is a machine with a log, for tests that propose one command after another.
type cluster struct {
	t       testing.TB
	machine *Machine
	events  []string // one line per event heard
	log     [][]byte
	topics  uint64 // topic ids drawn
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t}
	c.machine = New(c)
	return c
}

// founded returns a cluster with nodes 1 to n, one zone each.
func founded(t testing.TB, n int) *cluster {
	c := newCluster(t)
	c.do(Bootstrap{Level: 1, ClusterID: "test-cluster", Replicas: []Replica{{Node: 1, ID: 1}}})
	for i := 1; i <= n; i++ {
		c.join(i)
	}
	return c
}

// join has a node come, and announces it first unless it is a founder.
func (c *cluster) join(i int) {
	announced := node(i)
	announced.Incarnation = 0
	if !slices.ContainsFunc(c.catalog().MetadataReplicas(), func(r Replica) bool { return r.Node == announced.ID }) {
		c.do(RegisterNode{Node: announced})
	}
	c.do(RegisterNode{Node: node(i)})
}

func node(i int) Node {
	return Node{
		ID: id.NodeID(i), Incarnation: id.Incarnation(1000 + i),
		KafkaAddr: fmt.Sprintf("node%d:9092", i), RaftAddr: fmt.Sprintf("node%d:5001", i),
		Zone: string(rune('a' + i - 1)),
	}
}

// GroupChanged implements Listener. It checks that the Catalog shows the change already.
func (c *cluster) GroupChanged(e Event) {
	topic, partition := c.catalog().Group(e.Group)
	line := fmt.Sprintf("%v group %d", e.Kind, e.Group)
	switch e.Kind {
	case GroupDeleted:
		if topic != nil {
			c.t.Errorf("%s: the catalog still has it in topic %s", line, topic.Name)
		}
	default:
		if topic != e.Topic || partition != e.Partition {
			c.t.Errorf("%s: the catalog has it as %v/%d", line, topic, partition)
		}
		if e.Topic != nil {
			line += fmt.Sprintf(" %s/%d", e.Topic.Name, e.Partition)
		}
		line += " on" + replicaList(e.Replicas)
	}
	if len(e.Gone) > 0 {
		line += " gone" + replicaList(e.Gone)
	}
	c.events = append(c.events, line)
}

// replicaList prints replicas as " replica@node".
func replicaList(list []Replica) string {
	var b bytes.Buffer
	for _, r := range list {
		fmt.Fprintf(&b, " %d@%d", r.ID, r.Node)
	}
	return b.String()
}

func (c *cluster) catalog() *Catalog { return c.machine.Catalog() }

// try applies a command and returns its result.
func (c *cluster) try(command Command) Result {
	c.t.Helper()
	data, err := Encode(command)
	if err != nil {
		c.t.Fatalf("%v", err)
	}
	c.log = append(c.log, data)
	result, err := c.machine.Apply(statemachine.Entry{Index: id.Index(len(c.log)), Term: 1, Data: data})
	if err != nil {
		c.t.Fatalf("apply %v: %v", command.Kind(), err)
	}
	return result.(Result)
}

// do applies a command that must not be refused.
func (c *cluster) do(command Command) Result {
	c.t.Helper()
	result := c.try(command)
	if result.Refused != nil {
		c.t.Fatalf("%v refused: %v", command.Kind(), result.Refused)
	}
	return result
}

func (c *cluster) topicID() TopicID {
	c.topics++
	var t TopicID
	binary.BigEndian.PutUint64(t[:], 0xabcd<<48|c.topics)
	return t
}

// create creates a topic with default configuration.
func (c *cluster) create(name string, partitions, replication int) *Topic {
	c.t.Helper()
	plan, refused := c.catalog().PlanCreateTopic(
		TopicRequest{Name: name, Partitions: partitions, ReplicationFactor: replication}, Limits{}, c.topicID())
	if refused != nil {
		c.t.Fatalf("create %s: %v", name, refused)
	}
	return c.do(plan).Topic
}

// restart replaces the machine by one that starts from its snapshot.
func (c *cluster) restart() {
	c.t.Helper()
	saved := image(c.t, c.machine)
	c.machine = New(c)
	if err := c.machine.Restore(bytes.NewReader(saved)); err != nil {
		c.t.Fatal(err)
	}
}

func image(t testing.TB, m *Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// workload is a seeded run of valid commands: founding, then topics coming, changing and going. It returns the log.
func workload(t testing.TB, seed uint64, n int) [][]byte {
	c := founded(t, 4)
	r := rand.New(rand.NewPCG(seed, 0))
	for len(c.log) < n {
		c.step(r)
	}
	return c.log
}

// step applies one random command that changes the state.
func (c *cluster) step(r *rand.Rand) {
	topics := c.catalog().Topics()
	var t *Topic
	if len(topics) > 0 {
		t = topics[r.IntN(len(topics))]
	}
	kind := r.IntN(8)
	switch {
	case kind <= 1 || t == nil:
		name := fmt.Sprintf("topic-%d", r.IntN(1000))
		if c.catalog().TopicNamed(name) != nil {
			c.do(IssueProducerIDs{Count: 1})
			return
		}
		c.create(name, 1+r.IntN(5), 1+r.IntN(3))
	case kind == 2:
		c.do(DeleteTopic{ID: t.ID})
	case kind == 3:
		value := fmt.Sprint(r.IntN(1 << 20))
		plan, refused := c.catalog().PlanSetConfigs(t.ID, []Config{{Key: "retention.ms", Value: value}}, nil, r.IntN(2) == 0, Limits{})
		c.planned(plan, refused)
	case kind == 4:
		plan, refused := c.catalog().PlanAddPartitions(PartitionsRequest{Topic: t.ID, Total: len(t.Partitions) + 1 + r.IntN(3)}, Limits{})
		c.planned(plan, refused)
	case kind == 5 && t.ReplicationFactor() < 4:
		p := t.Partitions[r.IntN(len(t.Partitions))]
		n, ok := freeNode(c.catalog(), p)
		if !ok {
			c.do(IssueProducerIDs{Count: 1})
			return
		}
		c.do(ReplaceReplica{Group: p.Group, Old: p.Replicas[0].ID, Node: n})
	case kind == 6 && len(c.catalog().Tombstones()) > 0:
		stones := c.catalog().Tombstones()
		stone := stones[r.IntN(len(stones))]
		gone := stone.Replicas[r.IntN(len(stone.Replicas))]
		c.do(FilesGone{Node: gone.Node, Replicas: []GroupReplica{{stone.Group, gone.ID}}})
	default:
		c.do(IssueProducerIDs{Count: uint32(1 + r.IntN(1000))})
	}
}

func (c *cluster) planned(command Command, refused *Refusal) {
	c.t.Helper()
	if refused != nil {
		c.t.Fatalf("plan %v: %v", command.Kind(), refused)
	}
	c.do(command)
}

// freeNode returns a node without a replica of a partition, one that is to go included.
func freeNode(c *Catalog, p Partition) (id.NodeID, bool) {
	for _, n := range c.Nodes() {
		held := false
		for _, r := range slices.Concat(c.Gone(p.Group), p.Replicas) {
			held = held || r.Node == n.ID
		}
		if !held {
			return n.ID, true
		}
	}
	return 0, false
}
