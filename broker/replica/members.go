package replica

import (
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
)

func (g *Group) isVoter() bool {
	return slices.Contains(membership.VotersOf(&g.conf), uint64(g.cfg.Replica))
}

// setConf makes another configuration the group's. Who is not part of it any more never is again, since ids are not reused.
func (g *Group) setConf(cs pb.ConfState, at id.Index) {
	if cs.AutoLeave {
		// raft would then append an entry of its own, and take an index that a proposal was promised.
		panic(fmt.Sprintf("replica: group %d: the configuration %v of index %d is left by raft itself", g.cfg.Group, cs, at))
	}
	now := membership.Everyone(&cs)
	for _, r := range membership.Everyone(&g.conf) {
		if !slices.Contains(now, r) {
			g.refuse(id.ReplicaID(r))
		}
	}
	g.conf, g.confEnd = cs, g.log.LastIndex()
	g.solo = len(now) == 1 && len(cs.Voters) == 1 && cs.Voters[0] == uint64(g.cfg.Replica)
	if g.status.IsLead {
		g.peers.Reset(now, g.cfg.Replica)
	}
	g.wake() // an only voter that has been at rest may have others to send heartbeats to
	if g.cfg.Host != nil {
		g.cfg.Host.Configured(g.cfg.Group, at, membership.Of(&cs))
	}
}

// Refuse makes the group refuse whatever these replicas send, for ever: they were removed, or their disks are lost and with
// them the votes that they gave.
func (g *Group) Refuse(rs ...id.ReplicaID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range rs {
		g.refuse(r)
	}
}

func (g *Group) refuse(r id.ReplicaID) {
	if !slices.Contains(g.removed, r) {
		g.removed = append(g.removed, r)
	}
}

// Change proposes other roles for replicas, all of them at once or none. More than one change goes through a joint
// configuration, which is left by itself. A replica becomes a learner first, and a voter when it is caught up; a voter may
// become a learner only together with another change. The change is done when Host.Configured says so.
func (g *Group) Change(cs ...membership.Change) (id.Index, id.Term, error) {
	g.mu.Lock()
	defer g.Unlock()
	switch {
	case g.stopped != nil:
		return 0, 0, g.stopped
	case !g.status.IsLead:
		return 0, 0, ErrNotLeader
	case g.changing():
		return 0, 0, fmt.Errorf("%w: group %d", ErrChanging, g.cfg.Group)
	}
	if err := membership.Check(&g.conf, cs, g.removed, g.caughtUp); err != nil {
		return 0, 0, fmt.Errorf("group %d: %w", g.cfg.Group, err)
	}
	return g.proposeConf(membership.Proposal(cs...))
}

// SettledLocked tells whether the configuration outlives this leader, if it is one: a majority has an entry that was appended when it
// was in effect, and with that the word that it is. Before, those who are left when the leader dies may not know that a change is
// done, and go on counting on replicas that it removed: these have to stay. If nothing else is written, an empty entry is proposed;
// ask again.
func (g *Group) SettledLocked() bool {
	if g.status.IsLead && g.status.Commit <= g.confEnd && g.nextIndex() <= g.confEnd+1 {
		_, _, _ = g.proposeLocked(pb.Entry{})
	}
	return g.status.IsLead && g.status.Commit > g.confEnd
}

// changing tells whether raft would refuse a change, and put an empty entry in its place.
func (g *Group) changing() bool { return g.confIndex > g.applied || len(g.conf.VotersOutgoing) > 0 }

func (g *Group) proposeConf(cc pb.ConfChangeV2) (id.Index, id.Term, error) {
	data, err := cc.Marshal()
	if err != nil {
		panic(fmt.Sprintf("replica: group %d: a configuration change that does not encode: %v: %v", g.cfg.Group, cc, err))
	}
	before := g.confIndex
	g.confIndex = g.nextIndex() // before raft may step it
	index, term, err := g.proposeLocked(pb.Entry{Type: pb.EntryConfChangeV2, Data: data})
	if err != nil {
		g.confIndex = before
	}
	return index, term, err
}

// promoteLag is how many entries a learner may lack when it is made a voter: the leader commits without it meanwhile.
const promoteLag = 1000

func (g *Group) caughtUp(r id.ReplicaID) bool {
	for _, p := range g.progress() {
		if p.Replica == r {
			return p.Active && p.replicating && p.Match+promoteLag >= g.status.Last
		}
	}
	return false
}

// leaveJoint proposes the second half of a change, once the first is in effect.
func (g *Group) leaveJoint() {
	if len(g.conf.VotersOutgoing) == 0 || !g.status.IsLead || g.moving || g.confIndex > g.applied {
		return
	}
	// After an error the next tick tries again, or the next leader.
	_, _, _ = g.proposeConf(membership.Proposal())
}
