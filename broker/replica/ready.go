package replica

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// handleReady carries out what raft asks for, until it asks for nothing more. Within one Ready the order is: messages,
// entries into the log, role, commit, apply; a leader's tail is therefore complete when the machine is told to lead.
func (g *Group) handleReady() {
	for g.stopped == nil && g.rn.HasReady() {
		rd := g.rn.Ready()
		var apply *pb.Message
		sent := 0
		for i := range rd.Messages {
			m := &rd.Messages[i]
			switch m.To {
			case raft.LocalAppendThread:
				g.store(m)
			case raft.LocalApplyThread:
				apply = m
			default:
				sent = i + 1 // raft puts the local threads' messages last
			}
		}
		g.send(rd.Messages[:sent])
		g.followStatus()
		if apply != nil {
			g.apply(apply)
		}
	}
}

func (g *Group) send(ms []pb.Message) {
	// Without a Sender there are no other voters, and what raft sends to those that a later configuration names is
	// lost, as messages may be.
	if len(ms) > 0 && g.cfg.Sender != nil {
		g.cfg.Sender.Send(g.cfg.Group, ms)
	}
}

// store queues a MsgStorageAppend for the WAL. One that only moves the commit index needs no write of its own: the index
// rides on the group's next entries, and the responses go out as soon as everything before them is durable. They must
// not go out earlier: they answer for the log's last index.
func (g *Group) store(m *pb.Message) {
	hard := g.hard
	if m.Term != 0 || m.Vote != 0 || m.Commit != 0 {
		hard = wal.HardState{Term: id.Term(m.Term), Vote: id.ReplicaID(m.Vote), Commit: id.Index(m.Commit)}
	}
	mustSync := len(m.Entries) > 0 || hard.Term != g.hard.Term || hard.Vote != g.hard.Vote
	g.hard = hard
	if !mustSync {
		switch {
		case len(g.queue) > 0:
			s := &g.queue[len(g.queue)-1]
			s.responses = append(s.responses, m.Responses...)
		case len(g.inflight) > 0:
			s := &g.inflight[len(g.inflight)-1]
			s.responses = append(s.responses, m.Responses...)
		default:
			g.stepResponses(m.Responses)
		}
		return
	}
	// The log holds the entries before anything answers for them: raft reads them back through storage.
	if err := g.log.Append(m.Entries); err != nil {
		g.fail(fmt.Errorf("replica: group %d: %w", g.cfg.Group, err))
		return
	}
	g.queue = append(g.queue, store{entries: m.Entries, hard: hard, hasHard: true, responses: m.Responses})
	g.signal()
}

// signal enlists the group with the WAL. Not while Collect runs: it takes what is queued, and signals for what it leaves.
// Enlisting from there would make every inline batch wake the syncer for nothing, two futex calls and a thread's wake-up.
func (g *Group) signal() {
	if !g.collecting {
		g.cfg.WAL.Signal(g)
	}
}

// followStatus compares raft's status with the last one and tells the machine what changed.
func (g *Group) followStatus() {
	prev := g.status
	g.refreshStatus()
	now := g.status
	switch {
	case now.IsLead && (!prev.IsLead || now.Term != prev.Term):
		g.lead()
	case !now.IsLead && (prev.IsLead || now.Leader != prev.Leader || now.Term != prev.Term):
		g.follow(prev.IsLead)
	}
	if now.Commit <= prev.Commit {
		return
	}
	n := 0
	for n < len(g.open) && g.open[n].index <= now.Commit {
		g.openBytes -= g.open[n].bytes
		n++
	}
	g.open = g.open[:copy(g.open, g.open[n:])]
	if g.cfg.Observer != nil {
		g.cfg.Observer.Committed(now.Commit, g.collected, g.synced)
	}
}

func (g *Group) refreshStatus() {
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
	g.elapsed = 0
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
		tail = appendEntries(tail, es)
		lo += id.Index(len(es))
	}
	g.cfg.Observer.Lead(g.status.Term, tail)
}

func (g *Group) follow(led bool) {
	if led {
		g.dropProposals(ErrNotLeader)
		g.open, g.openBytes = g.open[:0], 0
	}
	if g.cfg.Observer != nil {
		g.cfg.Observer.Follow(g.status.Term, g.status.Leader)
	}
}

// apply hands committed entries to the machine and tells raft so.
func (g *Group) apply(m *pb.Message) {
	for i := range m.Entries {
		if err := g.applyConf(&m.Entries[i]); err != nil {
			g.fail(err)
			return
		}
	}
	g.enlisted = appendEntries(g.enlisted[:0], m.Entries)
	err := g.cfg.Applier.Apply(g.enlisted)
	clear(g.enlisted)
	if err != nil {
		g.fail(fmt.Errorf("replica: group %d: apply from %d: %w", g.cfg.Group, m.Entries[0].Index, err))
		return
	}
	g.applied = id.Index(m.Entries[len(m.Entries)-1].Index)
	g.status.Applied = g.applied
	g.stepResponses(m.Responses)
	g.evict()
}

func (g *Group) applyConf(e *pb.Entry) error {
	var cc pb.ConfChangeI
	switch e.Type {
	case pb.EntryConfChange:
		var c pb.ConfChange
		if err := c.Unmarshal(e.Data); err != nil {
			return fmt.Errorf("replica: group %d: configuration change at %d: %w", g.cfg.Group, e.Index, err)
		}
		cc = c
	case pb.EntryConfChangeV2:
		var c pb.ConfChangeV2
		if err := c.Unmarshal(e.Data); err != nil {
			return fmt.Errorf("replica: group %d: configuration change at %d: %w", g.cfg.Group, e.Index, err)
		}
		cc = c
	default:
		return nil
	}
	g.conf = *g.rn.ApplyConfChange(cc)
	return nil
}

// evict lets go of cached entries while all logs together keep too many. What is applied is durable here, so it can be
// read again; half stays, so that a follower a little behind is still served from memory.
func (g *Group) evict() {
	if !g.cfg.Budget.Over() {
		return
	}
	first, stable := g.log.base, g.applied
	if stable > first {
		g.log.Evict(first + (stable-first+1)/2)
	}
}

// silent is raft's logger: what an operator would act on is logged by the node, and logging on the hot path costs more
// than the path.
type silent struct{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}

func (silent) Fatal(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (silent) Fatalf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
func (silent) Panic(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (silent) Panicf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
