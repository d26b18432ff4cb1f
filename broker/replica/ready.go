package replica

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/raftlog"
)

// handleReady carries out what raft asks for, until it asks for nothing more.
//
// Votes are asked for when the term in which they are is durable, like everything else that answers for it, although raft would
// send them at once: a candidate that crashes before may have lost entries too, stand again in the same term, and count a vote that
// was given to its longer log and comes late.
// Within one Ready the order is: messages,
// entries into the log, role, commit, apply; a leader's tail is therefore complete when the machine is told to lead.
func (g *Group) handleReady() {
	if g.handling {
		return // the loop that runs goes on until nothing is left
	}
	g.handling = true
	for g.stopped == nil && g.broken == nil && g.rn.HasReady() {
		rd := g.rn.Ready()
		var apply *pb.Message
		var votes []pb.Message
		sent := rd.Messages[:0] // raft puts the local threads' messages last
		for i := range rd.Messages {
			m := &rd.Messages[i]
			switch {
			case m.To == raft.LocalAppendThread:
				m.Responses = append(m.Responses, votes...)
				g.store(m)
			case m.To == raft.LocalApplyThread:
				apply = m
			case m.Type == pb.MsgVote:
				votes = append(votes, *m)
			default:
				sent = append(sent, *m)
			}
		}
		g.send(sent)
		g.followStatus()
		if g.stopped != nil {
			break // the machine was told that this is the end
		}
		if apply != nil {
			g.apply(apply)
		}
		if len(rd.ReadStates) > 0 {
			g.readable(rd.ReadStates)
		}
		if g.snaps.offered.Index != 0 {
			g.settleSnapshots()
		}
	}
	g.handling = false
	if g.broken != nil {
		g.fail(fmt.Errorf("replica: group %d: reading its log: %w", g.cfg.Group, g.broken))
	}
}

// store queues a MsgStorageAppend for the WAL.
func (g *Group) store(m *pb.Message) {
	if m.Snapshot != nil {
		g.storeSnapshot(m.Snapshot) // queued, so that what follows answers for it too
	}
	if len(m.Entries) > 0 && id.Index(m.Entries[0].Index) <= g.status.Commit {
		panic(fmt.Sprintf("replica: group %d: entry %d of term %d would be replaced, up to %d is committed", g.cfg.Group,
			m.Entries[0].Index, m.Entries[0].Term, g.status.Commit))
	}
	// The log holds the entries before anything answers for them: raft reads them back through storage.
	if err := g.log.Append(m.Entries); err != nil {
		g.fail(fmt.Errorf("replica: group %d: %w", g.cfg.Group, err))
		return
	}
	now, queued := g.stores.Add(m)
	g.stepResponses(now)
	if queued {
		g.signal()
	}
}

// signal enlists the group with the WAL. Not while Collect runs: it takes what is queued, and signals for what it leaves.
// Enlisting from there would make every inline batch wake the syncer for nothing, two futex calls and a thread's wake-up.
func (g *Group) signal() {
	if !g.collecting {
		g.cfg.WAL.Signal(g)
		if g.stores.Votes() {
			g.cfg.WAL.SignalVote(g)
		}
	}
}

// followStatus compares raft's status with the last one and tells the machine what changed.
func (g *Group) followStatus() {
	prev := g.status
	g.refreshStatus()
	now := g.status
	if now.Term < prev.Term || now.Commit < prev.Commit {
		panic(fmt.Sprintf("replica: group %d goes back: term %d to %d, commit index %d to %d", g.cfg.Group, prev.Term, now.Term,
			prev.Commit, now.Commit))
	}
	if now.IsLead && prev.IsLead && now.Term != prev.Term {
		panic(fmt.Sprintf("replica: group %d: leads in term %d and then in %d, and nobody heard of the end of the first", g.cfg.Group,
			prev.Term, now.Term))
	}
	switch {
	case now.IsLead && !prev.IsLead:
		g.lead()
	case !now.IsLead && (prev.IsLead || now.Leader != prev.Leader || now.Term != prev.Term):
		g.follow(prev.IsLead)
	}
	if now.Commit <= prev.Commit || g.stopped != nil {
		return
	}
	g.props.Committed(now.Commit)
	if g.cfg.Observer != nil && g.restoring == 0 {
		g.cfg.Observer.Committed(now.Commit, g.collected, g.synced)
	}
	g.ask()
}

// refreshStatus reads raft's status. A group that is stopped has its last: raft does not know that it is.
func (g *Group) refreshStatus() {
	if g.stopped != nil {
		return
	}
	s := g.rn.BasicStatus()
	g.status = Status{
		Term:    id.Term(s.Term),
		Leader:  id.ReplicaID(s.Lead),
		IsLead:  s.RaftState == raft.StateLeader,
		Commit:  id.Index(s.Commit),
		Applied: g.applied,
		Last:    g.log.LastIndex(),
	}
	g.moving = s.LeadTransferee != 0
}

func (g *Group) lead() {
	g.clock.Calm()
	g.leadAt, g.confIndex = g.status.Last, g.status.Last
	g.snaps = snapshots{}
	g.peers.Reset(membership.Everyone(&g.conf), g.cfg.Replica)
	g.wake()
	g.tellHost()
	if g.cfg.Observer == nil {
		return
	}
	var tail []Entry
	for lo, last := g.applied+1, g.log.LastIndex(); lo <= last; {
		es, err := g.log.Range(lo, last+1, math.MaxInt32)
		if err != nil {
			g.fail(fmt.Errorf("replica: group %d: reading the unapplied tail: %w", g.cfg.Group, err))
			return
		}
		tail = raftlog.AppendEntries(tail, es)
		lo += id.Index(len(es))
	}
	g.cfg.Observer.Lead(g.status.Term, tail)
}

func (g *Group) follow(led bool) {
	if led {
		g.unlead(ErrNotLeader)
	}
	if g.status.Leader != 0 {
		g.clock.Calm()
	}
	g.tellHost()
	if g.cfg.Observer != nil {
		g.cfg.Observer.Follow(g.status.Term, g.status.Leader)
	}
}

// unlead voids what only a leader has.
func (g *Group) unlead(why error) {
	g.dropProposals(why)
	g.props.Close()
	g.peers.Clear()
	g.gate.Clear()
	g.failReads(why)
}

func (g *Group) tellHost() {
	if g.cfg.Host != nil {
		g.cfg.Host.Leader(g.cfg.Group, g.status)
	}
}

// apply hands committed entries to the machine and tells raft so.
func (g *Group) apply(m *pb.Message) {
	if first, last := m.Entries[0].Index, m.Entries[len(m.Entries)-1].Index; first != uint64(g.applied)+1 || last > uint64(g.status.Commit) {
		panic(fmt.Sprintf("replica: group %d: entries %d to %d are to be applied, applied is %d, committed %d", g.cfg.Group,
			first, last, g.applied, g.status.Commit))
	}
	for i := range m.Entries {
		if err := g.applyConf(&m.Entries[i]); err != nil {
			g.fail(err)
			return
		}
	}
	g.enlisted = raftlog.AppendEntries(g.enlisted[:0], m.Entries)
	err := g.cfg.Applier.Apply(g.enlisted)
	clear(g.enlisted)
	if err != nil {
		g.fail(fmt.Errorf("replica: group %d: apply from %d: %w", g.cfg.Group, m.Entries[0].Index, err))
		return
	}
	g.applied = id.Index(m.Entries[len(m.Entries)-1].Index)
	g.status.Applied = g.applied
	g.stepResponses(m.Responses)
	g.log.Halve(g.applied) // what is applied is durable here
	g.leaveJoint()
}

func (g *Group) applyConf(e *pb.Entry) error {
	cc, err := membership.Parse(e)
	if err != nil {
		return fmt.Errorf("replica: group %d: %w", g.cfg.Group, err)
	}
	if cc != nil {
		g.setConf(*g.rn.ApplyConfChange(cc), id.Index(e.Index))
	}
	return nil
}
