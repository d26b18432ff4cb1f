package replica

import (
	"fmt"
	"io"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/peers"
	"ackline/broker/replica/stores"
)

// Snapshot stands for all entries up to Index, for a replica that cannot get them any more.
//
// A group whose state is its log, a partition, has snapshots of where its history begins: they carry the state as of
// Index, the entry before the first that is still there, and no data. Whoever acknowledges one counts as having everything
// below it; what follows comes as entries. Any other group's snapshot is its state.
type Snapshot struct {
	Index id.Index
	Term  id.Term // of the entry at Index
	Conf  membership.ConfState
	// Payload is what the receiver's WAL records, and its recovery finds: like a checkpoint's payload it must hold the
	// configuration too. It must fit into the WAL twice over.
	Payload []byte
	// Open, if not nil, gives what is streamed to the receiver instead of Payload. The shell there stores it, off the lock,
	// and makes of it the payload of the message that it steps. Called without the lock, more than once if need be.
	Open func() (io.ReadCloser, error)
}

// Snapshotter is a machine that can be caught up by snapshots. Both methods are called with the group's lock held.
type Snapshotter interface {
	// Snapshot returns the newest snapshot that can be sent now. If there is none it is false, and the machine prepares
	// one: it is asked again, at heartbeats. It does no I/O itself.
	Snapshot() (Snapshot, bool)
	// Restore replaces the machine's state, and its History, which begins at Index+1 from now on. The snapshot is on disk,
	// in the WAL, so that recovery finds it whatever happens from here on. An error stops the group.
	Restore(s Snapshot) error
}

// snapshots is what a leader knows of those it sends.
type snapshots struct {
	offered Snapshot // to raft, for the messages that it makes of it
	pace    peers.Pace
	failed  []uint64 // to whom one could not be sent; raft is told when it can be stepped
}

// offer implements raft.Storage's Snapshot.
func (g *Group) offer() (pb.Snapshot, error) {
	s := &g.snaps.offered
	switch {
	case g.cfg.Snapshots == nil || !g.snaps.pace.May() || g.broken != nil || g.cfg.Sender == nil:
		return pb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	case s.Index == 0:
		offered, ok := g.cfg.Snapshots.Snapshot()
		if !ok || offered.Index == 0 || offered.Index+1 < g.log.FirstIndex() {
			return pb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable // none, or it does not meet the log any more
		}
		g.checkOffer(&offered)
		*s = offered
	}
	conf, err := s.Conf.Decode(nil)
	if err != nil || len(conf.Voters) == 0 {
		panic(fmt.Sprintf("replica: group %d: a snapshot at %d with the configuration %x: %v", g.cfg.Group, s.Index, s.Conf, err))
	}
	return pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: uint64(s.Index), Term: uint64(s.Term), ConfState: conf}}, nil
}

func (g *Group) checkOffer(s *Snapshot) {
	if s.Index > g.applied {
		panic(fmt.Sprintf("replica: group %d: a snapshot at %d, and applied is %d", g.cfg.Group, s.Index, g.applied))
	}
	if first := g.log.FirstIndex(); g.cfg.History != nil && s.Index+1 > first {
		panic(fmt.Sprintf("replica: group %d: a snapshot at %d leaves out entries from %d on, which only entries carry",
			g.cfg.Group, s.Index, first))
	}
	if t, err := g.log.Term(s.Index); err == nil && t != s.Term {
		panic(fmt.Sprintf("replica: group %d: a snapshot at %d of term %d, in the log it is of term %d", g.cfg.Group, s.Index, s.Term, t))
	}
}

// sendSnapshot passes on what raft made of the snapshot that it was offered.
func (g *Group) sendSnapshot(m *pb.Message) {
	s := g.snaps.offered
	if m.Snapshot == nil || m.Snapshot.Metadata.Index != uint64(s.Index) {
		panic(fmt.Sprintf("replica: group %d: raft sends snapshot %v, it was offered one at %d", g.cfg.Group, m.Snapshot, s.Index))
	}
	g.counters.Snapshots++
	g.pauseSnapshots(m.To, s.Index)
	if !g.cfg.Sender.SendSnapshot(g.cfg.Group, *m, s) {
		g.snaps.failed = append(g.snaps.failed, m.To)
	}
}

// settleSnapshots is called when raft can be stepped again.
func (g *Group) settleSnapshots() {
	g.snaps.offered = Snapshot{}
	for _, r := range g.snaps.failed {
		g.snapshotSent(r, false)
	}
	g.snaps.failed = g.snaps.failed[:0]
}

// pauseSnapshots is called when one at index at is sent to r.
func (g *Group) pauseSnapshots(r uint64, at id.Index) {
	vain := false
	if p := g.peers.Of(r); p != nil {
		vain = p.Snapshot != 0 && slices.ContainsFunc(g.progress(), func(q Progress) bool {
			return q.Replica == id.ReplicaID(r) && q.Match < p.Snapshot
		})
		p.Snapshot = at
	}
	g.snaps.pace.Sent(vain)
}

func (g *Group) snapshotSent(r uint64, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
		g.snaps.pace.Failed()
	}
	g.rn.ReportSnapshot(r, status)
}

// ReportSnapshot tells how sending a snapshot to a replica ended.
func (g *Group) ReportSnapshot(to id.ReplicaID, ok bool) {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil && g.status.IsLead {
		g.wake()
		g.snapshotSent(uint64(to), ok)
		g.handleReady()
	}
}

// checkSnapshot refuses a snapshot that the WAL could not record.
func (g *Group) checkSnapshot(m *pb.Message) error {
	switch {
	case g.cfg.Snapshots == nil:
		return fmt.Errorf("%w: group %d takes no snapshots", ErrRefused, g.cfg.Group)
	case m.Snapshot == nil || m.Snapshot.Metadata.Index == 0 || len(m.Snapshot.Metadata.ConfState.Voters) == 0:
		return fmt.Errorf("%w: group %d: snapshot %v from replica %d", ErrRefused, g.cfg.Group, m.Snapshot, m.From)
	}
	if n, most := int64(len(m.Snapshot.Data)), g.cfg.WAL.LargestBatch()/2; n > most {
		return fmt.Errorf("%w: group %d: a snapshot whose payload has %d bytes; the WAL takes %d", ErrRefused, g.cfg.Group, n, most)
	}
	return nil
}

// name makes a snapshot's configuration name this replica, as a learner, if it does not. The snapshot may be older than the
// replica: a partition's always is, when the replica is new. Raft does not take one that leaves it out. The entry that
// made it a learner comes behind the snapshot and changes nothing then.
func (g *Group) name(m *pb.Message) {
	self := uint64(g.cfg.Replica)
	if slices.Contains(membership.Everyone(&m.Snapshot.Metadata.ConfState), self) {
		return
	}
	s := *m.Snapshot
	conf := &s.Metadata.ConfState
	conf.Learners = append(slices.Clone(conf.Learners), self)
	m.Snapshot = &s
}

// storeSnapshot puts a snapshot in the log's place. It takes effect in this order: raft and the log go on behind it now,
// the WAL records it, the machine restores it, raft answers the leader.
func (g *Group) storeSnapshot(s *pb.Snapshot) {
	at := &s.Metadata
	if id.Index(at.Index) <= g.applied || id.Index(at.Index) < g.old.Flushed() {
		panic(fmt.Sprintf("replica: group %d: a snapshot at %d for a replica that has applied %d and flushed %d", g.cfg.Group,
			at.Index, g.applied, g.old.Flushed()))
	}
	g.log.Reset(id.Index(at.Index), id.Term(at.Term))
	g.old.Flush(id.Index(at.Index), id.Term(at.Term))
	g.snapshotAt = id.Index(at.Index)
	g.restoring++
	g.setConf(at.ConfState, id.Index(at.Index))
	g.stores.AddSnapshot(&stores.Snapshot{Index: g.snapshotAt, Term: id.Term(at.Term), Conf: membership.Encode(at.ConfState), Payload: s.Data})
	g.cfg.WAL.SignalCheckpoint(g) // it gives space free, so it may go when entries may not
}

// restore hands the machine a snapshot that is durable.
func (g *Group) restore(s *stores.Snapshot) {
	if g.stopped != nil {
		return
	}
	if err := g.cfg.Snapshots.Restore(Snapshot{Index: s.Index, Term: s.Term, Conf: s.Conf, Payload: s.Payload}); err != nil {
		g.fail(fmt.Errorf("replica: group %d: restoring a snapshot at %d: %w", g.cfg.Group, s.Index, err))
		return
	}
	if h := g.cfg.History; h != nil && h.FirstIndex() != s.Index+1 {
		panic(fmt.Sprintf("replica: group %d: restored a snapshot at %d, and the history begins at %d", g.cfg.Group, s.Index, h.FirstIndex()))
	}
	g.applied = s.Index
	g.status.Applied = s.Index
	if g.restoring--; g.restoring == 0 && g.cfg.Observer != nil { // or a newer one is being written
		g.cfg.Observer.Committed(g.status.Commit, g.collected, g.synced)
	}
}
