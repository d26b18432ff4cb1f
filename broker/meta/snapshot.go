package meta

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"ackline/broker/id"
	"ackline/broker/meta/fields"
	"ackline/broker/meta/ticket"
	"ackline/broker/meta/topicconfig"
	"ackline/broker/statemachine"
)

// A snapshot is a frame of package statemachine with this payload (pieces as in commands; replicas is a count in two
// bytes, then node 4 and ReplicaID 8 each):
//
//	offset  size  field
//	     0     8  last applied index
//	     8     8  next GroupID
//	    16     8  next ReplicaID
//	    24     8  next producer id
//	    32     4  feature level
//	    36        cluster id str
//	              replicas of the metadata group
//	              nodes: count 4, then each as in RegisterNode, ascending by id
//	              topics: count 4, ascending by name; each is topic id 16, name str, configs, number of partitions 4,
//	                then per partition GroupID 8, replicas, and founders: count 2 (0: the replicas), then ReplicaID 8 each
//	              tombstones: count 4, ascending by group; each is GroupID 8 and replicas
//	              tickets, as package ticket encodes them; version 2 has none
const (
	snapshotVersion = 3
	snapshotOldest  = 2
	snapshotLimit   = 1 << 30 // bytes; a million partitions take about 100 MB

	offApplied      = 0
	offNextGroup    = 8
	offNextReplica  = 16
	offNextProducer = 24
	offLevel        = 32
	offCluster      = 36
)

var snapshotMagic = statemachine.Magic{'a', 'c', 'k', 'l', 'm', 'e', 't', 'a'}

// Snapshot implements statemachine.StateMachine.
func (m *Machine) Snapshot(w io.Writer) error { return m.Catalog().Snapshot(w) }

// Snapshot writes the Catalog. Equal Catalogs give equal bytes.
func (c *Catalog) Snapshot(w io.Writer) error {
	b := make([]byte, offCluster)
	binary.LittleEndian.PutUint64(b[offApplied:], uint64(c.applied))
	binary.LittleEndian.PutUint64(b[offNextGroup:], uint64(c.nextGroup))
	binary.LittleEndian.PutUint64(b[offNextReplica:], uint64(c.nextReplica))
	binary.LittleEndian.PutUint64(b[offNextProducer:], uint64(c.nextProducer))
	binary.LittleEndian.PutUint32(b[offLevel:], c.level)
	b = putReplicas(fields.AppendText(b, c.cluster), c.metadata)

	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.nodes)))
	for _, n := range c.nodes {
		b = putRegistration(b, n)
	}
	topics := c.Topics()
	b = binary.LittleEndian.AppendUint32(b, uint32(len(topics)))
	for _, t := range topics {
		b = putConfigs(fields.AppendText(append(b, t.ID[:]...), t.Name), t.Configs)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Partitions)))
		for _, p := range t.Partitions {
			b = putReplicas(binary.LittleEndian.AppendUint64(b, uint64(p.Group)), p.Replicas)
			b = fields.AppendCount(b, len(p.Founders))
			for _, r := range p.Founders {
				b = binary.LittleEndian.AppendUint64(b, uint64(r))
			}
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.tombstones)))
	for _, t := range c.tombstones {
		// A tombstone lists more replicas than a group can have when several were replaced, hence its wider count.
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Group))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Replicas)))
		for _, r := range t.Replicas {
			b = binary.LittleEndian.AppendUint64(putNode(b, r.Node), uint64(r.ID))
		}
	}
	return statemachine.WriteFrame(w, snapshotMagic, snapshotVersion, c.tickets.Append(b))
}

// Restore implements statemachine.StateMachine: it is Load and Install.
func (m *Machine) Restore(r io.Reader) error {
	next, err := Load(r)
	if err == nil {
		m.Install(next)
	}
	return err
}

// Load reads a snapshot to the end of r, without a Machine: so the reading need not hold anybody up.
func Load(r io.Reader) (*Catalog, error) {
	payload, version, err := statemachine.ReadFrame(r, snapshotMagic, snapshotVersion, snapshotLimit)
	if err == nil && version < snapshotOldest {
		err = fmt.Errorf("a snapshot of version %d; this program reads %d to %d", version, snapshotOldest, snapshotVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("meta: %w", err)
	}
	next, err := decodeCatalog(payload, version)
	if err != nil {
		return nil, fmt.Errorf("meta: restore: %w: %w", err, statemachine.ErrCorrupt)
	}
	if next.level > MaxFeatureLevel {
		return nil, fmt.Errorf("meta: restore: %w", &FeatureLevelError{Level: next.level, Supported: MaxFeatureLevel})
	}
	return next, nil
}

// Install makes a Catalog that Load returned the state. Like Apply it belongs to one goroutine at a time. The listener hears
// how it differs from the old: groups that are no more (all tombstones that are new to it among them), then those that
// moved, then new ones, each ascending.
func (m *Machine) Install(next *Catalog) { m.publish(next, difference(m.Catalog(), next)) }

// snapshotDecoder collects what must be unique across the whole snapshot.
type snapshotDecoder struct {
	decoder
	c        change
	groups   map[id.GroupID]bool
	replicas map[id.ReplicaID]bool
}

const maxCount = 1 << 24 // of anything in a snapshot; the bytes that remain are the bound that matters

func decodeCatalog(b []byte, version uint32) (*Catalog, error) {
	d := &snapshotDecoder{
		decoder:  decoder{fields.NewReader(b)},
		c:        change{Catalog: *emptyCatalog()},
		groups:   map[id.GroupID]bool{},
		replicas: map[id.ReplicaID]bool{},
	}
	c := &d.c
	c.applied = id.Index(d.U64())
	c.nextGroup, c.nextReplica, c.nextProducer = id.GroupID(d.U64()), id.ReplicaID(d.U64()), int64(d.U64())
	c.level, c.cluster = d.U32(), d.Text("cluster id", MaxString)
	d.counters()
	c.metadata = d.decoder.replicas()
	d.unique(c.metadata)
	d.nodes()
	for n, last := d.Count("topics", uint64(d.U32()), maxCount, 16), ""; n > 0 && d.Err() == nil; n-- {
		t := d.topic()
		if t.Name <= last {
			d.Fail("topic %q does not come after %q", t.Name, last)
		}
		if last = t.Name; d.Err() == nil {
			c.putTopic(t, 0)
		}
	}
	d.tombstones()
	if version > snapshotOldest {
		c.tickets = ticket.Read(&d.Reader)
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

func (d *snapshotDecoder) counters() {
	c := &d.c
	if c.nextGroup < firstGroup || c.nextGroup > maxIssued || c.nextReplica < firstReplica || c.nextReplica > maxIssued+1 ||
		c.nextProducer < firstProducer || c.nextProducer > maxIssued {
		d.Fail("counters out of range: group %d, replica %d, producer %d", c.nextGroup, c.nextReplica, c.nextProducer)
	}
}

// unique checks that ReplicaIDs were issued, each once.
func (d *snapshotDecoder) unique(list []Replica) {
	for _, r := range list {
		if r.ID >= d.c.nextReplica || d.replicas[r.ID] {
			d.Fail("replica id %d appears twice or was never issued, the next is %d", r.ID, d.c.nextReplica)
		}
		d.replicas[r.ID] = true
	}
}

func (d *snapshotDecoder) nodes() {
	for n := d.Count("nodes", uint64(d.U32()), maxCount, 20); n > 0 && d.Err() == nil; n-- {
		node := d.registration()
		if k := len(d.c.nodes); k > 0 && node.ID <= d.c.nodes[k-1].ID {
			d.Fail("node %d does not come after %d", node.ID, d.c.nodes[k-1].ID)
		}
		d.c.nodes = append(d.c.nodes, node)
	}
}

func (d *snapshotDecoder) topic() *Topic {
	t := &Topic{ID: d.topicID(), Name: d.topicName(), Configs: d.configs()}
	t.Settings = topicconfig.SettingsOf(t.Configs)
	t.Partitions = make([]Partition, d.Count("partitions", uint64(d.U32()), MaxPartitions, 24))
	if len(t.Partitions) == 0 {
		d.Fail("topic %q has no partitions", t.Name)
	}
	for i := range t.Partitions {
		p := Partition{Group: id.GroupID(d.U64()), Replicas: d.decoder.replicas()}
		for n := d.Count("founders", uint64(d.U16()), MaxReplicas, 8); n > 0; n-- {
			p.Founders = append(p.Founders, id.ReplicaID(d.U64()))
		}
		if t.Partitions[i] = p; d.Err() != nil {
			return t
		}
		if p.Group < firstGroup || p.Group >= d.c.nextGroup || d.groups[p.Group] {
			d.Fail("group %d appears twice or was never issued, the next is %d", p.Group, d.c.nextGroup)
		}
		d.groups[p.Group] = true
		if len(p.Replicas) == 0 || len(p.Replicas) != len(t.Partitions[0].Replicas) {
			d.Fail("partition %d of topic %q has %d replicas, partition 0 has %d", i, t.Name, len(p.Replicas), len(t.Partitions[0].Replicas))
		}
		d.unique(p.Replicas)
		for _, r := range p.Replicas {
			if _, found := d.c.findNode(r.Node); !found {
				d.Fail("partition %d of topic %q is on node %d, which is not registered", i, t.Name, r.Node)
			}
		}
	}
	if d.c.edit(); d.Err() == nil {
		if _, taken := d.c.topicEdit.ids.Get(t.ID); taken {
			d.Fail("topic id %s appears twice", t.ID)
		}
	}
	return t
}

func (d *snapshotDecoder) tombstones() {
	for n, last := d.Count("tombstones", uint64(d.U32()), maxCount, 24), id.GroupID(0); n > 0 && d.Err() == nil; n-- {
		t := Tombstone{Group: id.GroupID(d.U64())}
		if t.Group <= last || t.Group >= d.c.nextGroup {
			d.Fail("tombstone of group %d after %d, the next group is %d", t.Group, last, d.c.nextGroup)
		}
		last = t.Group
		t.Replicas = make([]Replica, d.Count("replicas", uint64(d.U32()), maxCount, 12))
		for i := range t.Replicas {
			t.Replicas[i] = Replica{Node: d.node(), ID: id.ReplicaID(d.U64())}
			if i > 0 && t.Replicas[i].ID <= t.Replicas[i-1].ID {
				d.Fail("replica id %d does not come after %d", t.Replicas[i].ID, t.Replicas[i-1].ID)
			}
		}
		if len(t.Replicas) == 0 {
			d.Fail("tombstone of group %d lists no replica", t.Group)
		}
		d.unique(t.Replicas)
		d.c.tombstones = append(d.c.tombstones, t)
	}
}

// difference lists what happened to groups between two Catalogs.
func difference(old, next *Catalog) []Event {
	var deleted, replaced, created []Event
	for _, t := range next.Topics() {
		for i, p := range t.Partitions {
			e := Event{Group: p.Group, Topic: t, Partition: int32(i), Replicas: p.Replicas, Gone: next.Gone(p.Group)}
			before := old.replicasOf(p.Group)
			if before == nil {
				e.Kind = GroupCreated
				created = append(created, e)
			} else if !slices.Equal(before, p.Replicas) {
				e.Kind = GroupReplaced
				replaced = append(replaced, e)
			}
		}
	}
	if len(old.metadata) > 0 && !slices.Equal(old.metadata, next.metadata) {
		replaced = append(replaced, Event{
			Kind: GroupReplaced, Group: id.MetadataGroup, Replicas: next.metadata, Gone: next.Gone(id.MetadataGroup),
		})
	}
	for _, t := range old.Topics() {
		for _, p := range t.Partitions {
			if next.replicasOf(p.Group) == nil {
				deleted = append(deleted, Event{Kind: GroupDeleted, Group: p.Group, Gone: next.Gone(p.Group)})
			}
		}
	}
	for _, t := range next.tombstones {
		if t.Group != id.MetadataGroup && next.replicasOf(t.Group) == nil && old.replicasOf(t.Group) == nil && old.Gone(t.Group) == nil {
			deleted = append(deleted, Event{Kind: GroupDeleted, Group: t.Group, Gone: t.Replicas})
		}
	}
	for _, list := range [][]Event{deleted, replaced, created} {
		slices.SortFunc(list, func(a, b Event) int { return cmp.Compare(a.Group, b.Group) })
	}
	return slices.Concat(deleted, replaced, created)
}

// replicasOf returns where a partition's group belongs, or nil.
func (c *Catalog) replicasOf(g id.GroupID) []Replica {
	t, partition := c.Group(g)
	if t == nil {
		return nil
	}
	return t.Partitions[partition].Replicas
}

// Gone returns the replicas of a group whose files must go, or nil.
func (c *Catalog) Gone(g id.GroupID) []Replica {
	i, found := c.findTombstone(g)
	if !found {
		return nil
	}
	return c.tombstones[i].Replicas
}
