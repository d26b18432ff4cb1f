package sim

import (
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/seglog"
)

// member is one replica of one partition on a running node: the group, the partition that it applies to, the segments.
// It stands between them, so that the truth hears of everything first.
type member struct {
	c    *Cluster
	node *node
	g    int
	id   id.ReplicaID

	part  *partition.Partition
	group *replica.Group

	members membership.Members
	brought map[id.Index]membership.Members // by entries that are about to be applied
	named   bool                            // the last snapshot was from before this replica: its configuration had to name it
	asleep  bool
	readies []readable
}

// readable is a linearizable read that may be answered once the entries up to index are applied.
type readable struct {
	index id.Index
	want  int64 // offset behind what was acknowledged when the read began
}

func (m *member) gid() id.GroupID { return groupID(m.g) }

// Apply implements replica.Applier.
func (m *member) Apply(es []replica.Entry) error {
	for i := range es {
		if m.node.dead {
			break
		}
		m.c.check(m.c.parts[m.g].truth.Applied(m.id, &es[i]))
		if ms, ok := m.brought[es[i].Index]; ok && !m.named {
			m.c.check(m.c.parts[m.g].configured(m.id, es[i].Index, ms))
		}
		delete(m.brought, es[i].Index)
	}
	return m.part.Apply(es)
}

// Lead, Follow, Committed, Dropped and Take implement replica.Observer.
func (m *member) Lead(term id.Term, tail []replica.Entry) {
	m.c.note("node %d leads group %d in term %d with %d entries unapplied", m.node.n, m.g, term, len(tail))
	m.c.did.elections++
	if m.node.full() {
		m.c.did.fullElections++
	}
	m.part.Lead(term, tail)
}
func (m *member) Follow(term id.Term, leader id.ReplicaID)    { m.part.Follow(term, leader) }
func (m *member) Committed(i id.Index, collected, sync int64) { m.part.Committed(i, collected, sync) }
func (m *member) Dropped(from id.Index, err error)            { m.part.Dropped(from, err) }

func (m *member) Take() replica.Completion { return m.part.Take() }

// Readable implements replica.Reader.
func (m *member) Readable(ctx uint64, index id.Index, err error) {
	if err == nil {
		m.readies = append(m.readies, readable{index, int64(ctx)})
	}
}

// Ticks, Leader and Configured implement replica.Host.
func (m *member) Ticks(_ id.GroupID, needed bool)   { m.asleep = !needed }
func (m *member) Leader(id.GroupID, replica.Status) {}
func (m *member) Configured(_ id.GroupID, at id.Index, ms membership.Members) {
	m.members = ms
	m.brought[at] = ms
	if m.group != nil {
		m.part.Configured(at, m.group.ConfLocked())
	}
}

// Send implements replica.Sender.
func (m *member) Send(_ id.GroupID, ms []pb.Message) {
	for i := range ms {
		m.transmit(&ms[i], 0)
	}
}

func (m *member) transmit(msg *pb.Message, snapshot int) {
	to := m.c.parts[m.g].nodeOf(id.ReplicaID(msg.To))
	if m.node.dead || to < 0 {
		return
	}
	raw, err := msg.Marshal()
	if err != nil {
		panic(err)
	}
	m.c.net.Send(m.c.now, m.node.n, to, packet{m.g, raw, snapshot})
}

// SendSnapshot implements replica.Sender.
func (m *member) SendSnapshot(_ id.GroupID, msg pb.Message, s replica.Snapshot) bool {
	snap := *msg.Snapshot
	snap.Data = s.Payload
	msg.Snapshot = &snap
	m.c.did.snapshots++
	m.c.note("node %d sends replica %d of group %d a snapshot at %d", m.node.n, msg.To, m.g, s.Index)
	token := m.c.expectReport(m, id.ReplicaID(msg.To))
	m.transmit(&msg, token)
	return true
}

// Snapshot implements replica.Snapshotter.
func (m *member) Snapshot() (replica.Snapshot, bool) {
	at, ok := m.part.SnapshotLocked()
	return replica.Snapshot{Index: at.Index, Term: at.Term, Conf: at.Conf, Payload: at.Payload}, ok
}

// Restore implements replica.Snapshotter.
func (m *member) Restore(s replica.Snapshot) error {
	known, err := s.Conf.Members()
	_, payloadConf, _, err2 := partition.DecodePayload(s.Payload)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	before, err := membership.ConfState(payloadConf).Members()
	if err != nil {
		return err
	}
	m.named = len(known.Learners) != len(before.Learners)
	m.c.did.restored++
	return m.part.RestoreLocked(s.Index, s.Term, s.Conf, s.Payload)
}

// start opens a replica from what the WAL's replay left of its partition, nil for nothing.
func (n *node) open(g int, self id.ReplicaID, part *partition.Partition) error {
	m := &member{c: n.c, node: n, g: g, id: self, brought: map[id.Index]membership.Members{}}
	if part == nil {
		part = n.c.newPartition(n)
	}
	at, conf, applied := part.Recovered()
	log, err := seglog.Open(seglog.Options{FS: n.fs, Dir: groupDir(g), Group: m.gid(), Files: n.files}, at)
	if err != nil {
		return err
	}
	if err := part.Open(log); err != nil {
		return err
	}
	m.part = part
	var st replica.State
	if s, ok := n.wal.State(m.gid()); ok {
		st = replica.State{Hard: s.Hard, Flushed: s.Flushed, FlushedTerm: s.FlushedTerm, Last: n.wal.Last(m.gid()),
			Applied: max(applied, s.Flushed), Conf: conf}
	}
	cfg := n.c.cfg
	group, err := replica.NewGroup(replica.Config{
		Group: m.gid(), Replica: self, Voters: []id.ReplicaID{1, 2, 3}, WAL: n.wal, Sender: m, Applier: m, Observer: m,
		History: part.History(), Snapshots: m, Reader: m, Host: m, Budget: n.budget, Catchup: n.catchup, UncommittedBytes: 4 << 10,
		ElectionTicks: 10, HeartbeatTicks: 1 + int(cfg.Seed%3), CommitTicks: 1, QuietTicks: n.c.quiet,
		Seed: n.c.r.Uint64(), Now: n.c.clock,
	}, st)
	if err != nil {
		return err
	}
	m.group = group
	part.Join(group)
	group.Lock()
	part.Configured(group.StatusLocked().Applied, group.ConfLocked())
	group.Unlock()
	n.members[g] = m
	return nil
}

// checkpoint moves what is applied to segments, and records that.
func (n *node) checkpoint() error {
	for _, m := range n.members {
		if m == nil {
			continue
		}
		index, term, payload, err := m.part.Checkpoint()
		if err != nil {
			return fmt.Errorf("checkpoint of group %d: %w", m.g, err)
		}
		if index != 0 {
			m.group.Checkpoint(index, term, payload)
		}
	}
	n.wal.Drive()
	return n.wal.Reclaim()
}

// retain makes a leader propose that its oldest segments go.
func (m *member) retain(keep int) error {
	segs := m.part.Segments()
	if len(segs) <= keep {
		return nil
	}
	start := segs[len(segs)-keep-1].NextOffset
	if b := m.part.Bounds(); !b.Leading || start <= b.Start || start > b.High {
		return nil
	}
	return m.part.AdvanceLogStart(start)
}

func (m *member) belongs(r id.ReplicaID) bool {
	return slices.Contains(slices.Concat(m.members.Voters, m.members.Outgoing, m.members.Learners, m.members.Next), r)
}
