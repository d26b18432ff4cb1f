package replica

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/quietword"
)

// Ten thousand groups that nobody writes to must cost nothing, and a thousand of which each is written to now and then no more
// than that: no heartbeats, no ticks. A group may be quiet when every replica whose node lives has the whole log, all of it
// committed; then there is nothing that a message could tell but the commit index. That the leader's node is alive is seen between
// nodes, for all groups at once.
//
// How it becomes quiet: a leader that has had nothing to do for QuietTicks tells its followers so with an append without entries
// (package quietword), and is. That is the commit index's ride as well: at two ticks it goes when the index would have to go
// alone, and wants no answer, so that one record costs six messages of three replicas. It goes the way of the appends, so behind
// them, and who loses it is known. Whoever hears it and has applied all that there is is quiet too; whoever is not that far
// answers as to any append, which wakes the leader.
//
// How it ends: anything else that comes, from a client or another replica, ends it, and the leader's next heartbeat wakes
// the others. A link that breaks may have swallowed the word: the leader hears of that (ReportUnreachable) and is awake until the
// follower has answered. If the word is lost all the same, a follower goes on ticking, and asks for pre-votes one day:
// nobody grants them, for a quiet replica still remembers its leader, and the leader wakes. When nodes die, the survivors
// are woken through PeersDown; a leader that cannot lead on tells its followers before it stops.
//
// Before, heartbeats asked whether everybody knew the commit index, and the group was quiet a second after all had said so. A
// thousand partitions that are written to twice a second never were: 22 messages a record.

// settled tells whether this replica has stored, committed and applied all that it knows of.
func (g *Group) settled() bool {
	return g.stopped == nil && len(g.queue) == 0 && len(g.inflight) == 0 && g.props.Len() == 0 && g.restoring == 0 &&
		g.status.Commit == g.status.Last && g.applied == g.status.Last
}

// idle tells whether a leader has nothing under way.
func (g *Group) idle() bool {
	return g.status.IsLead && g.settled() && !g.moving && !g.changing() && g.reads.Empty()
}

// Quiet tells whether the group needs no ticks: it leads, all replicas have the log to its last index, all of it is committed,
// and nothing is under way; or it follows, and its leader said so.
func (g *Group) Quiet() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quiet || g.mayRest()
}

func (g *Group) mayRest() bool {
	if g.solo {
		return g.status.IsLead
	}
	if !g.idle() {
		return false
	}
	// Nobody waits for the dead: a node that is gone would keep all groups awake that it has a replica of, and their heartbeats
	// keep the rest from electing. Wake is called when they are back.
	if len(g.dead) > 0 && !membership.Quorum(&g.conf, func(v uint64) bool { return !g.isDead(v) }) {
		return false
	}
	for _, p := range g.progress() {
		if (p.Match != g.status.Last || !p.replicating) && !g.isDead(uint64(p.Replica)) {
			return false // raft does not count on what the replica said: it is asking
		}
	}
	return true
}

// restsSoon tells whether the word that the leader is quiet is likely to go before a commit index has to go alone.
func (g *Group) restsSoon() bool {
	return g.cfg.QuietTicks > 0 && g.cfg.QuietTicks <= g.cfg.CommitTicks && g.mayRest()
}

func (g *Group) isDead(r uint64) bool { return slices.Contains(g.dead, id.ReplicaID(r)) }

// tickQuiet makes a leader quiet that has been able to be for long enough, and tells its followers.
func (g *Group) tickQuiet() bool {
	if g.cfg.QuietTicks == 0 || !g.idle() {
		g.idleTicks = 0
		return false
	}
	if g.idleTicks++; g.idleTicks < g.cfg.QuietTicks || !g.mayRest() {
		return false
	}
	word := quietword.Word{Term: g.status.Term, Last: g.status.Last}.Bytes()
	var ms []pb.Message
	for _, p := range g.peers.All() {
		// Not to the dead: it could not be delivered. The last entry is of the leader's own term, since it is committed.
		if !g.isDead(p.ID) {
			ms = append(ms, pb.Message{Type: pb.MsgApp, To: p.ID, From: uint64(g.cfg.Replica), Term: uint64(g.status.Term),
				Index: uint64(g.status.Last), LogTerm: uint64(g.status.Term), Commit: uint64(g.status.Commit), Context: word})
		}
	}
	g.transmit(ms)
	g.peers.Rest()
	g.rest()
	return true
}

// rest makes the group quiet, wake ends that.
func (g *Group) rest() {
	if !g.quiet {
		g.quiet, g.idleTicks = true, 0
		if g.cfg.Host != nil {
			g.cfg.Host.Ticks(g.cfg.Group, false)
		}
	}
}

func (g *Group) wake() {
	if g.quiet && g.stopped == nil && !(g.solo && g.status.IsLead) {
		g.quiet, g.idleTicks = false, 0
		if g.cfg.Host != nil {
			g.cfg.Host.Ticks(g.cfg.Group, true)
		}
	}
}

// Wake ends quiet: a leader sends heartbeats again, to those that have come back.
func (g *Group) Wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wake()
}

// told takes an append that says that the leader is quiet.
func (g *Group) told(m *pb.Message, w quietword.Word) error {
	g.handleReady()
	g.intercept = true
	err := g.rn.Step(*m)
	g.handleReady()
	g.intercept = false
	agree := err == nil && g.settled() && g.status.Term == w.Term && g.status.Leader == id.ReplicaID(m.From) && g.status.Last == w.Last
	if agree {
		g.rest()
	} else {
		g.transmit(g.intercepted)
		g.wake()
	}
	clear(g.intercepted)
	g.intercepted = g.intercepted[:0]
	return err
}
