package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Step takes a message from another node's replica of this group.
func (g *Group) Step(m pb.Message) error {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped != nil {
		return g.stopped
	}
	switch m.Type {
	case pb.MsgSnap:
		return fmt.Errorf("replica: group %d: a snapshot came, and this node takes none", g.cfg.Group)
	case pb.MsgApp, pb.MsgHeartbeat:
		if id.Term(m.Term) >= g.status.Term {
			g.elapsed = 0
		}
	}
	err := g.rn.Step(m)
	g.handleReady()
	if errors.Is(err, raft.ErrStepPeerNotFound) {
		return nil // from a replica that the configuration no longer names
	}
	return err
}

// Tick moves the group's clock by one tick. A leader sends heartbeats and checks that a quorum still answers; a follower
// that has not heard of a leader for its election time-out campaigns. A group of one voter needs no ticks.
func (g *Group) Tick() {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped != nil || g.singleVoter() && g.status.IsLead {
		return
	}
	if g.status.IsLead {
		g.rn.Tick()
		g.handleReady()
		return
	}
	// The core times elections itself, from its own seed; raft only counts the ticks for which a leader's lease holds.
	g.rn.TickQuiesced()
	g.elapsed++
	if g.elapsed < g.timeout {
		return
	}
	g.drawTimeout()
	g.campaign()
}

// Campaign makes the replica stand for election now: a group's only voter at start, or the one survivor that is to take
// over. It forgets the leader it knew, who would otherwise make it refuse.
func (g *Group) Campaign() {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil && !g.status.IsLead {
		g.campaign()
	}
}

// ForgetLeader makes the replica disregard the leader it knows, who is dead: a voter that remembers one refuses pre-votes.
// A leader does not forget itself.
func (g *Group) ForgetLeader() {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped != nil || g.status.IsLead {
		return
	}
	if err := g.rn.ForgetLeader(); err != nil {
		g.fail(fmt.Errorf("replica: group %d: forget the leader: %w", g.cfg.Group, err))
		return
	}
	g.handleReady()
}

func (g *Group) campaign() {
	g.elapsed = 0
	for _, step := range []func() error{g.rn.ForgetLeader, g.rn.Campaign} {
		if err := step(); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
			g.fail(fmt.Errorf("replica: group %d: campaign: %w", g.cfg.Group, err))
			return
		}
	}
	g.handleReady()
}

func (g *Group) singleVoter() bool {
	return len(g.conf.Voters) == 1 && len(g.conf.VotersOutgoing) == 0 && g.conf.Voters[0] == uint64(g.cfg.Replica)
}

func (g *Group) drawTimeout() {
	g.timeout = g.cfg.ElectionTicks + g.jitter.IntN(g.cfg.ElectionTicks)
}

// ProposeConfChange queues a change of the group's configuration.
func (g *Group) ProposeConfChange(cc pb.ConfChangeV2) error {
	data, err := cc.Marshal()
	if err != nil {
		return fmt.Errorf("replica: group %d: %w", g.cfg.Group, err)
	}
	g.mu.Lock()
	defer g.Unlock()
	_, _, err = g.proposeLocked(pb.Entry{Type: pb.EntryConfChangeV2, Data: data})
	return err
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
func (g *Group) ConfLocked() ConfState { return encodeConf(g.conf) }

// CachedLocked appends to dst the entries of [lo, hi) that memory still holds, from lo on. What is missing is in the
// WAL: ask Entries, without the lock.
func (g *Group) CachedLocked(dst []Entry, lo, hi id.Index) []Entry {
	return appendEntries(dst, g.log.Cached(lo, hi))
}

// Entries reads entries above the last checkpoint from the WAL. It may read from the disk: call it without the lock.
func (g *Group) Entries(lo, hi id.Index, maxBytes int) ([]Entry, error) {
	return g.cfg.WAL.Entries(g.cfg.Group, lo, hi, maxBytes)
}

// Evict lets go of the cached entries up to i: the machine has its own copy, and until the next checkpoint the WAL has one
// for raft.
func (g *Group) Evict(i id.Index) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log.Evict(min(i, g.applied))
}

// Checkpoint records that entries up to flushed are in the machine's own durable files, with payload as the machine's
// state as of flushed. The returned channel is closed once the record is on disk; entries up to flushed are then free to
// go from the WAL. Drive the WAL afterwards.
func (g *Group) Checkpoint(flushed id.Index, term id.Term, payload []byte) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if flushed < g.old.flushed || flushed > g.applied {
		panic(fmt.Sprintf("replica: group %d: checkpoint at %d outside of flushed %d and applied %d",
			g.cfg.Group, flushed, g.old.flushed, g.applied))
	}
	g.log.Evict(flushed)
	g.old.flushed, g.old.term = flushed, term
	done := make(chan struct{})
	waiting := []chan struct{}{done}
	if prev := g.checkpoint; prev != nil {
		waiting = append(waiting, prev.done...) // superseded before it was collected; the newer one answers for it
	}
	g.checkpoint = &checkpoint{flushed, term, payload, waiting}
	g.cfg.WAL.SignalCheckpoint(g)
	return done
}
