package meta

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta/ticket"
	"ackline/broker/statemachine"
)

// TestCommandLayout holds encoder and decoder to the table in command.go, written out by hand. These bytes lie in logs:
// a line may be added here, never changed.
func TestCommandLayout(t *testing.T) {
	topic := TopicID{0: 0xa0, 15: 0x0f}
	const topicHex = "a0000000 00000000 00000000 0000000f"
	for _, test := range []struct {
		command Command
		hex     string
	}{
		{Bootstrap{Level: 1, ClusterID: "c1", Replicas: []Replica{{Node: 2, ID: 3}}},
			"01 01  01000000  0200 6331  0100  02000000 0300000000000000"},
		{RegisterNode{Node{ID: 1, Incarnation: 0x0102, KafkaAddr: "k:1", RaftAddr: "r:2", Region: "eu", Zone: "z"}},
			"01 02  01000000  0201000000000000  0300 6b3a31  0300 723a32  0200 6575  0100 7a"},
		{RemoveNode{Node: 258}, "01 03  02010000"},
		{CreateTopic{ID: topic, Name: "t", Configs: []Config{{Key: "a", Value: "1"}, {Key: "b", Value: ""}},
			Assignment: [][]id.NodeID{{1, 2}, {2, 3}, {3, 1}}},
			"01 04 " + topicHex + " 0100 74  0200 0100 61 0100 31 0100 62 0000  " +
				"0200 03000000  01000000 02000000  02000000 03000000  03000000 01000000"},
		{DeleteTopic{ID: topic}, "01 05 " + topicHex},
		{FilesGone{Node: 1, Replicas: []GroupReplica{{Group: 4, Replica: 5}}},
			"01 06  01000000  01000000  0400000000000000 0500000000000000"},
		{SetConfigs{ID: topic, Replace: true, Set: []Config{{Key: "a", Value: "1"}}, Delete: []string{"b", "c"}},
			"01 07 " + topicHex + " 01  0100 0100 61 0100 31  0200 0100 62 0100 63"},
		{AddPartitions{ID: topic, Before: 3, Assignment: [][]id.NodeID{{1}}},
			"01 08 " + topicHex + " 03000000  0100 01000000  01000000"},
		{ReplaceReplica{Group: 4, Old: 5, Node: 6}, "01 09  0400000000000000 0500000000000000 06000000"},
		{IssueProducerIDs{Count: 1000}, "01 0a  e8030000"},
		{SetFeatureLevel{Level: 1}, "01 0b  01000000"},
		{SetMetadataNode{Node: 258, Member: true}, "01 0c  02010000 01"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(test.command)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v:\n got %x, %v\nwant %x", test.command.Kind(), got, err, want)
			continue
		}
		if got[offVersion] != commandVersion || Kind(got[offKind]) != test.command.Kind() || len(got) <= offBody {
			t.Errorf("%v: header %x", test.command.Kind(), got[:offBody])
		}
		back, err := Decode(want)
		if err != nil || !reflect.DeepEqual(back, test.command) {
			t.Errorf("%v decodes to %+v, %v", test.command.Kind(), back, err)
		}
		for n := range want {
			var malformed *MalformedError
			if _, err := Decode(want[:n]); !errors.As(err, &malformed) {
				t.Errorf("%v cut to %d of %d bytes: %v", test.command.Kind(), n, len(want), err)
			}
		}
	}
}

// TestSnapshotLayout holds the fixed part of a snapshot to the table in snapshot.go.
func TestSnapshotLayout(t *testing.T) {
	c := founded(t, 1)
	c.create("orders", 1, 1)
	c.do(IssueProducerIDs{Count: 10})
	b := image(t, c.machine)
	payload := b[24 : len(b)-4]
	for _, field := range []struct {
		name      string
		got, want uint64
	}{
		{"last applied", binary.LittleEndian.Uint64(payload[0:]), 4},
		{"next group", binary.LittleEndian.Uint64(payload[8:]), 3},
		{"next replica", binary.LittleEndian.Uint64(payload[16:]), 3},
		{"next producer id", binary.LittleEndian.Uint64(payload[24:]), 11},
		{"feature level", uint64(binary.LittleEndian.Uint32(payload[32:])), 1},
		{"cluster id length", uint64(binary.LittleEndian.Uint16(payload[36:])), uint64(len("test-cluster"))},
		{"metadata replicas", uint64(binary.LittleEndian.Uint16(payload[50:])), 1},
		{"nodes", uint64(binary.LittleEndian.Uint32(payload[64:])), 1},
	} {
		if field.got != field.want {
			t.Errorf("%s is %d, want %d", field.name, field.got, field.want)
		}
	}
	if got := string(payload[38:50]); got != "test-cluster" {
		t.Errorf("cluster id %q", got)
	}
}

func TestEncodeRefusesWhatCannotBeApplied(t *testing.T) {
	ok := TopicID{0: 1}
	row := [][]id.NodeID{{1}}
	long := strings.Repeat("x", 70_000)
	for name, command := range map[string]Command{
		"cluster id":        Bootstrap{Level: 1},
		"level 0":           Bootstrap{ClusterID: "c"},
		"replica 0":         Bootstrap{Level: 1, ClusterID: "c", Replicas: []Replica{{Node: 1}}},
		"replica twice":     Bootstrap{Level: 1, ClusterID: "c", Replicas: []Replica{{Node: 1, ID: 1}, {Node: 2, ID: 1}}},
		"node twice":        Bootstrap{Level: 1, ClusterID: "c", Replicas: []Replica{{Node: 1, ID: 1}, {Node: 1, ID: 2}}},
		"replica id":        Bootstrap{Level: 1, ClusterID: "c", Replicas: []Replica{{Node: 1, ID: 1 << 63}}},
		"address":           RegisterNode{Node{ID: 1, KafkaAddr: "nowhere", RaftAddr: "r:1"}},
		"port 0":            RegisterNode{Node{ID: 1, KafkaAddr: "k:0", RaftAddr: "r:1"}},
		"no host":           RegisterNode{Node{ID: 1, KafkaAddr: "k:1", RaftAddr: ":1"}},
		"long region":       RegisterNode{Node{ID: 1, KafkaAddr: "k:1", RaftAddr: "r:1", Region: long}},
		"negative node":     RemoveNode{Node: -1},
		"topic name":        CreateTopic{ID: ok, Name: "a/b", Assignment: row},
		"long name":         CreateTopic{ID: ok, Name: long, Assignment: row},
		"topic id":          CreateTopic{Name: "t", Assignment: row},
		"no partitions":     CreateTopic{ID: ok, Name: "t"},
		"no replicas":       CreateTopic{ID: ok, Name: "t", Assignment: [][]id.NodeID{{}}},
		"same node":         CreateTopic{ID: ok, Name: "t", Assignment: [][]id.NodeID{{1, 1}}},
		"configs order":     CreateTopic{ID: ok, Name: "t", Assignment: row, Configs: []Config{{Key: "b"}, {Key: "a"}}},
		"configs twice":     CreateTopic{ID: ok, Name: "t", Assignment: row, Configs: []Config{{Key: "a"}, {Key: "a"}}},
		"config key":        CreateTopic{ID: ok, Name: "t", Assignment: row, Configs: []Config{{Key: ""}}},
		"config value":      CreateTopic{ID: ok, Name: "t", Assignment: row, Configs: []Config{{Key: "a", Value: long}}},
		"configs":           CreateTopic{ID: ok, Name: "t", Assignment: row, Configs: make([]Config, 70_000)},
		"deletes order":     SetConfigs{ID: ok, Delete: []string{"b", "a"}},
		"too many":          AddPartitions{ID: ok, Before: MaxPartitions, Assignment: row},
		"empty block":       IssueProducerIDs{},
		"large block":       IssueProducerIDs{Count: MaxIDBlock + 1},
		"too many replicas": FilesGone{Replicas: make([]GroupReplica, MaxPartitions+1)},
	} {
		if b, err := Encode(command); err == nil {
			t.Errorf("%s: %v encodes to %d bytes", name, command.Kind(), len(b))
		}
	}
}

func TestRaggedAssignmentPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("rows of different lengths were encoded")
		}
	}()
	_, _ = Encode(CreateTopic{ID: TopicID{0: 1}, Name: "t", Assignment: [][]id.NodeID{{1, 2}, {3}, {1, 2, 3}}})
}

// FuzzApply feeds anything to a machine with some state. It must take it or refuse it, decode it in one way only, and
// stay restorable.
func FuzzApply(f *testing.F) {
	log := workload(f, 5, 60)
	for i, data := range log {
		f.Add(data)
		f.Add(ticket.Ticket{Node: 1, Boot: 2, Number: uint64(i)}.Attach(data))
	}
	f.Add(ticket.Ticket{Node: 1, Boot: 2, Number: 3}.Attach(nil))
	base := New(nil)
	for i, data := range log {
		if _, err := base.Apply(statemachine.Entry{Index: id.Index(i + 1), Data: data}); err != nil {
			f.Fatal(err)
		}
	}
	start := base.Catalog()
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(nil)
		m.catalog.Store(start)
		_, err := m.Apply(statemachine.Entry{Index: start.Applied() + 1, Data: data})
		if err != nil {
			if m.Catalog() != start {
				t.Fatal("an error, and yet the state changed")
			}
			return
		}
		whole(t, m.Catalog())
		again := New(nil)
		saved := image(t, m)
		if err := again.Restore(bytes.NewReader(saved)); err != nil {
			t.Fatalf("a state that was reached cannot be restored: %v", err)
		}
		if !bytes.Equal(image(t, again), saved) {
			t.Fatal("a restored state differs")
		}
		_, body := ticket.Detach(data)
		if len(body) == 0 {
			return
		}
		command, err := Decode(body)
		if err != nil {
			t.Fatalf("applied and cannot be decoded: %v", err)
		}
		if back := command.appendBody([]byte{commandVersion, byte(command.Kind())}); !bytes.Equal(back, body) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", body, command, back)
		}
	})
}

// FuzzRestore feeds payloads behind a valid checksum: damage that CRC-32C missed, or a sender that is wrong.
func FuzzRestore(f *testing.F) {
	for n := range 6 {
		m := New(nil)
		for i, data := range workload(f, 9, 20*n+5) {
			if _, err := m.Apply(statemachine.Entry{Index: id.Index(i + 1), Data: data}); err != nil {
				f.Fatal(err)
			}
		}
		b := image(f, m)
		f.Add(b[24 : len(b)-4])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var framed bytes.Buffer
		if err := statemachine.WriteFrame(&framed, snapshotMagic, snapshotVersion, payload); err != nil {
			t.Fatal(err)
		}
		m := New(nil)
		if err := m.Restore(bytes.NewReader(framed.Bytes())); err != nil {
			return
		}
		whole(t, m.Catalog())
		if !bytes.Equal(image(t, m), framed.Bytes()) {
			t.Fatal("restored, and encodes to other bytes")
		}
	})
}

// TestSnapshotOfNewerLevel is a node that is too old for the cluster it is in.
func TestSnapshotOfNewerLevel(t *testing.T) {
	c := founded(t, 1)
	newer := *c.catalog()
	newer.level = MaxFeatureLevel + 1
	var b bytes.Buffer
	if err := newer.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	var level *FeatureLevelError
	if err := New(nil).Restore(&b); !errors.As(err, &level) || errors.Is(err, statemachine.ErrCorrupt) {
		t.Fatalf("restored with %v", err)
	}
}

// TestRestoreRefusesContradictions is snapshots with a valid checksum that no log could have led to.
func TestRestoreRefusesContradictions(t *testing.T) {
	c := founded(t, 3)
	kept, deleted := c.create("kept", 2, 2), c.create("deleted", 2, 2)
	c.do(DeleteTopic{ID: deleted.ID})
	topic := func(edit func(*Topic)) func(*change) {
		return func(c *change) {
			next := *kept
			next.Partitions = []Partition{kept.Partitions[0], kept.Partitions[1]}
			edit(&next)
			c.putTopic(&next, 0)
		}
	}
	for name, damage := range map[string]func(*change){
		"no group counter":         func(c *change) { c.nextGroup = 0 },
		"no replica counter":       func(c *change) { c.nextReplica = 0 },
		"no producer counter":      func(c *change) { c.nextProducer = 0 },
		"counter beyond the end":   func(c *change) { c.nextGroup = maxIssued + 1 },
		"group never issued":       func(c *change) { c.nextGroup = kept.Partitions[1].Group },
		"replica never issued":     func(c *change) { c.nextReplica = kept.Partitions[1].Replicas[1].ID },
		"metadata replica again":   func(c *change) { c.metadata = kept.Partitions[0].Replicas },
		"node missing":             func(c *change) { c.nodes = c.nodes[1:] },
		"nodes out of order":       func(c *change) { c.nodes = []Node{c.nodes[1], c.nodes[0], c.nodes[2]} },
		"tombstones out of order":  func(c *change) { c.tombstones = []Tombstone{c.tombstones[1], c.tombstones[0]} },
		"tombstone of nobody":      func(c *change) { c.tombstones = []Tombstone{{Group: 4}} },
		"tombstone never issued":   func(c *change) { c.tombstones = []Tombstone{{Group: 99, Replicas: c.tombstones[0].Replicas}} },
		"tombstone of the living":  func(c *change) { c.tombstones = []Tombstone{{Group: 2, Replicas: kept.Partitions[0].Replicas}} },
		"topic id under two names": topic(func(t *Topic) { t.Name = "copy" }),
		"group in two partitions":  topic(func(t *Topic) { t.Partitions[1].Group = t.Partitions[0].Group }),
		"replica in two groups":    topic(func(t *Topic) { t.Partitions[1].Replicas = t.Partitions[0].Replicas }),
		"no partitions":            topic(func(t *Topic) { t.Partitions = nil }),
		"partition of nobody":      topic(func(t *Topic) { t.Partitions[1].Replicas = nil }),
		"fewer replicas":           topic(func(t *Topic) { t.Partitions[1].Replicas = t.Partitions[1].Replicas[:1] }),
	} {
		next := &change{Catalog: *c.catalog()}
		damage(next)
		var b bytes.Buffer
		if err := next.finish().Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		m := New(nil)
		before := m.Catalog()
		if err := m.Restore(&b); !errors.Is(err, statemachine.ErrCorrupt) || m.Catalog() != before {
			t.Errorf("%s: restored, error %v", name, err)
		}
	}
}
