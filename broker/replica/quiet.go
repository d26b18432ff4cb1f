package replica

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/quietword"
)

// Ten thousand groups that nobody writes to must cost nothing: no heartbeats, no ticks. A group may be quiet when every
// replica whose node lives has the whole log and knows that it is committed; then there is nothing that a message could
// tell. That the leader's node is alive is seen between nodes, for all groups at once.
//
// How it becomes quiet: when a leader has had nothing to do for CommitTicks, and all whose nodes live have answered that they
// have the whole log, it tells these that it is quiet (package quietword), in a heartbeat, and is. That heartbeat stands for the
// append with the commit index that would be due then; so a group that gets a record now and then is awake for two ticks of
// each, and pays six messages. Whoever hears it, has that index, has applied it and has nothing to write is quiet as well,
// without an answer; whoever does not agree answers without context, which wakes the leader. That one says it no more of this
// index until it knows better: its heartbeats ask, whoever agrees answers with the same context, and when all have for
// QuietTicks, it says so again.
//
// How it ends: anything else that comes, from a client or another replica, ends it, and the leader's next heartbeat wakes
// the others. If the word that the leader is quiet is lost, a follower goes on ticking, and asks for pre-votes one day:
// nobody grants them, for a quiet replica still remembers its leader, and the leader wakes, and says it again. So does one that
// is told (Wake) that a connection ended, which may have taken the word with it. When nodes die, the survivors
// are woken through PeersDown; a leader that cannot lead on tells its followers before it stops.

// quietContext is what a leader's heartbeats carry, nil if it is not idle or the group never quiet.
func (g *Group) quietContext(kind byte) []byte {
	if g.cfg.QuietTicks == 0 || !g.idle() {
		return nil
	}
	return quietword.Word{Kind: kind, Term: g.status.Term, Last: g.status.Last}.Bytes()
}

// settled tells whether this replica has stored, committed and applied all that it knows of.
func (g *Group) settled() bool {
	return g.stopped == nil && g.stores.Empty() && g.props.Len() == 0 && g.restoring == 0 &&
		g.status.Commit == g.status.Last && g.applied == g.status.Last
}

// idle tells whether a leader has nothing under way.
func (g *Group) idle() bool {
	return g.status.IsLead && g.settled() && !g.moving && !g.changing() && g.reads.Empty()
}

// Quiet tells whether the group needs no ticks: it leads, all replicas have the log to its last index, know that all of it
// is committed, and nothing is under way; or it follows, and its leader said so.
func (g *Group) Quiet() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quiet || g.mayRest()
}

func (g *Group) mayRest() bool {
	if g.solo {
		return g.status.IsLead
	}
	if !g.idle() || !g.everywhere() {
		return false
	}
	for _, p := range g.peers.All() {
		if p.Knows != g.status.Last && !g.isDead(p.ID) {
			return false
		}
	}
	return true
}

// everywhere tells whether all replicas whose nodes live have the whole log.
func (g *Group) everywhere() bool {
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

func (g *Group) isDead(r uint64) bool { return slices.Contains(g.dead, id.ReplicaID(r)) }

// tickQuiet makes a leader quiet that has been able to be for long enough, and tells its followers.
func (g *Group) tickQuiet() bool {
	if g.cfg.QuietTicks == 0 || !g.idle() {
		g.idleTicks = 0
		return false
	}
	g.idleTicks++
	soon := (g.idleTicks >= g.cfg.CommitTicks || g.peers.Due(g.cfg.CommitTicks)) && g.contradicted != g.status.Last && g.everywhere()
	if !soon && (g.idleTicks <= g.cfg.QuietTicks || !g.mayRest()) {
		return false
	}
	word := g.quietContext(quietword.Now)
	var ms []pb.Message
	for i := range g.peers.All() {
		p := &g.peers.All()[i]
		// Not to the dead: one that was only paused would be told of a commit index that its log does not reach.
		if !g.isDead(p.ID) {
			ms = append(ms, pb.Message{Type: pb.MsgHeartbeat, To: p.ID, From: uint64(g.cfg.Replica), Term: uint64(g.status.Term),
				Commit: uint64(g.status.Commit), Context: word})
			p.Beats(&ms[len(ms)-1])
		}
	}
	g.transmit(ms)
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

// asked takes a heartbeat that asks for quiet or orders it.
func (g *Group) asked(m *pb.Message, w quietword.Word) error {
	if w.Kind == quietword.Ask {
		g.wake() // whoever asks is not quiet
	}
	g.handleReady()
	g.intercept = true
	err := g.rn.Step(*m)
	g.handleReady()
	g.intercept = false
	agree := g.settled() && g.status.Term == w.Term && g.status.Leader == id.ReplicaID(m.From) && g.status.Last == w.Last
	for i := range g.intercepted {
		r := &g.intercepted[i]
		switch {
		case !agree:
			r.Context = nil
		case w.Kind == quietword.Now:
			continue
		}
		g.transmit(g.intercepted[i : i+1])
	}
	clear(g.intercepted)
	g.intercepted = g.intercepted[:0]
	switch {
	case !agree:
		g.wake()
	case w.Kind == quietword.Now:
		g.rest()
	}
	return err
}

// contradict notes that a follower does not agree that the group is quiet: what it said before does not count.
func (g *Group) contradict(m *pb.Message) {
	if p := g.peers.Of(m.From); p != nil && g.quiet && m.Type == pb.MsgHeartbeatResp {
		g.contradicted, p.Knows = g.status.Last, 0
	}
}

// answered takes what a heartbeat's response says about quiet. It returns false if the response is no reason to wake.
func (g *Group) answered(m *pb.Message, w quietword.Word) bool {
	m.Context = nil // it is not one of raft's
	p := g.peers.Of(m.From)
	if p == nil || !g.status.IsLead || w.Term != g.status.Term || id.Term(m.Term) != w.Term {
		return true
	}
	p.Knows = max(p.Knows, w.Last)
	return w.Last != g.status.Last
}
