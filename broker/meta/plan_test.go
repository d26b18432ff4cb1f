package meta

import (
	"bytes"
	"strings"
	"testing"

	"ackline/broker/id"
)

// planCase is one request to a cluster of five nodes with the topics "taken" and "with.dot".
type planCase struct {
	name       string
	request    TopicRequest
	limits     Limits
	code       Code // 0: planned
	partitions int
	replicas   int
}

func planCases() []planCase {
	rows := [][]id.NodeID{{1, 2, 3}, {3, 4, 5}}
	request := func(change func(*TopicRequest)) TopicRequest {
		r := TopicRequest{Name: "new", Partitions: -1, ReplicationFactor: -1}
		change(&r)
		return r
	}
	config := func(key, value string) TopicRequest {
		return request(func(r *TopicRequest) { r.Configs = []Config{{Key: key, Value: value}} })
	}
	assigned := func(rows ...[]id.NodeID) TopicRequest {
		return request(func(r *TopicRequest) { r.Assignment = append([][]id.NodeID{}, rows...) })
	}
	tight := Limits{DefaultPartitions: 4, PartitionsPerTopic: 8, PartitionsTotal: 10, MaxMessageBytes: 1 << 20, RefuseCollisions: true}
	return []planCase{
		{"defaults", request(func(*TopicRequest) {}), Limits{}, 0, 1, 3},
		{"default partitions", request(func(*TopicRequest) {}), tight, 0, 4, 3},
		{"numbers", request(func(r *TopicRequest) { r.Partitions, r.ReplicationFactor = 7, 5 }), Limits{}, 0, 7, 5},
		{"assignment", assigned(rows...), Limits{}, 0, 2, 3},
		{"name", request(func(r *TopicRequest) { r.Name = "a/b" }), Limits{}, CodeInvalidTopic, 0, 0},
		{"taken", request(func(r *TopicRequest) { r.Name = "taken" }), Limits{}, CodeTopicExists, 0, 0},
		{"collision", request(func(r *TopicRequest) { r.Name = "with_dot" }), Limits{}, 0, 1, 3},
		{"collision refused", request(func(r *TopicRequest) { r.Name = "with_dot" }), tight, CodeInvalidTopic, 0, 0},
		{"no partitions", request(func(r *TopicRequest) { r.Partitions = 0 }), Limits{}, CodeInvalidPartitions, 0, 0},
		{"negative partitions", request(func(r *TopicRequest) { r.Partitions = -2 }), Limits{}, CodeInvalidPartitions, 0, 0},
		{"at the limit", request(func(r *TopicRequest) { r.Partitions = 8 }), tight, 0, 8, 3},
		{"per topic", request(func(r *TopicRequest) { r.Partitions = 9 }), tight, CodeInvalidPartitions, 0, 0},
		{"in total", request(func(r *TopicRequest) { r.Partitions = 9 }), Limits{PartitionsTotal: 10}, CodePolicyViolation, 0, 0},
		{"no replicas", request(func(r *TopicRequest) { r.ReplicationFactor = 0 }), Limits{}, CodeInvalidReplicationFactor, 0, 0},
		{"more replicas than nodes", request(func(r *TopicRequest) { r.ReplicationFactor = 6 }), Limits{}, CodeInvalidReplicationFactor, 0, 0},
		{"assignment and numbers", request(func(r *TopicRequest) { r.Assignment, r.Partitions = rows, 2 }), Limits{}, CodeInvalidRequest, 0, 0},
		{"empty assignment", assigned(), Limits{}, CodeInvalidPartitions, 0, 0},
		{"ragged", assigned([]id.NodeID{1, 2}, []id.NodeID{3}), Limits{}, CodeInvalidReplicaAssignment, 0, 0},
		{"empty row", assigned([]id.NodeID{}), Limits{}, CodeInvalidReplicaAssignment, 0, 0},
		{"one node twice", assigned([]id.NodeID{1, 1}), Limits{}, CodeInvalidReplicaAssignment, 0, 0},
		{"unknown node", assigned([]id.NodeID{9}), Limits{}, CodeInvalidReplicaAssignment, 0, 0},
		{"known key", config("retention.ms", "-1"), Limits{}, 0, 1, 3},
		{"unknown key", config("retention.hours", "1"), Limits{}, CodeInvalidConfig, 0, 0},
		{"bad value", config("retention.ms", "1h"), Limits{}, CodeInvalidConfig, 0, 0},
		{"out of range", config("segment.bytes", "0"), Limits{}, CodeInvalidConfig, 0, 0},
		{"compaction", config("cleanup.policy", "compact"), Limits{}, CodeInvalidConfig, 0, 0},
		{"recompression", config("compression.type", "zstd"), Limits{}, CodeInvalidConfig, 0, 0},
		{"append time", config("message.timestamp.type", "LogAppendTime"), Limits{}, CodeInvalidConfig, 0, 0},
		{"majority in sync", config("min.insync.replicas", "2"), Limits{}, 0, 1, 3},
		{"more than a majority", config("min.insync.replicas", "3"), Limits{}, CodeInvalidConfig, 0, 0},
		{"message that fits no request", config("max.message.bytes", "1048577"), tight, CodeInvalidConfig, 0, 0},
		{"largest message", config("max.message.bytes", "1048576"), tight, 0, 4, 3},
		{"key twice", request(func(r *TopicRequest) {
			r.Configs = []Config{{Key: "retention.ms", Value: "1"}, {Key: "retention.ms", Value: "2"}}
		}), Limits{}, CodeInvalidConfig, 0, 0},
	}
}

func TestPlanCreateTopic(t *testing.T) {
	c := founded(t, 5)
	c.create("taken", 1, 1)
	c.create("with.dot", 1, 1)
	for _, test := range planCases() {
		plan, refused := c.catalog().PlanCreateTopic(test.request, test.limits, c.topicID())
		if test.code != 0 {
			if refused == nil || refused.Code != test.code {
				t.Errorf("%s: refusal %v, want code %d", test.name, refused, test.code)
			}
			continue
		}
		if refused != nil {
			t.Errorf("%s: refused: %v", test.name, refused)
			continue
		}
		topic := c.do(plan).Topic // what was planned can be applied
		if len(topic.Partitions) != test.partitions || topic.ReplicationFactor() != test.replicas {
			t.Errorf("%s: %d partitions of %d replicas, want %d of %d",
				test.name, len(topic.Partitions), topic.ReplicationFactor(), test.partitions, test.replicas)
		}
		c.do(DeleteTopic{ID: topic.ID})
	}
}

// TestDefaultReplication is min(3, nodes).
func TestDefaultReplication(t *testing.T) {
	for nodes, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3} {
		if got := founded(t, nodes).create("orders", -1, -1).ReplicationFactor(); got != want {
			t.Errorf("%d nodes: %d replicas, want %d", nodes, got, want)
		}
	}
	_, refused := founded(t, 0).catalog().PlanCreateTopic(TopicRequest{Name: "t", Partitions: -1, ReplicationFactor: -1}, Limits{}, TopicID{0: 1})
	if refused == nil || refused.Code != CodeInvalidReplicationFactor {
		t.Errorf("no nodes: %v", refused)
	}
}

func TestPlanBeforeBootstrap(t *testing.T) {
	c := New(nil).Catalog()
	_, create := c.PlanCreateTopic(TopicRequest{Name: "t", Partitions: 1, ReplicationFactor: 1}, Limits{}, TopicID{0: 1})
	_, set := c.PlanSetConfigs(TopicID{0: 1}, nil, nil, false, Limits{})
	_, add := c.PlanAddPartitions(PartitionsRequest{Topic: TopicID{0: 1}, Total: 2}, Limits{})
	for _, refused := range []*Refusal{create, set, add} {
		if refused == nil || refused.Code != CodeInvalidRequest {
			t.Errorf("planned: %v", refused)
		}
	}
}

func TestPlanAvoids(t *testing.T) {
	c := founded(t, 4)
	plan := func(replication int, avoid ...id.NodeID) map[id.NodeID]bool {
		t.Helper()
		p, refused := c.catalog().PlanCreateTopic(TopicRequest{
			Name: "t", Partitions: 8, ReplicationFactor: replication,
			Avoid: func(n id.NodeID) bool {
				return bytes.Contains([]byte{byte(avoid[0]), byte(avoid[len(avoid)-1])}, []byte{byte(n)})
			},
		}, Limits{}, TopicID{0: 1})
		if refused != nil {
			t.Fatal(refused)
		}
		used := map[id.NodeID]bool{}
		for _, row := range p.Assignment {
			for _, n := range row {
				used[n] = true
			}
		}
		return used
	}
	if used := plan(3, 2); used[2] || len(used) != 3 {
		t.Errorf("avoiding 2 of 4 nodes with 3 replicas: %v", used)
	}
	if used := plan(3, 1, 2); !used[3] || !used[4] || len(used) != 3 {
		t.Errorf("avoiding 1 and 2 of 4 nodes with 3 replicas: %v, want 3, 4 and one more", used)
	}
	if used := plan(4, 2); len(used) != 4 {
		t.Errorf("avoiding one of 4 nodes with 4 replicas: %v", used)
	}
}

func TestPlanSetConfigs(t *testing.T) {
	c := founded(t, 3)
	topic := c.create("orders", 1, 3)
	set := func(entries []Config, remove []string, replace bool) *Refusal {
		plan, refused := c.catalog().PlanSetConfigs(topic.ID, entries, remove, replace, Limits{})
		if refused == nil {
			c.do(plan)
		}
		return refused
	}
	expect := func(when string, retention, segment int64, keys int) {
		t.Helper()
		now := c.catalog().TopicByID(topic.ID)
		if now.Settings.RetentionMs != retention || now.Settings.SegmentBytes != segment || len(now.Configs) != keys {
			t.Errorf("%s: %+v, set %v", when, now.Settings, now.Configs)
		}
	}
	if topic.Settings.RetentionMs != 604800000 || topic.Settings.MaxMessageBytes != 1048588 || topic.Settings.RetentionBytes != -1 {
		t.Errorf("defaults: %+v", topic.Settings)
	}
	for _, refused := range []*Refusal{
		set([]Config{{Key: "segment.bytes", Value: "8192"}, {Key: "retention.ms", Value: "1000"}}, nil, false),
		set([]Config{{Key: "retention.ms", Value: "2000"}}, nil, false),
	} {
		if refused != nil {
			t.Fatal(refused)
		}
	}
	expect("changed", 2000, 8192, 2)
	if refused := set(nil, []string{"segment.bytes", "added.by.a.newer.version"}, false); refused != nil {
		t.Fatal(refused)
	}
	expect("deleted", 2000, 1<<30, 1)
	if refused := set([]Config{{Key: "segment.bytes", Value: "4096"}}, nil, true); refused != nil {
		t.Fatal(refused)
	}
	expect("replaced", 604800000, 4096, 1)

	for name, refused := range map[string]*Refusal{
		"unknown key":        set([]Config{{Key: "x", Value: "1"}}, nil, false),
		"bad value":          set([]Config{{Key: "retention.ms", Value: ""}}, nil, false),
		"above the majority": set([]Config{{Key: "min.insync.replicas", Value: "3"}}, nil, false),
		"deleted twice":      set(nil, []string{"a", "a"}, false),
		"empty key":          set(nil, []string{""}, false),
		"too many":           set(nil, strings.Split(strings.Repeat("a,", 300)+"a", ","), false),
	} {
		if refused == nil || refused.Code != CodeInvalidConfig {
			t.Errorf("%s: %v", name, refused)
		}
	}
	expect("refused", 604800000, 4096, 1)
	if _, refused := c.catalog().PlanSetConfigs(c.topicID(), nil, nil, false, Limits{}); refused == nil || refused.Code != CodeUnknownTopicID {
		t.Errorf("unknown topic: %v", refused)
	}
}

func TestPlanAddPartitions(t *testing.T) {
	c := founded(t, 3)
	topic := c.create("orders", 2, 2)
	for _, test := range []struct {
		name    string
		request PartitionsRequest
		limits  Limits
		code    Code
	}{
		{"unknown topic", PartitionsRequest{Topic: TopicID{0: 9}, Total: 3}, Limits{}, CodeUnknownTopicID},
		{"as many", PartitionsRequest{Topic: topic.ID, Total: 2}, Limits{}, CodeInvalidPartitions},
		{"fewer", PartitionsRequest{Topic: topic.ID, Total: 1}, Limits{}, CodeInvalidPartitions},
		{"above the limit", PartitionsRequest{Topic: topic.ID, Total: 5}, Limits{PartitionsPerTopic: 4}, CodeInvalidPartitions},
		{"above the total", PartitionsRequest{Topic: topic.ID, Total: 5}, Limits{PartitionsTotal: 4}, CodePolicyViolation},
		{"empty assignment", PartitionsRequest{Topic: topic.ID, Total: 3, Assignment: [][]id.NodeID{}}, Limits{}, CodeInvalidReplicaAssignment},
		{"wrong number of rows", PartitionsRequest{Topic: topic.ID, Total: 3, Assignment: [][]id.NodeID{{1, 2}, {2, 3}}}, Limits{}, CodeInvalidReplicaAssignment},
		{"wrong number of replicas", PartitionsRequest{Topic: topic.ID, Total: 3, Assignment: [][]id.NodeID{{1, 2, 3}}}, Limits{}, CodeInvalidReplicaAssignment},
		{"unknown node", PartitionsRequest{Topic: topic.ID, Total: 3, Assignment: [][]id.NodeID{{1, 9}}}, Limits{}, CodeInvalidReplicaAssignment},
	} {
		_, refused := c.catalog().PlanAddPartitions(test.request, test.limits)
		if refused == nil || refused.Code != test.code {
			t.Errorf("%s: refusal %v, want code %d", test.name, refused, test.code)
		}
	}
	plan, refused := c.catalog().PlanAddPartitions(PartitionsRequest{Topic: topic.ID, Total: 4}, Limits{PartitionsTotal: 4})
	c.planned(plan, refused)
	plan, refused = c.catalog().PlanAddPartitions(PartitionsRequest{Topic: topic.ID, Total: 5, Assignment: [][]id.NodeID{{3, 1}}}, Limits{})
	c.planned(plan, refused)
	got := c.catalog().TopicByID(topic.ID).Partitions
	if len(got) != 5 || got[0].Group != topic.Partitions[0].Group || got[4].Replicas[0].Node != 3 {
		t.Errorf("partitions %v", got)
	}
	if len(topic.Partitions) != 2 {
		t.Error("the topic of the earlier catalog changed")
	}
}

// TestPlansThatRace are refused by the later state, not applied twice.
func TestPlansThatRace(t *testing.T) {
	c := founded(t, 3)
	request := TopicRequest{Name: "orders", Partitions: 1, ReplicationFactor: 1}
	first, refused := c.catalog().PlanCreateTopic(request, Limits{}, c.topicID())
	second, refused2 := c.catalog().PlanCreateTopic(request, Limits{}, c.topicID())
	if refused != nil || refused2 != nil {
		t.Fatal(refused, refused2)
	}
	topic := c.do(first).Topic
	if got := c.try(second).Refused; got == nil || got.Code != CodeTopicExists {
		t.Errorf("two creations of one name: %v", got)
	}
	more, refused := c.catalog().PlanAddPartitions(PartitionsRequest{Topic: topic.ID, Total: 2}, Limits{})
	more2, refused2 := c.catalog().PlanAddPartitions(PartitionsRequest{Topic: topic.ID, Total: 2}, Limits{})
	c.planned(more, refused)
	if got := c.try(more2).Refused; refused2 != nil || got == nil || got.Code != CodeInvalidPartitions {
		t.Errorf("two additions of one partition: %v", got)
	}
}

func TestCollision(t *testing.T) {
	c := founded(t, 1)
	c.create("a.b_c", 1, 1)
	c.create("plain", 1, 1)
	for name, want := range map[string]string{
		"a_b.c": "a.b_c", "a.b.c": "a.b_c", "a_b_c": "a.b_c", "a.b_c": "", "a-b_c": "", "plain": "", "a.b_": "", "a.b_cd": "",
	} {
		if got := c.catalog().Collision(name); got != want {
			t.Errorf("%q collides with %q, want %q", name, got, want)
		}
	}
}
