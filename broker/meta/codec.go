package meta

import (
	"encoding/binary"
	"fmt"

	"ackline/broker/id"
	"ackline/broker/meta/address"
	"ackline/broker/meta/fields"
)

// The pieces that commands and snapshots are made of. Integers are little endian; a string is its length in two bytes
// and its bytes; a list is its count and its elements. There is one encoding for each value: the decoder refuses lists
// out of order and bytes behind the end, so that what decodes also encodes to the same bytes.

func putNode(b []byte, n id.NodeID) []byte { return binary.LittleEndian.AppendUint32(b, uint32(n)) }

func putFlag(b []byte, on bool) []byte {
	if on {
		return append(b, 1)
	}
	return append(b, 0)
}

func putReplicas(b []byte, rs []Replica) []byte {
	b = fields.AppendCount(b, len(rs))
	for _, r := range rs {
		b = putNode(b, r.Node)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.ID))
	}
	return b
}

func putConfigs(b []byte, cs []Config) []byte {
	b = fields.AppendCount(b, len(cs))
	for _, c := range cs {
		b = fields.AppendText(b, c.Key)
		b = fields.AppendText(b, c.Value)
	}
	return b
}

func putRegistration(b []byte, n Node) []byte {
	b = putNode(b, n.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.Incarnation))
	for _, s := range []string{n.KafkaAddr, n.RaftAddr, n.Region, n.Zone} {
		b = fields.AppendText(b, s)
	}
	return b
}

// putAssignment encodes rows of equal length: replicas per partition, partitions, nodes.
func putAssignment(b []byte, rows [][]id.NodeID) []byte {
	width := 0
	if len(rows) > 0 {
		width = len(rows[0])
	}
	b = fields.AppendCount(b, width)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rows)))
	for i, row := range rows {
		if len(row) != width {
			panic(fmt.Sprintf("meta: partition %d is assigned %d replicas and partition 0 %d", i, len(row), width))
		}
		for _, n := range row {
			b = putNode(b, n)
		}
	}
	return b
}

// decoder reads the pieces that this package has names for. It keeps the first mistake, like the Reader it is.
type decoder struct{ fields.Reader }

// MalformedError is bytes that are not a command. It stops the group.
type MalformedError = fields.MalformedError

func (d *decoder) node() id.NodeID {
	n := id.NodeID(d.U32())
	if n < 0 {
		d.Fail("node id %d is negative", n)
	}
	return n
}

func (d *decoder) flag(what string) bool {
	b := d.U8()
	if b > 1 {
		d.Fail("%s is %d, want 0 or 1", what, b)
	}
	return b == 1
}

func (d *decoder) topicID() TopicID {
	var t TopicID
	copy(t[:], d.Bytes(len(t)))
	if t.Reserved() {
		d.Fail("topic id %s is reserved", t)
	}
	return t
}

func (d *decoder) topicName() string {
	name := d.Text("topic name", MaxTopicName)
	if err := CheckTopicName(name); err != nil && d.Err() == nil {
		d.Fail("%v", err)
	}
	return name
}

func (d *decoder) replicas() []Replica {
	list := make([]Replica, d.Count("replicas", uint64(d.U16()), MaxReplicas, 12))
	for i := range list {
		list[i] = Replica{Node: d.node(), ID: id.ReplicaID(d.U64())}
		if list[i].ID == 0 {
			d.Fail("replica id 0 is nobody's")
		}
	}
	return list
}

func (d *decoder) configs() []Config {
	list := make([]Config, d.Count("configuration keys", uint64(d.U16()), MaxConfigs, 4))
	for i := range list {
		list[i] = Config{Key: d.configKey(), Value: d.Text("configuration value", MaxConfigValue)}
		if i > 0 && list[i].Key <= list[i-1].Key {
			d.Fail("configuration key %q does not come after %q", list[i].Key, list[i-1].Key)
		}
	}
	return list
}

func (d *decoder) configKey() string {
	key := d.Text("configuration key", MaxString)
	if key == "" {
		d.Fail("empty configuration key")
	}
	return key
}

func (d *decoder) registration() Node {
	n := Node{ID: d.node(), Incarnation: id.Incarnation(d.U64())}
	for _, field := range []struct {
		what string
		to   *string
	}{{"Kafka address", &n.KafkaAddr}, {"raft address", &n.RaftAddr}, {"region", &n.Region}, {"zone", &n.Zone}} {
		*field.to = d.Text(field.what, MaxString)
	}
	for i, addr := range []string{n.RaftAddr, n.KafkaAddr} {
		expected := i == 1 && addr == "" && n.Incarnation == 0
		if _, _, err := address.Split(addr); err != nil && !expected && d.Err() == nil {
			d.Fail("%v", err)
		}
	}
	return n
}

func (d *decoder) assignment() [][]id.NodeID {
	width := int(d.U16())
	if width < 1 || width > MaxReplicas {
		d.Fail("replication factor %d, want 1 to %d", width, MaxReplicas)
		return nil
	}
	n := d.Count("partitions", uint64(d.U32()), MaxPartitions, 4*width)
	if n < 1 {
		d.Fail("no partitions")
		return nil
	}
	rows, flat := make([][]id.NodeID, n), make([]id.NodeID, n*width)
	for i := range rows {
		rows[i], flat = flat[:width:width], flat[width:]
		for j := range rows[i] {
			rows[i][j] = d.node()
		}
		if a, twice := duplicate(rows[i]); twice {
			d.Fail("node %d appears twice among the replicas of a partition", a)
		}
	}
	return rows
}

// duplicate finds an element that appears twice in a short list.
func duplicate[T comparable](list []T) (T, bool) {
	for i, a := range list {
		for _, b := range list[:i] {
			if a == b {
				return a, true
			}
		}
	}
	var none T
	return none, false
}
