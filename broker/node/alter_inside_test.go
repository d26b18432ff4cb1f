package node

import (
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/barrier"
	"ackline/broker/meta/petition"
	"ackline/broker/replica"
)

// Where leaders are to be is looked at again when a topic's configuration has changed: nothing else may happen in a cluster for hours.
func TestAlterationIsLookedAt(t *testing.T) {
	looked := 0
	m := &metaGroup{machine: meta.New(nil), look: func() { looked++ }, dirty: func() {}, Barrier: barrier.New(barrier.Config{Self: 1}),
		Desk: petition.New(1, 1, func([]byte) error { return nil })}
	apply := func(index id.Index, c meta.Command) {
		t.Helper()
		data, err := meta.Encode(c)
		if err == nil {
			err = m.Apply([]replica.Entry{{Index: index, Term: 1, Data: data}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(1, meta.Bootstrap{Level: 1, ClusterID: "test", Replicas: []meta.Replica{{Node: 1, ID: 1}}})
	apply(2, meta.RegisterNode{Node: meta.Node{ID: 1, Incarnation: 1, KafkaAddr: "n1:9092", RaftAddr: "n1:5000"}})
	apply(3, meta.CreateTopic{ID: meta.TopicID{1}, Name: "events", Assignment: [][]id.NodeID{{1}}})
	looked = 0
	apply(4, meta.IssueProducerIDs{Count: 1})
	if looked != 0 {
		t.Errorf("looked %d times for producer ids", looked)
	}
	apply(5, meta.SetConfigs{ID: meta.TopicID{1}, Set: []meta.Config{{Key: "leader.region", Value: "a"}}})
	if looked != 1 {
		t.Errorf("looked %d times after leader.region was set, want once", looked)
	}
}
