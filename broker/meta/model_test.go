package meta

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"ackline/broker/id"
)

// model is the state machine again, as plainly as it can be written: maps, changed in place, no sharing.
type model struct {
	nodes                 map[id.NodeID]Node
	topics                map[TopicID]*modelTopic
	gone                  map[GroupReplica]id.NodeID
	metadata              map[id.NodeID]id.ReplicaID
	group, replica, block uint64
}

type modelTopic struct {
	name    string
	parts   map[id.GroupID][]Replica
	order   []id.GroupID
	configs map[string]string
}

func (m *model) byName(name string) bool {
	for _, t := range m.topics {
		if t.name == name {
			return true
		}
	}
	return false
}

func (m *model) known(rows [][]id.NodeID) bool {
	for _, row := range rows {
		for _, n := range row {
			if m.nodes[n].Incarnation == 0 { // not registered, or not here yet
				return false
			}
		}
	}
	return true
}

func (m *model) add(t *modelTopic, rows [][]id.NodeID) {
	for _, row := range rows {
		g := id.GroupID(m.group)
		m.group++
		for _, n := range row {
			t.parts[g] = append(t.parts[g], Replica{n, id.ReplicaID(m.replica)})
			m.replica++
		}
		t.order = append(t.order, g)
	}
}

// apply returns whether the command is accepted.
func (m *model) apply(c Command) bool {
	switch c := c.(type) {
	case RegisterNode:
		old, known := m.nodes[c.Node.ID]
		if known && old.Incarnation != 0 && old.Incarnation != c.Node.Incarnation {
			return false
		}
		if !known && c.Node.Incarnation != 0 && m.metadata[c.Node.ID] == 0 {
			return false
		}
		m.nodes[c.Node.ID] = c.Node
	case RemoveNode:
		for _, t := range m.topics {
			for _, list := range t.parts {
				for _, r := range list {
					if r.Node == c.Node {
						return false
					}
				}
			}
		}
		if _, known := m.nodes[c.Node]; !known || m.metadata[c.Node] != 0 {
			return false
		}
		delete(m.nodes, c.Node)
		maps.DeleteFunc(m.gone, func(_ GroupReplica, n id.NodeID) bool { return n == c.Node })
	case CreateTopic:
		if old := m.topics[c.ID]; old != nil && old.name == c.Name {
			return true
		}
		if m.byName(c.Name) || m.topics[c.ID] != nil || !m.known(c.Assignment) {
			return false
		}
		t := &modelTopic{name: c.Name, parts: map[id.GroupID][]Replica{}, configs: map[string]string{}}
		for _, config := range c.Configs {
			t.configs[config.Key] = config.Value
		}
		m.topics[c.ID] = t
		m.add(t, c.Assignment)
	case SetMetadataNode:
		old := m.metadata[c.Node]
		switch {
		case c.Member == (old != 0):
		case c.Member && m.nodes[c.Node].Incarnation == 0, !c.Member && len(m.metadata) == 1:
			return false
		case c.Member:
			m.metadata[c.Node] = id.ReplicaID(m.replica)
			m.replica++
		default:
			delete(m.metadata, c.Node)
			m.gone[GroupReplica{id.MetadataGroup, old}] = c.Node
		}
	case IssueProducerIDs:
		m.block += uint64(c.Count)
	default:
		return m.applyToTopic(c)
	}
	return true
}

// applyToTopic applies the commands that need a topic.
func (m *model) applyToTopic(c Command) bool {
	switch c := c.(type) {
	case DeleteTopic:
		t := m.topics[c.ID]
		if t == nil {
			return false
		}
		for g, list := range t.parts {
			for _, r := range list {
				m.gone[GroupReplica{g, r.ID}] = r.Node
			}
		}
		delete(m.topics, c.ID)
	case FilesGone:
		for _, r := range c.Replicas {
			if m.gone[r] == c.Node {
				delete(m.gone, r)
			}
		}
	case SetConfigs:
		t := m.topics[c.ID]
		if t == nil {
			return false
		}
		if c.Replace {
			clear(t.configs)
		}
		for _, config := range c.Set {
			t.configs[config.Key] = config.Value
		}
		for _, key := range c.Delete {
			delete(t.configs, key)
		}
	case AddPartitions:
		t := m.topics[c.ID]
		if t == nil || len(t.order) != int(c.Before) || len(t.parts[t.order[0]]) != len(c.Assignment[0]) || !m.known(c.Assignment) {
			return false
		}
		m.add(t, c.Assignment)
	case ReplaceReplica:
		for _, t := range m.topics {
			list, ok := t.parts[c.Group]
			if !ok {
				continue
			}
			at := slices.IndexFunc(list, func(r Replica) bool { return r.ID == c.Old })
			if at < 0 || !m.known([][]id.NodeID{{c.Node}}) {
				return false
			}
			if held := slices.IndexFunc(list, func(r Replica) bool { return r.Node == c.Node }); held >= 0 && held != at {
				return false
			}
			for key, n := range m.gone {
				if key.Group == c.Group && n == c.Node {
					return false
				}
			}
			m.gone[GroupReplica{c.Group, c.Old}] = list[at].Node
			list[at] = Replica{c.Node, id.ReplicaID(m.replica)}
			m.replica++
			return true
		}
		return false
	}
	return true
}

// dump prints everything, in an order that depends on nothing.
func (m *model) dump() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "next %d %d %d, metadata %v\n", m.group, m.replica, m.block, m.metadata)
	for _, n := range slices.Sorted(maps.Keys(m.nodes)) {
		fmt.Fprintf(&b, "node %+v\n", m.nodes[n])
	}
	lines := []string{}
	for key, n := range m.gone {
		lines = append(lines, fmt.Sprintf("gone %d %d@%d\n", key.Group, key.Replica, n))
	}
	for topic, t := range m.topics {
		line := fmt.Sprintf("topic %s %s", t.name, topic)
		for _, key := range slices.Sorted(maps.Keys(t.configs)) {
			line += fmt.Sprintf(" %s=%s", key, t.configs[key])
		}
		for _, g := range t.order {
			line += fmt.Sprintf("; %d%s", g, replicaList(t.parts[g]))
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	for _, line := range lines {
		b.WriteString(line)
	}
	return b.String()
}

// modelOf reads a Catalog into a model.
func modelOf(c *Catalog) *model {
	m := newModel(uint64(c.nextGroup), uint64(c.nextReplica), uint64(c.nextProducer))
	for _, n := range c.Nodes() {
		m.nodes[n.ID] = n
	}
	for _, r := range c.MetadataReplicas() {
		m.metadata[r.Node] = r.ID
	}
	for _, stone := range c.Tombstones() {
		for _, r := range stone.Replicas {
			m.gone[GroupReplica{stone.Group, r.ID}] = r.Node
		}
	}
	for _, topic := range c.Topics() {
		t := &modelTopic{name: topic.Name, parts: map[id.GroupID][]Replica{}, configs: map[string]string{}}
		for _, config := range topic.Configs {
			t.configs[config.Key] = config.Value
		}
		for _, p := range topic.Partitions {
			t.order = append(t.order, p.Group)
			t.parts[p.Group] = p.Replicas
		}
		m.topics[topic.ID] = t
	}
	return m
}

func newModel(group, replica, block uint64) *model {
	return &model{
		nodes: map[id.NodeID]Node{}, topics: map[TopicID]*modelTopic{}, gone: map[GroupReplica]id.NodeID{},
		metadata: map[id.NodeID]id.ReplicaID{},
		group:    group, replica: replica, block: block,
	}
}

// TestAgainstModel runs random commands, many of them pointless, through the machine and the model.
func TestAgainstModel(t *testing.T) {
	seeds := uint64(20)
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		seeds = 2000
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 2))
		c := newCluster(t)
		c.do(Bootstrap{Level: 1, ClusterID: "model", Replicas: []Replica{{1, 1}}})
		m := newModel(2, 2, 1)
		m.metadata[1] = 1
		for step := range 150 {
			command := randomCommand(r)
			accepted := m.apply(command)
			if got := c.try(command).Refused; (got == nil) != accepted {
				t.Fatalf("seed %d step %d: %+v: refused %v, the model says accepted=%t", seed, step, command, got, accepted)
			}
			if got, want := modelOf(c.catalog()).dump(), m.dump(); got != want {
				t.Fatalf("seed %d step %d: after %+v\n%s\nthe model says\n%s", seed, step, command, got, want)
			}
			if r.IntN(20) == 0 {
				c.restart()
			}
		}
	}
}

// randomCommand draws from few names and ids, so that they meet.
func randomCommand(r *rand.Rand) Command {
	topic := TopicID{0: 1, 15: byte(r.IntN(6))}
	nodes := func(width int) []id.NodeID {
		row := make([]id.NodeID, width)
		for i, n := range r.Perm(4)[:width] {
			row[i] = id.NodeID(1 + n)
		}
		return row
	}
	width := 1 + r.IntN(3)
	rows := make([][]id.NodeID, 1+r.IntN(3))
	for i := range rows {
		rows[i] = nodes(width)
	}
	group, replica := id.GroupID(2+r.IntN(30)), id.ReplicaID(2+r.IntN(60))
	value := []Config{{Key: fmt.Sprintf("key-%d", r.IntN(3)), Value: fmt.Sprint(r.IntN(3))}}
	switch r.IntN(13) {
	case 0, 1:
		n := node(1 + r.IntN(5))
		if n.Incarnation += id.Incarnation(r.IntN(8) / 7); r.IntN(6) == 0 {
			n.Incarnation = 0
		}
		return RegisterNode{n}
	case 2:
		return RemoveNode{id.NodeID(1 + r.IntN(5))}
	case 3, 4, 5:
		name := int(topic[15])
		if r.IntN(5) == 0 {
			name = r.IntN(6)
		}
		return CreateTopic{ID: topic, Name: fmt.Sprintf("topic-%d", name), Assignment: rows, Configs: value}
	case 6:
		return DeleteTopic{topic}
	case 7:
		gone := FilesGone{Node: id.NodeID(1 + r.IntN(4))}
		for g := range id.GroupID(10) {
			gone.Replicas = append(gone.Replicas, GroupReplica{group + g, replica}, GroupReplica{group, replica + id.ReplicaID(g)})
		}
		return gone
	case 8:
		return SetConfigs{ID: topic, Replace: r.IntN(2) == 0, Set: value, Delete: []string{"key-1"}}
	case 9:
		return AddPartitions{ID: topic, Before: uint32(1 + r.IntN(4)), Assignment: rows}
	case 10:
		return ReplaceReplica{Group: group, Old: replica, Node: id.NodeID(1 + r.IntN(5))}
	case 11:
		return SetMetadataNode{Node: nodes(1)[0], Member: r.IntN(2) == 0}
	default:
		return IssueProducerIDs{Count: uint32(1 + r.IntN(5))}
	}
}
