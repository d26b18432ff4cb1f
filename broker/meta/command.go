package meta

import (
	"encoding/binary"
	"fmt"

	"ackline/broker/id"
	"ackline/broker/meta/fields"
)

// A command, as it stands in the group's log (integers little endian; str is a length in two bytes and the bytes;
// configs is a count in two bytes, then key str and value str each, ascending by key; assignment is the replication
// factor in two bytes, the number of partitions in four, then the node, four bytes, of each partition's each replica,
// the preferred leader first):
//
//	offset  size  field
//	     0     1  format version, 1
//	     1     1  kind
//	     2        body, by kind:
//
//	 1 Bootstrap         level 4, cluster id str, count 2, then node 4 and ReplicaID 8 each
//	 2 RegisterNode      node 4, incarnation 8, kafka address str, raft address str, region str, zone str
//	 3 RemoveNode        node 4
//	 4 CreateTopic       topic id 16, name str, configs, assignment
//	 5 DeleteTopic       topic id 16
//	 6 FilesGone         node 4, count 4, then GroupID 8 and ReplicaID 8 each
//	 7 SetConfigs        topic id 16, replace 1, configs, count 2, then key str each, ascending
//	 8 AddPartitions     topic id 16, partitions before 4, assignment
//	 9 ReplaceReplica    GroupID 8, ReplicaID 8, node 4
//	10 IssueProducerIDs  count 4
//	11 SetFeatureLevel   level 4
//	12 SetMetadataNode   node 4, member 1
//
// Nothing may follow.
const (
	commandVersion = 1
	offVersion     = 0
	offKind        = 1
	offBody        = 2
)

// Kind tells commands apart in the log.
type Kind uint8

// The kinds of commands. A number is never used again for anything else.
const (
	KindBootstrap        Kind = 1
	KindRegisterNode     Kind = 2
	KindRemoveNode       Kind = 3
	KindCreateTopic      Kind = 4
	KindDeleteTopic      Kind = 5
	KindFilesGone        Kind = 6
	KindSetConfigs       Kind = 7
	KindAddPartitions    Kind = 8
	KindReplaceReplica   Kind = 9
	KindIssueProducerIDs Kind = 10
	KindSetFeatureLevel  Kind = 11
	KindSetMetadataNode  Kind = 12
)

// MaxFeatureLevel is the newest level that this binary can work at.
const MaxFeatureLevel = 1

// kinds is indexed by Kind. since is the feature level that introduced the command; Bootstrap, which sets the first
// level, needs none.
var kinds = [...]struct {
	name   string
	since  uint32
	decode func(*decoder) Command
}{
	KindBootstrap:        {"Bootstrap", 0, decodeBootstrap},
	KindRegisterNode:     {"RegisterNode", 1, decodeRegisterNode},
	KindRemoveNode:       {"RemoveNode", 1, decodeRemoveNode},
	KindCreateTopic:      {"CreateTopic", 1, decodeCreateTopic},
	KindDeleteTopic:      {"DeleteTopic", 1, decodeDeleteTopic},
	KindFilesGone:        {"FilesGone", 1, decodeFilesGone},
	KindSetConfigs:       {"SetConfigs", 1, decodeSetConfigs},
	KindAddPartitions:    {"AddPartitions", 1, decodeAddPartitions},
	KindReplaceReplica:   {"ReplaceReplica", 1, decodeReplaceReplica},
	KindIssueProducerIDs: {"IssueProducerIDs", 1, decodeIssueProducerIDs},
	KindSetFeatureLevel:  {"SetFeatureLevel", 1, decodeSetFeatureLevel},
	KindSetMetadataNode:  {"SetMetadataNode", 1, decodeSetMetadataNode},
}

func (k Kind) known() bool { return int(k) < len(kinds) && kinds[k].decode != nil }

func (k Kind) String() string {
	if !k.known() {
		return fmt.Sprintf("command kind %d", uint8(k))
	}
	return kinds[k].name
}

// Command is one change of the state.
type Command interface {
	Kind() Kind
	appendBody(b []byte) []byte
	apply(c *change) Result // refuses before it changes anything, or not at all
}

type (
	// Bootstrap founds the cluster, once. The same again changes nothing.
	Bootstrap struct {
		Level     uint32 // first feature level
		ClusterID string
		Replicas  []Replica // of the metadata group; these ReplicaIDs are issued by being named here
	}

	// RegisterNode adds a node or changes the addresses of a known one. A known id with another incarnation is
	// refused: the disk that held its replicas, and its votes, is gone. Incarnation 0 announces a node that is to join:
	// it holds nothing until it registers itself. A node that founds the cluster needs no announcement; any other that is
	// not known is refused: what a node said before it was removed may arrive behind its removal.
	RegisterNode struct{ Node Node }

	// RemoveNode forgets a node that holds no replica any more.
	RemoveNode struct{ Node id.NodeID }

	// CreateTopic creates a topic and issues a GroupID for each partition and a ReplicaID for each replica.
	CreateTopic struct {
		ID         TopicID
		Name       string
		Configs    []Config      // ascending by key
		Assignment [][]id.NodeID // by partition, the preferred leader first; rows of equal length
	}

	// DeleteTopic deletes one creation of a topic: by id, so that a topic created again under the name is safe.
	DeleteTopic struct{ ID TopicID }

	// FilesGone strikes a node's replicas off the tombstones.
	FilesGone struct {
		Node     id.NodeID
		Replicas []GroupReplica
	}

	// SetConfigs changes what a topic sets.
	SetConfigs struct {
		ID      TopicID
		Replace bool     // drop everything that Set does not name
		Set     []Config // ascending by key
		Delete  []string // back to the default; ascending
	}

	// AddPartitions appends partitions to a topic that has Before of them.
	AddPartitions struct {
		ID         TopicID
		Before     uint32
		Assignment [][]id.NodeID // of the new ones
	}

	// ReplaceReplica moves the intent for one replica to a node, which may be its own when only the ReplicaID must not
	// be used again.
	ReplaceReplica struct {
		Group id.GroupID // MetadataGroup as well
		Old   id.ReplicaID
		Node  id.NodeID
	}

	// IssueProducerIDs takes a block of producer ids.
	IssueProducerIDs struct{ Count uint32 }

	// SetFeatureLevel raises the feature level.
	SetFeatureLevel struct{ Level uint32 }

	// SetMetadataNode says whether the metadata group belongs on a node: a replica there is issued or goes.
	SetMetadataNode struct {
		Node   id.NodeID
		Member bool
	}
)

// UnknownCommandError is a command of a version or kind that this binary does not know. It stops the group: what the
// command changes cannot be guessed.
type UnknownCommandError struct {
	Version uint8
	Kind    Kind
}

func (e *UnknownCommandError) Error() string {
	return fmt.Sprintf("unknown command (version %d, kind %d); this binary knows version %d and kinds 1 to %d: run a newer one",
		e.Version, uint8(e.Kind), commandVersion, len(kinds)-1)
}

// Encode returns a command's bytes. It fails when the command breaks a bound of the format, so that what it returns can
// be applied by every node.
func Encode(c Command) ([]byte, error) {
	b := c.appendBody([]byte{offVersion: commandVersion, offKind: byte(c.Kind())})
	if _, err := Decode(b); err != nil {
		return nil, fmt.Errorf("meta: encode %v: %w", c.Kind(), err)
	}
	return b, nil
}

// Decode parses a command. The error is an *UnknownCommandError or a *MalformedError.
func Decode(b []byte) (Command, error) {
	d := &decoder{fields.NewReader(b)}
	version, kind := d.U8(), Kind(d.U8())
	if d.Err() == nil && (version != commandVersion || !kind.known()) {
		return nil, &UnknownCommandError{Version: version, Kind: kind}
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	c := kinds[kind].decode(d)
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// Kind implements Command.
func (Bootstrap) Kind() Kind        { return KindBootstrap }
func (RegisterNode) Kind() Kind     { return KindRegisterNode }
func (RemoveNode) Kind() Kind       { return KindRemoveNode }
func (CreateTopic) Kind() Kind      { return KindCreateTopic }
func (DeleteTopic) Kind() Kind      { return KindDeleteTopic }
func (FilesGone) Kind() Kind        { return KindFilesGone }
func (SetConfigs) Kind() Kind       { return KindSetConfigs }
func (AddPartitions) Kind() Kind    { return KindAddPartitions }
func (ReplaceReplica) Kind() Kind   { return KindReplaceReplica }
func (IssueProducerIDs) Kind() Kind { return KindIssueProducerIDs }
func (SetFeatureLevel) Kind() Kind  { return KindSetFeatureLevel }
func (SetMetadataNode) Kind() Kind  { return KindSetMetadataNode }

func (c Bootstrap) appendBody(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, c.Level)
	return putReplicas(fields.AppendText(b, c.ClusterID), c.Replicas)
}

func decodeBootstrap(d *decoder) Command {
	c := Bootstrap{Level: d.U32(), ClusterID: d.Text("cluster id", MaxString), Replicas: d.replicas()}
	if c.Level == 0 {
		d.Fail("feature level 0, want at least 1")
	}
	if c.ClusterID == "" {
		d.Fail("empty cluster id")
	}
	ids, nodes := make([]id.ReplicaID, len(c.Replicas)), make([]id.NodeID, len(c.Replicas))
	for i, r := range c.Replicas {
		ids[i], nodes[i] = r.ID, r.Node
		if r.ID > maxIssued {
			d.Fail("replica id %d is above %d", r.ID, uint64(maxIssued))
		}
	}
	if a, twice := duplicate(ids); twice {
		d.Fail("replica id %d appears twice", a)
	}
	if a, twice := duplicate(nodes); twice {
		d.Fail("node %d appears twice", a)
	}
	return c
}

func (c RegisterNode) appendBody(b []byte) []byte { return putRegistration(b, c.Node) }
func decodeRegisterNode(d *decoder) Command       { return RegisterNode{Node: d.registration()} }

func (c RemoveNode) appendBody(b []byte) []byte { return putNode(b, c.Node) }
func decodeRemoveNode(d *decoder) Command       { return RemoveNode{Node: d.node()} }

func (c CreateTopic) appendBody(b []byte) []byte {
	b = fields.AppendText(append(b, c.ID[:]...), c.Name)
	return putAssignment(putConfigs(b, c.Configs), c.Assignment)
}

func decodeCreateTopic(d *decoder) Command {
	return CreateTopic{ID: d.topicID(), Name: d.topicName(), Configs: d.configs(), Assignment: d.assignment()}
}

func (c DeleteTopic) appendBody(b []byte) []byte { return append(b, c.ID[:]...) }
func decodeDeleteTopic(d *decoder) Command       { return DeleteTopic{ID: d.topicID()} }

func (c FilesGone) appendBody(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(putNode(b, c.Node), uint32(len(c.Replicas)))
	for _, r := range c.Replicas {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Group))
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Replica))
	}
	return b
}

func decodeFilesGone(d *decoder) Command {
	c := FilesGone{Node: d.node()}
	c.Replicas = make([]GroupReplica, d.Count("replicas", uint64(d.U32()), MaxPartitions, 16))
	for i := range c.Replicas {
		c.Replicas[i] = GroupReplica{Group: id.GroupID(d.U64()), Replica: id.ReplicaID(d.U64())}
	}
	return c
}

func (c SetConfigs) appendBody(b []byte) []byte {
	b = append(b, c.ID[:]...)
	b = fields.AppendCount(putConfigs(putFlag(b, c.Replace), c.Set), len(c.Delete))
	for _, key := range c.Delete {
		b = fields.AppendText(b, key)
	}
	return b
}

func decodeSetConfigs(d *decoder) Command {
	c := SetConfigs{ID: d.topicID()}
	c.Replace = d.flag("replace")
	c.Set = d.configs()
	c.Delete = make([]string, d.Count("keys to delete", uint64(d.U16()), MaxConfigs, 2))
	for i := range c.Delete {
		c.Delete[i] = d.configKey()
		if i > 0 && c.Delete[i] <= c.Delete[i-1] {
			d.Fail("configuration key %q does not come after %q", c.Delete[i], c.Delete[i-1])
		}
	}
	return c
}

func (c AddPartitions) appendBody(b []byte) []byte {
	return putAssignment(binary.LittleEndian.AppendUint32(append(b, c.ID[:]...), c.Before), c.Assignment)
}

func decodeAddPartitions(d *decoder) Command {
	c := AddPartitions{ID: d.topicID(), Before: d.U32(), Assignment: d.assignment()}
	if uint64(c.Before)+uint64(len(c.Assignment)) > MaxPartitions {
		d.Fail("%d and %d more partitions, at most %d are allowed", c.Before, len(c.Assignment), MaxPartitions)
	}
	return c
}

func (c ReplaceReplica) appendBody(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Group))
	return putNode(binary.LittleEndian.AppendUint64(b, uint64(c.Old)), c.Node)
}

func decodeReplaceReplica(d *decoder) Command {
	return ReplaceReplica{Group: id.GroupID(d.U64()), Old: id.ReplicaID(d.U64()), Node: d.node()}
}

func (c IssueProducerIDs) appendBody(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, c.Count)
}

func decodeIssueProducerIDs(d *decoder) Command {
	c := IssueProducerIDs{Count: d.U32()}
	if c.Count < 1 || c.Count > MaxIDBlock {
		d.Fail("a block of %d producer ids, want 1 to %d", c.Count, MaxIDBlock)
	}
	return c
}

func (c SetFeatureLevel) appendBody(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, c.Level)
}
func decodeSetFeatureLevel(d *decoder) Command { return SetFeatureLevel{Level: d.U32()} }

func (c SetMetadataNode) appendBody(b []byte) []byte { return putFlag(putNode(b, c.Node), c.Member) }
func decodeSetMetadataNode(d *decoder) Command {
	return SetMetadataNode{Node: d.node(), Member: d.flag("member")}
}
