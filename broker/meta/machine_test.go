package meta

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/statemachine"
	"ackline/broker/statemachine/machinetest"
)

func TestConforms(t *testing.T) {
	log := workload(t, 1, 160)
	machinetest.Test(t, func() statemachine.StateMachine { return New(nil) }, func(i int) []byte { return log[i] })
}

// TestTranscript is a cluster's life, as the node that listens hears it.
func TestTranscript(t *testing.T) {
	c := founded(t, 3)
	orders := c.create("orders", 2, 3)
	c.create("logs", 1, 1)
	plan, refused := c.catalog().PlanAddPartitions(PartitionsRequest{Topic: orders.ID, Total: 3}, Limits{})
	c.planned(plan, refused)
	c.join(4)
	old := c.catalog().TopicByID(orders.ID).Partitions[0].Replicas[2]
	moved := c.do(ReplaceReplica{Group: 2, Old: old.ID, Node: 4})
	c.do(ReplaceReplica{Group: 2, Old: moved.Replica.ID, Node: 4}) // the same node, under an id that has no votes
	c.do(ReplaceReplica{Group: id.MetadataGroup, Old: 1, Node: 2})
	c.do(DeleteTopic{ID: orders.ID})
	c.create("orders", 1, 2)

	want := strings.TrimSpace(`
created group 2 orders/0 on 2@1 3@2 4@3
created group 3 orders/1 on 5@2 6@3 7@1
created group 4 logs/0 on 8@3
created group 5 orders/2 on 9@1 10@2 11@3
replaced group 2 orders/0 on 2@1 3@2 12@4 gone 4@3
replaced group 2 orders/0 on 2@1 3@2 13@4 gone 4@3 12@4
replaced group 1 on 14@2 gone 1@1
deleted group 2 gone 2@1 3@2 4@3 12@4 13@4
deleted group 3 gone 5@2 6@3 7@1
deleted group 5 gone 9@1 10@2 11@3
created group 6 orders/0 on 15@1 16@2`)
	if got := strings.Join(c.events, "\n"); got != want {
		t.Fatalf("events:\n%s\nwant:\n%s", got, want)
	}
}

// TestDeleteDeleteRecreate holds names and bytes apart: a topic created again shares no id with its predecessors,
// whatever became of their files.
func TestDeleteDeleteRecreate(t *testing.T) {
	c := founded(t, 3)
	groups, replicas, topics := map[id.GroupID]bool{}, map[id.ReplicaID]bool{}, map[TopicID]bool{}
	for round := range 4 {
		topic := c.create("orders", 3, 3)
		if topics[topic.ID] {
			t.Fatalf("round %d: topic id %s again", round, topic.ID)
		}
		topics[topic.ID] = true
		for _, p := range topic.Partitions {
			if groups[p.Group] {
				t.Fatalf("round %d: group %d again", round, p.Group)
			}
			groups[p.Group] = true
			for _, r := range p.Replicas {
				if replicas[r.ID] {
					t.Fatalf("round %d: replica %d again", round, r.ID)
				}
				replicas[r.ID] = true
			}
		}
		c.do(DeleteTopic{ID: topic.ID})
		if got := c.try(DeleteTopic{ID: topic.ID}).Refused; got == nil || got.Code != CodeUnknownTopicID {
			t.Fatalf("round %d: deleted twice: %v", round, got)
		}
		if round%2 == 0 { // the files of every other creation go at once
			for _, stone := range c.catalog().Tombstones() {
				for _, r := range stone.Replicas {
					c.do(FilesGone{Node: r.Node, Replicas: []GroupReplica{{stone.Group, r.ID}}})
				}
			}
		}
		if round == 2 { // ids are not given out again after a restart either
			c.restart()
		}
	}
}

// TestTombstones follows one group's files on three nodes.
func TestTombstones(t *testing.T) {
	c := founded(t, 4)
	topic := c.create("orders", 1, 3)
	p := topic.Partitions[0]
	c.do(DeleteTopic{ID: topic.ID})
	pending := func() string {
		var lines []string
		for _, stone := range c.catalog().Tombstones() {
			lines = append(lines, fmt.Sprintf("%d:%s", stone.Group, replicaList(stone.Replicas)))
		}
		return strings.Join(lines, "; ")
	}
	expect := func(when, want string) {
		t.Helper()
		if got := pending(); got != want {
			t.Fatalf("%s: tombstones %q, want %q", when, got, want)
		}
	}
	expect("deleted", "2: 2@1 3@2 4@3")
	gone := func(n id.NodeID, r id.ReplicaID) FilesGone {
		return FilesGone{Node: n, Replicas: []GroupReplica{{p.Group, r}}}
	}
	c.do(gone(4, 2))
	expect("another node speaks for node 1", "2: 2@1 3@2 4@3")
	c.do(gone(1, 99))
	expect("another replica", "2: 2@1 3@2 4@3")
	c.do(gone(2, 3))
	expect("node 2 removed its files", "2: 2@1 4@3")
	c.do(gone(2, 3))
	expect("and says so twice", "2: 2@1 4@3")
	c.do(RemoveNode{Node: 3})
	expect("node 3 was removed from the cluster", "2: 2@1")
	c.do(gone(1, 2))
	expect("node 1 removed its files", "")
}

// TestRefusals changes nothing but the index, on every line.
func TestRefusals(t *testing.T) {
	c := founded(t, 3)
	topic := c.create("orders", 2, 3)
	other := c.topicID()
	group := topic.Partitions[0].Group
	wrongDisk := node(2)
	wrongDisk.Incarnation++
	sameAddr := node(4)
	sameAddr.Incarnation = 0
	sameAddr.KafkaAddr = node(1).KafkaAddr
	c.join(5)
	for _, test := range []struct {
		name    string
		command Command
		code    Code
	}{
		{"another cluster", Bootstrap{Level: 1, ClusterID: "other"}, CodeInconsistentClusterID},
		{"a known node with another disk", RegisterNode{Node: wrongDisk}, CodeDuplicateNode},
		{"two nodes at one address", RegisterNode{Node: sameAddr}, CodeDuplicateNode},
		{"remove an unknown node", RemoveNode{Node: 9}, CodeNodeNotRegistered},
		{"remove a node with replicas", RemoveNode{Node: 3}, CodeInvalidRequest},
		{"a name that exists", CreateTopic{ID: other, Name: "orders", Assignment: [][]id.NodeID{{1}}}, CodeTopicExists},
		{"an id that exists", CreateTopic{ID: topic.ID, Name: "other", Assignment: [][]id.NodeID{{1}}}, CodeInvalidRequest},
		{"on an unknown node", CreateTopic{ID: other, Name: "other", Assignment: [][]id.NodeID{{1, 9}}}, CodeInvalidReplicaAssignment},
		{"delete an unknown topic", DeleteTopic{ID: other}, CodeUnknownTopicID},
		{"configure an unknown topic", SetConfigs{ID: other}, CodeUnknownTopicID},
		{"extend an unknown topic", AddPartitions{ID: other, Assignment: [][]id.NodeID{{1}}}, CodeUnknownTopicID},
		{"extend what changed meanwhile", AddPartitions{ID: topic.ID, Before: 1, Assignment: [][]id.NodeID{{1, 2, 3}}}, CodeInvalidPartitions},
		{"extend with fewer replicas", AddPartitions{ID: topic.ID, Before: 2, Assignment: [][]id.NodeID{{1, 2}}}, CodeInvalidReplicaAssignment},
		{"extend on an unknown node", AddPartitions{ID: topic.ID, Before: 2, Assignment: [][]id.NodeID{{1, 2, 9}}}, CodeInvalidReplicaAssignment},
		{"replace in an unknown group", ReplaceReplica{Group: 99, Old: 2, Node: 5}, CodeUnknownPartition},
		{"replace an unknown replica", ReplaceReplica{Group: group, Old: 99, Node: 5}, CodeInvalidReplicaAssignment},
		{"replace on an unknown node", ReplaceReplica{Group: group, Old: 2, Node: 9}, CodeNodeNotRegistered},
		{"replace on a node that has one", ReplaceReplica{Group: group, Old: 2, Node: 2}, CodeInvalidReplicaAssignment},
		{"metadata on an unknown node", SetMetadataNode{Node: 9, Member: true}, CodeNodeNotRegistered},
		{"feature level back", SetFeatureLevel{Level: 0}, CodeFeatureUpdateFailed},
	} {
		before, events := c.catalog(), len(c.events)
		refused := c.try(test.command).Refused
		if refused == nil || refused.Code != test.code {
			t.Errorf("%s: refusal %v, want code %d", test.name, refused, test.code)
			continue
		}
		if refused.Error() == "" {
			t.Errorf("%s: no message", test.name)
		}
		after := *c.catalog()
		after.applied = before.applied
		var a, b bytes.Buffer
		if err := errors.Join(before.Snapshot(&a), after.Snapshot(&b)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) || len(c.events) != events {
			t.Errorf("%s: refused, and yet the state changed", test.name)
		}
	}
}

// A node that is expected holds nothing and is placed nothing on, until it comes; then its data directory is the one.
func TestExpectedNode(t *testing.T) {
	c := founded(t, 2)
	expected := node(3)
	expected.Incarnation = 0
	c.do(RegisterNode{Node: expected})
	if _, refused := c.catalog().PlanCreateTopic(TopicRequest{Name: "t", Partitions: 1, ReplicationFactor: 3}, Limits{}, c.topicID()); refused == nil ||
		refused.Code != CodeInvalidReplicationFactor {
		t.Errorf("three replicas on two nodes that are here: %v", refused)
	}
	if topic := c.create("orders", 4, -1); topic.ReplicationFactor() != 2 {
		t.Errorf("the default is %d", topic.ReplicationFactor())
	}
	for _, command := range []Command{
		CreateTopic{ID: c.topicID(), Name: "other", Assignment: [][]id.NodeID{{3}}}, SetMetadataNode{Node: 3, Member: true},
		ReplaceReplica{Group: 2, Old: 2, Node: 3},
	} {
		if c.try(command).Refused == nil {
			t.Errorf("%v places something on a node that is not here", command.Kind())
		}
	}
	c.do(RegisterNode{Node: node(3)})
	if c.try(RegisterNode{Node: expected}).Refused == nil {
		t.Error("a node that is here is announced again, and its incarnation forgotten")
	}
	if topic := c.create("more", 1, -1); topic.ReplicationFactor() != 3 {
		t.Errorf("the default is %d", topic.ReplicationFactor())
	}
}

// A group's log begins with the voters that it was created with, however often its replicas were replaced since.
func TestFoundersStay(t *testing.T) {
	c := founded(t, 4)
	p := c.create("orders", 2, 3).Partitions[0]
	want := p.First()
	if len(want) != 3 || want[0] != p.Replicas[0].ID {
		t.Fatalf("%v of %v", want, p.Replicas)
	}
	for k, old := range p.Replicas[:2] {
		n, ok := freeNode(c.catalog(), c.catalog().TopicNamed("orders").Partitions[0])
		if !ok {
			t.Fatal("no node is free")
		}
		c.do(ReplaceReplica{Group: p.Group, Old: old.ID, Node: n})
		if refused := c.try(ReplaceReplica{Group: p.Group, Old: p.Replicas[2].ID, Node: old.Node}).Refused; refused == nil {
			t.Fatalf("node %d gets a replica before its old one has gone", old.Node)
		}
		c.do(FilesGone{Node: old.Node, Replicas: []GroupReplica{{p.Group, old.ID}}})
		c.restart()
		topic := c.catalog().TopicNamed("orders")
		now := topic.Partitions[0]
		if !slices.Equal(now.First(), want) || slices.Equal(now.Replicas, p.Replicas) {
			t.Fatalf("after %d replacements the founders of %v are %v, want %v", k+1, now.Replicas, now.First(), want)
		}
		if other := topic.Partitions[1]; other.Founders != nil {
			t.Fatalf("%+v", other)
		}
	}
}

// The metadata group grows onto nodes that come and off those that go; an id is issued once.
func TestMetadataNodes(t *testing.T) {
	c := founded(t, 3)
	c.events = nil
	if c.try(SetMetadataNode{Node: 1}).Refused == nil {
		t.Error("the metadata is taken off its only node")
	}
	c.do(SetMetadataNode{Node: 2, Member: true})
	c.do(SetMetadataNode{Node: 2, Member: true})
	c.do(SetMetadataNode{Node: 3, Member: true})
	c.do(SetMetadataNode{Node: 1})
	c.do(SetMetadataNode{Node: 1})
	c.do(RemoveNode{Node: 1})
	if got := c.try(RegisterNode{Node: node(1)}).Refused; got == nil || got.Code != CodeNodeNotRegistered || !strings.Contains(got.Error(), "removed") {
		t.Errorf("what a node said of itself before it was removed arrives behind its removal: %v", got)
	}
	c.join(1)
	c.do(SetMetadataNode{Node: 3})
	c.do(SetMetadataNode{Node: 1, Member: true})
	want := "replaced group 1 on 1@1 2@2\nreplaced group 1 on 1@1 2@2 3@3\nreplaced group 1 on 2@2 3@3 gone 1@1\n" +
		"replaced group 1 on 2@2 gone 3@3\nreplaced group 1 on 2@2 4@1"
	if got := strings.Join(c.events, "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if c.try(RemoveNode{Node: 2}).Refused == nil {
		t.Error("a node is removed with a replica of the metadata group")
	}
}

func TestBeforeBootstrap(t *testing.T) {
	c := newCluster(t)
	if got := c.try(RegisterNode{Node: node(1)}).Refused; got == nil || got.Code != CodeInvalidRequest {
		t.Fatalf("a node registered before the cluster was founded: %v", got)
	}
	c.do(Bootstrap{Level: 1, ClusterID: "test-cluster", Replicas: []Replica{{1, 7}}})
	c.do(Bootstrap{Level: 1, ClusterID: "test-cluster"}) // the founder tried again
	if got := c.catalog().MetadataReplicas(); len(got) != 1 || got[0] != (Replica{1, 7}) {
		t.Fatalf("metadata replicas %v", got)
	}
	c.do(RegisterNode{Node: node(1)})
	if got := c.create("orders", 1, 1).Partitions[0].Replicas[0].ID; got != 8 {
		t.Fatalf("the first replica issued has id %d; 7 was named at the founding", got)
	}
}

func TestRetriedCreateIsOneTopic(t *testing.T) {
	c := founded(t, 1)
	create := CreateTopic{ID: c.topicID(), Name: "orders", Assignment: [][]id.NodeID{{1}}}
	first, again := c.do(create).Topic, c.do(create).Topic
	if first != again || c.catalog().Partitions() != 1 {
		t.Fatalf("the same command twice: %v and %v, %d partitions", first, again, c.catalog().Partitions())
	}
}

func TestNodeChangesItsAddress(t *testing.T) {
	c := founded(t, 2)
	moved := node(2)
	moved.KafkaAddr = "[2001:db8::2]:19092"
	c.do(RegisterNode{Node: moved})
	n, found := c.catalog().Node(2)
	if host, port := n.KafkaHostPort(); !found || host != "2001:db8::2" || port != 19092 {
		t.Fatalf("node 2 is at %s port %d", host, port)
	}
	if got := len(c.catalog().Nodes()); got != 2 {
		t.Fatalf("%d nodes", got)
	}
}

func TestProducerIDsAreIssuedOnce(t *testing.T) {
	c := founded(t, 1)
	next := int64(1)
	for _, count := range []uint32{1, 1000, 1, MaxIDBlock, 7} {
		block := c.do(IssueProducerIDs{Count: count}).Producers
		if block.First != next || block.Count != int32(count) {
			t.Fatalf("block %+v, want %d from %d", block, count, next)
		}
		next += int64(count)
	}
}

// TestUnknownCommandStops covers everything that must end the group rather than be guessed.
func TestUnknownCommandStops(t *testing.T) {
	c := founded(t, 1)
	want := image(t, c.machine)
	next := c.machine.LastApplied() + 1
	apply := func(data []byte) error {
		_, err := c.machine.Apply(statemachine.Entry{Index: next, Data: data})
		if err == nil || c.machine.LastApplied() != next-1 || !bytes.Equal(image(t, c.machine), want) {
			t.Fatalf("%x: error %v, applied %d, want an error and no change", data, err, c.machine.LastApplied())
		}
		return err
	}
	var unknown *UnknownCommandError
	if err := apply([]byte{2, 1, 0}); !errors.As(err, &unknown) || unknown.Version != 2 {
		t.Errorf("a newer version: %v", err)
	}
	for _, kind := range []byte{0, byte(len(kinds)), 255} {
		if err := apply([]byte{1, kind}); !errors.As(err, &unknown) || unknown.Kind != Kind(kind) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	var malformed *MalformedError
	for _, data := range [][]byte{{1}, {1, byte(KindDeleteTopic)}, append(c.log[0], 0)} {
		if err := apply(data); !errors.As(err, &malformed) {
			t.Errorf("%x: %v", data, err)
		}
	}
	var level *FeatureLevelError
	for _, command := range []Command{SetFeatureLevel{MaxFeatureLevel + 1}, Bootstrap{Level: MaxFeatureLevel + 1, ClusterID: "x"}} {
		data, err := Encode(command)
		if err != nil {
			t.Fatal(err)
		}
		if err := apply(data); !errors.As(err, &level) || level.Level != MaxFeatureLevel+1 {
			t.Errorf("%v: %v", command.Kind(), err)
		}
	}
}

func TestFeatureLevelGates(t *testing.T) {
	for _, test := range []struct {
		since, level uint32
		want         Code // 0 allowed
	}{
		{0, 0, 0}, {1, 0, CodeInvalidRequest}, {1, 1, 0}, {1, 2, 0}, {2, 1, CodeUnsupportedVersion}, {2, 2, 0},
	} {
		got := allowed(KindCreateTopic, test.since, test.level)
		if (got == nil) != (test.want == 0) || (got != nil && got.Code != test.want) {
			t.Errorf("since %d at level %d: %v, want code %d", test.since, test.level, got, test.want)
		}
	}
	for kind := range kinds {
		if since := kinds[kind].since; Kind(kind).known() && since > MaxFeatureLevel {
			t.Errorf("%v needs level %d, the newest is %d", Kind(kind), since, MaxFeatureLevel)
		}
	}
}

// TestRestoreTellsTheDifference compares what a node hears that follows the log with what one hears that is given
// snapshots of it now and then: played back, both must end at the same groups.
func TestRestoreTellsTheDifference(t *testing.T) {
	for seed := range uint64(20) {
		leader := founded(t, 4)
		r := rand.New(rand.NewPCG(seed, 1))
		heard := &ledger{t: t, live: map[id.GroupID]string{}, gone: map[id.GroupID]string{}}
		follower := New(heard)
		heard.catalog = follower.Catalog
		for range 12 {
			for range 1 + r.IntN(15) {
				leader.step(r)
			}
			if err := follower.Restore(bytes.NewReader(image(t, leader.machine))); err != nil {
				t.Fatal(err)
			}
			heard.check(fmt.Sprintf("seed %d, index %d", seed, leader.machine.LastApplied()))
		}
	}
}

// ledger keeps what a node would do on events.
type ledger struct {
	t       *testing.T
	catalog func() *Catalog
	live    map[id.GroupID]string
	gone    map[id.GroupID]string
}

func (l *ledger) GroupChanged(e Event) {
	_, known := l.live[e.Group]
	if e.Kind == GroupCreated && known {
		l.t.Errorf("group %d created twice", e.Group)
	}
	if e.Kind == GroupReplaced && !known {
		l.t.Errorf("group %d replaced and never created", e.Group)
	}
	delete(l.live, e.Group)
	if e.Kind != GroupDeleted {
		l.live[e.Group] = replicaList(e.Replicas)
	}
	if len(e.Gone) > 0 {
		l.gone[e.Group] = replicaList(e.Gone)
	}
}

func (l *ledger) check(when string) {
	c := l.catalog()
	if len(l.live) != c.Partitions() {
		l.t.Fatalf("%s: %d groups heard of, %d in the catalog", when, len(l.live), c.Partitions())
	}
	for g, replicas := range l.live {
		if got := replicaList(c.replicasOf(g)); got != replicas {
			l.t.Fatalf("%s: group %d heard on%s, the catalog says%s", when, g, replicas, got)
		}
	}
	for _, stone := range c.Tombstones() {
		heard := strings.Fields(l.gone[stone.Group])
		for _, r := range strings.Fields(replicaList(stone.Replicas)) {
			found := false
			for _, h := range heard {
				found = found || h == r
			}
			if !found {
				l.t.Fatalf("%s: replica %s of group %d must go and was not heard of, only %v", when, r, stone.Group, heard)
			}
		}
	}
}

// TestColdStart is what a node knows after it lost its memory: the same from the log, and from a snapshot and the rest
// of the log, wherever the snapshot was taken.
func TestColdStart(t *testing.T) {
	log := workload(t, 7, 120)
	whole := New(nil)
	images := [][]byte{image(t, whole)}
	for i, data := range log {
		if _, err := whole.Apply(statemachine.Entry{Index: id.Index(i + 1), Data: data}); err != nil {
			t.Fatal(err)
		}
		images = append(images, image(t, whole))
	}
	for at := range images {
		m := New(nil)
		if err := m.Restore(bytes.NewReader(images[at])); err != nil {
			t.Fatalf("restore at %d: %v", at, err)
		}
		for i := at; i < len(log); i++ {
			if _, err := m.Apply(statemachine.Entry{Index: id.Index(i + 1), Data: log[i]}); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(image(t, m), images[len(log)]) {
			t.Fatalf("restored at %d, the state at %d is another", at, len(log))
		}
	}
}
