package replica

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/quietword"
	"ackline/broker/replica/raftlog"
)

// Step takes a message from another node's replica of this group.
func (g *Group) Step(m pb.Message) error {
	g.mu.Lock()
	defer g.Unlock()
	err := g.step(&m)
	g.stepped()
	return err
}

// StepAll takes several messages, in order. The slice is the caller's again when it returns. The error says that the group
// is stopped; messages that are refused are counted.
func (g *Group) StepAll(ms []pb.Message) error {
	g.mu.Lock()
	defer g.Unlock()
	for i := range ms {
		if err := g.step(&ms[i]); err != nil && g.stopped != nil {
			return g.stopped
		}
	}
	g.stepped()
	return g.stopped
}

// step hands raft one message. stepped is called behind the last.
func (g *Group) step(m *pb.Message) error {
	if g.stopped != nil {
		return g.stopped
	}
	if err := g.admit(m); err != nil {
		g.counters.Refused++
		return err
	}
	if err := g.doubt(m); err != nil {
		g.fail(err)
		return err
	}
	if leads(m.Type) && id.Term(m.Term) >= g.status.Term {
		g.clock.Restart()
	}
	w, quiet := quietword.Parse(m.Context)
	if quiet && m.Type == pb.MsgHeartbeat {
		return g.raftErr(g.asked(m, w))
	}
	if !(quiet && m.Type == pb.MsgHeartbeatResp) || g.answered(m, w) {
		g.contradict(m)
		g.wake()
	}
	if g.deaf(m) {
		return nil
	}
	if m.Type == pb.MsgSnap {
		g.name(m)
	}
	if g.paced(m) {
		return nil
	}
	g.peers.Received(m)
	g.note(m)
	err := g.rn.Step(*m)
	if m.Type == pb.MsgPreVote || m.Type == pb.MsgVote {
		g.handleReady()
		g.provoked = g.met(m) || g.provoked
	}
	return g.raftErr(err)
}

// stepped carries out what raft made of the messages.
func (g *Group) stepped() {
	g.handleReady()
	g.peers.Answered()
	if g.provoked {
		g.provoked = false
		if g.stopped == nil && g.status.Leader == 0 {
			g.campaign()
		}
	}
}

func (g *Group) raftErr(err error) error {
	if errors.Is(err, raft.ErrStepPeerNotFound) {
		return nil // from a replica that the configuration does not name: not yet, perhaps
	}
	return err
}

// leads tells whether only leaders send such a message.
func leads(t pb.MessageType) bool { return t == pb.MsgApp || t == pb.MsgHeartbeat || t == pb.MsgSnap }

// admit refuses what must not reach raft: other types than go between nodes, what is not for this replica, and what comes
// from one that is removed, or that leads and is dead.
func (g *Group) admit(m *pb.Message) error {
	from := id.ReplicaID(m.From)
	switch m.Type {
	case pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgPreVote, pb.MsgPreVoteResp:
	case pb.MsgTimeoutNow:
		if g.yield {
			return fmt.Errorf("%w: group %d is to be led by a replica that is about to stop", ErrRefused, g.cfg.Group)
		}
	case pb.MsgSnap:
		if err := g.checkSnapshot(m); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: group %d: %v between nodes", ErrRefused, g.cfg.Group, m.Type)
	}
	switch {
	case id.ReplicaID(m.To) != g.cfg.Replica || from == g.cfg.Replica:
		return fmt.Errorf("%w: group %d: %v from %d to %d at replica %d", ErrRefused, g.cfg.Group, m.Type, m.From, m.To, g.cfg.Replica)
	case slices.Contains(g.removed, from):
		return fmt.Errorf("%w: group %d: %v from replica %d, which was removed", ErrRefused, g.cfg.Group, m.Type, m.From)
	case leads(m.Type) && slices.Contains(g.dead, from):
		return fmt.Errorf("%w: group %d: %v from replica %d, whose node is dead", ErrRefused, g.cfg.Group, m.Type, m.From)
	}
	return nil
}

// doubt finds what cannot be unless a disk was lost or two replicas have one id.
func (g *Group) doubt(m *pb.Message) error {
	last, same := g.log.LastIndex(), id.Term(m.Term) == g.status.Term
	switch {
	case same && leads(m.Type) && g.status.Leader != 0 && g.status.Leader != id.ReplicaID(m.From):
		return fmt.Errorf("%w: group %d: replicas %d and %d lead in term %d", ErrInconsistent, g.cfg.Group, g.status.Leader, m.From, m.Term)
	case same && m.Type == pb.MsgAppResp && !m.Reject && g.status.IsLead && id.Index(m.Index) > last:
		return fmt.Errorf("%w: group %d: replica %d has entry %d of term %d, the leader's log ends at %d",
			ErrInconsistent, g.cfg.Group, m.From, m.Index, m.Term, last)
	case m.Type == pb.MsgHeartbeat && id.Term(m.Term) >= g.status.Term && id.Index(m.Commit) > last:
		g.handleReady() // appends of the same burst
		if last = g.log.LastIndex(); id.Index(m.Commit) > last {
			return fmt.Errorf("%w: group %d: the leader %d says that entry %d is here and committed, the log ends at %d",
				ErrInconsistent, g.cfg.Group, m.From, m.Commit, last)
		}
	}
	return nil
}

// Tick moves the group's clock by one tick. A leader sends heartbeats and checks that a quorum still answers; a follower
// that has not heard of a leader for its election time-out campaigns. A group that is quiet needs no ticks.
func (g *Group) Tick() {
	g.mu.Lock()
	defer g.Unlock()
	g.snaps.pace.Tick()
	switch {
	case g.stopped != nil || g.quiet:
	case !g.status.IsLead:
		g.tickFollower()
	case g.solo:
		g.rest()
	case !g.tickQuiet():
		g.rn.Tick()
		g.resume()
		g.handleReady()
		if g.moving && g.stopped == nil {
			g.refreshStatus() // raft gives a transfer up without a Ready
		}
		g.sendHeld()
		g.leaveJoint()
	}
}

// Stop ends the group: proposals fail, the machine hears that it no longer leads, and nothing is stepped again.
func (g *Group) Stop() {
	g.mu.Lock()
	defer g.Unlock()
	g.fail(ErrStopped)
}

// Status returns the group's status.
func (g *Group) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// StatusLocked is Status for a holder of the lock.
func (g *Group) StatusLocked() Status { return g.status }

// Err returns why the group stopped, nil while it runs.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// ConfLocked returns the configuration as of the applied index.
func (g *Group) ConfLocked() membership.ConfState { return membership.Encode(g.conf) }

// CachedLocked appends to dst the entries of [lo, hi) that memory still holds, from lo on. What is missing is in the
// WAL: ask Entries, without the lock.
func (g *Group) CachedLocked(dst []Entry, lo, hi id.Index) []Entry {
	return raftlog.AppendEntries(dst, g.log.Cached(lo, hi))
}

// Entries reads entries above the last checkpoint from the WAL. It may read from the disk: call it without the lock.
func (g *Group) Entries(lo, hi id.Index, maxBytes int) ([]Entry, error) {
	return g.cfg.WAL.Entries(g.cfg.Group, lo, hi, maxBytes)
}

// SpareLocked says that the machine has its own copy of the entries up to i: when memory is short, they go first. Until the
// next checkpoint the WAL has one for raft.
func (g *Group) SpareLocked(i id.Index) { g.log.Spare(min(i, g.applied)) }

// Checkpoint records that entries up to flushed are in the machine's own durable files, with payload as the machine's
// state as of flushed. The returned channel is closed once the record is on disk; entries up to flushed are then free to
// go from the WAL. Drive the WAL afterwards.
func (g *Group) Checkpoint(flushed id.Index, term id.Term, payload []byte) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	done := make(chan struct{})
	if flushed < g.old.Flushed() && g.old.Flushed() <= g.snapshotAt {
		close(done) // a snapshot has come meanwhile, and covers it
		return done
	}
	if flushed < g.old.Flushed() || flushed > g.applied {
		panic(fmt.Sprintf("replica: group %d: checkpoint at %d outside of flushed %d and applied %d",
			g.cfg.Group, flushed, g.old.Flushed(), g.applied))
	}
	g.log.Evict(flushed)
	g.old.Flush(flushed, term)
	g.stores.SetCheckpoint(flushed, term, payload, done)
	g.cfg.WAL.SignalCheckpoint(g)
	return done
}
