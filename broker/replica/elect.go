package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"ackline/broker/id"
	"ackline/broker/replica/candidacy"
	"ackline/broker/replica/membership"
)

// When the replica stands for election is its clock's to say (candidacy); here is how it stands, and whom it listens to.
// Who refuses a candidate because its own log is longer, and knows of no leader, stands at once: nobody with a shorter log
// can win. Two that ask at the same time for pre-votes would both get them, and then split the votes: so who asks itself is
// deaf to those of higher ids.

// tickFollower counts down to the replica's candidacy.
func (g *Group) tickFollower() {
	g.rn.TickQuiesced()
	if g.clock.Tick() {
		g.campaign()
	}
}

// campaign makes the replica stand for election. It forgets the leader it knew, who would otherwise make it refuse.
func (g *Group) campaign() {
	g.clock.Restart()
	if g.yield && !g.solo {
		return
	}
	for _, step := range []func() error{g.rn.ForgetLeader, g.rn.Campaign} {
		if err := step(); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
			g.fail(fmt.Errorf("replica: group %d: campaign: %w", g.cfg.Group, err))
			return
		}
	}
	g.handleReady()
}

// Campaign makes the replica stand for election now: a group's only voter at start, or one that is to take over.
func (g *Group) Campaign() {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil && !g.status.IsLead {
		g.wake()
		g.campaign()
	}
}

// ForgetLeader makes the replica disregard the leader it knows, who is dead: a voter that remembers one refuses pre-votes.
// A leader does not forget itself.
func (g *Group) ForgetLeader() {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil {
		g.forgetLeader()
	}
}

func (g *Group) forgetLeader() {
	if g.status.IsLead {
		return
	}
	g.wake()
	if err := g.rn.ForgetLeader(); err != nil {
		g.fail(fmt.Errorf("replica: group %d: forget the leader: %w", g.cfg.Group, err))
		return
	}
	g.handleReady()
}

// Yield makes the replica not stand for election, or stand again: its node is about to stop. It votes as ever.
func (g *Group) Yield(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.yield = on
}

// PeersDown tells which of the group's replicas are on nodes that are dead, all of them each time. A follower of one of
// these forgets it and stands for election when it is its turn; what comes from a dead leader late is disregarded, or the
// survivors would refuse each other their votes for its sake. A leader that lost the quorum with them is ticked until it
// steps down. Any other group is left as it is.
func (g *Group) PeersDown(dead []id.ReplicaID) {
	g.mu.Lock()
	defer g.Unlock()
	news := slices.DeleteFunc(slices.Clone(dead), func(r id.ReplicaID) bool { return slices.Contains(g.dead, r) })
	g.dead = append(g.dead[:0], dead...)
	switch {
	case g.stopped != nil:
	case g.status.IsLead:
		for _, r := range news {
			g.rn.ReportUnreachable(uint64(r)) // so it must be heard before the group is quiet with it
		}
		g.handleReady()
		if !membership.Quorum(&g.conf, func(v uint64) bool { return !g.isDead(v) }) {
			g.wake()
		}
	case g.status.Leader == 0 && len(news) > 0, slices.Contains(g.dead, g.status.Leader):
		g.forgetLeader()
		g.stand(0)
		g.answerEarly()
	}
}

// note remembers a request for pre-votes that raft passes over, because the leader is not known to be dead here. Survivors hear of a death at
// times of their own; who asks first would ask in vain, and again only when answers could have come from afar.
func (g *Group) note(m *pb.Message) {
	switch {
	case m.Type == pb.MsgPreVote && g.status.Leader != 0 && !g.status.IsLead:
		early := *m
		g.early = &early
	case g.early != nil && (leads(m.Type) || m.Type == pb.MsgVote):
		g.early = nil
	}
}

// answerEarly answers it once the leader is known to be dead. It promises nothing, and comes late at worst.
func (g *Group) answerEarly() {
	if m := g.early; m != nil && g.stopped == nil {
		g.early = nil
		g.step(m) // counts it if it refuses
		g.stepped()
	}
}

// LeaderResigned tells that a replica does not lead any more although its node lives: the group stopped there.
func (g *Group) LeaderResigned(r id.ReplicaID) {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil && g.status.Leader == r && !g.status.IsLead {
		g.forgetLeader()
		g.stand(r)
	}
}

// stand makes the replica a candidate when it is its turn. out, if not 0, is no candidate although its node lives.
func (g *Group) stand(out id.ReplicaID) {
	if g.cfg.Far != nil {
		g.clock.Distance(g.cfg.Far())
	}
	g.clock.Succeed(candidacy.Rank(membership.VotersOf(&g.conf), g.cfg.Replica, func(r id.ReplicaID) bool {
		return r == out || slices.Contains(g.dead, r)
	}))
}

// compare compares a candidate's log with this one: below 0 if a vote for it must be refused.
func (g *Group) compare(m *pb.Message) int {
	last := g.log.LastIndex()
	term, err := g.log.Term(last)
	if err != nil {
		panic(fmt.Sprintf("replica: group %d: term of the last entry %d: %v", g.cfg.Group, last, err))
	}
	return cmp.Or(cmp.Compare(m.LogTerm, uint64(term)), cmp.Compare(m.Index, uint64(last)))
}

// deaf tells whether another's request for pre-votes is to be passed over. A message may be lost, so this is safe.
func (g *Group) deaf(m *pb.Message) bool {
	return m.Type == pb.MsgPreVote && m.From > uint64(g.cfg.Replica) && !g.yield &&
		g.rn.BasicStatus().RaftState == raft.StatePreCandidate && g.compare(m) <= 0
}

// met is called when a candidate's request has been stepped. It returns true when this replica has to stand itself, because
// it refused a shorter log; one that was granted its wish gets time to win.
func (g *Group) met(m *pb.Message) bool {
	if g.stopped != nil || g.status.IsLead || g.status.Leader != 0 || !g.isVoter() {
		return false
	}
	if g.compare(m) < 0 {
		return g.rn.BasicStatus().RaftState == raft.StateFollower
	}
	g.clock.Granted()
	return false
}

// TransferLeadership hands the lead over to a voter, which must be reachable. Until it has it, or ElectionTicks have
// passed in vain, proposals fail with ErrMoving. What was proposed before is handed over too.
func (g *Group) TransferLeadership(to id.ReplicaID) error {
	g.mu.Lock()
	defer g.Unlock()
	switch {
	case g.stopped != nil:
		return g.stopped
	case !g.status.IsLead:
		return ErrNotLeader
	case to == g.cfg.Replica || !slices.Contains(g.conf.Voters, uint64(to)):
		return fmt.Errorf("%w: group %d: replica %d is to lead and is no other voter", membership.ErrConfiguration, g.cfg.Group, to)
	}
	g.wake()
	g.stepProposals(1 << 30)
	if !g.status.IsLead {
		return ErrNotLeader
	}
	g.rn.TransferLeader(uint64(to))
	g.handleReady()
	g.refreshStatus()
	return g.stopped
}

// Progress is how far a leader knows another replica to be.
type Progress struct {
	Replica  id.ReplicaID
	Match    id.Index // the last entry that it has on disk
	Learner  bool
	Active   bool // it was heard of within the last election time-out
	Snapshot bool // a snapshot is on its way to it

	replicating bool // appends are sent without waiting for answers
}

// Progress returns how far the other replicas are; none if this one does not lead.
func (g *Group) Progress() []Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.progress()
}

func (g *Group) progress() (out []Progress) {
	if !g.status.IsLead {
		return nil
	}
	g.rn.WithProgress(func(r uint64, typ raft.ProgressType, p tracker.Progress) {
		if r == uint64(g.cfg.Replica) {
			return
		}
		out = append(out, Progress{Replica: id.ReplicaID(r), Match: id.Index(p.Match), Learner: typ == raft.ProgressTypeLearner,
			Active: p.RecentActive, Snapshot: p.State == tracker.StateSnapshot, replicating: p.State == tracker.StateReplicate})
	})
	return out
}

// ReportUnreachable tells that messages to a replica may have been lost: the leader then asks how far it is.
func (g *Group) ReportUnreachable(r id.ReplicaID) {
	g.mu.Lock()
	defer g.Unlock()
	if g.stopped == nil && g.status.IsLead {
		g.rn.ReportUnreachable(uint64(r))
		g.handleReady()
	}
}
