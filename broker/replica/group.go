package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/candidacy"
	"ackline/broker/replica/catchup"
	"ackline/broker/replica/peers"
	"ackline/broker/replica/proposals"
	"ackline/broker/replica/raftlog"
	"ackline/broker/replica/readindex"
	"ackline/broker/replica/settings"
	"ackline/broker/replica/stores"
	"ackline/broker/wal"
)

// Group is one replica of one raft group. Every method takes the lock itself unless its name ends in Locked: those are
// for a holder of Lock, so that a machine can decide and propose in one step.
type Group struct {
	mu sync.Mutex // guards everything below, and the machine behind applier and observer

	cfg Config
	rn  *raft.RawNode
	log *raftlog.Log
	old *raftlog.Disk

	conf    pb.ConfState
	solo    bool           // conf names this replica and no other
	removed []id.ReplicaID // never part of the group again
	dead    []id.ReplicaID // on nodes that are dead now

	status  Status
	applied id.Index
	broken  error // of reading the log, on the way past raft

	props     proposals.Queue
	stores    stores.Queue // what the WAL was asked for
	collected int64        // monotonic ns at which the newest durable batch was built
	synced    int64        // and at which it was synced

	snapshotAt id.Index // of the last snapshot that was stored
	restoring  int      // snapshots stored and not restored yet

	clock      candidacy.Clock
	yield      bool        // do not stand: the node is about to stop
	provoked   bool        // a candidate with a shorter log was refused: stand for election
	early      *pb.Message // a request for pre-votes against a leader that was not known to be dead
	moving     bool        // leadership is being handed over: no proposals
	stopped    error
	enlisted   []Entry // apply's scratch
	collecting bool    // Collect runs
	handling   bool    // handleReady runs

	// Of a leader.
	peers     peers.Book
	gate      catchup.Gate
	leadAt    id.Index // the term's own first entry
	confIndex id.Index // until it is applied, raft takes no configuration change
	confEnd   id.Index // the log's end when the last one took effect; see SettledLocked
	snaps     snapshots
	reads     readindex.Queue

	quiet        bool
	idleTicks    int      // that a leader has had nothing to do
	contradicted id.Index // the end of the log when a follower last did not agree that the group is quiet
	intercept    bool     // heartbeats' responses go to intercepted, and not to the Sender
	intercepted  []pb.Message

	counters peers.Counters
}

// Status is what a group tells about itself.
type Status struct {
	Term    id.Term
	Leader  id.ReplicaID // 0: none known
	IsLead  bool
	Commit  id.Index
	Applied id.Index
	Last    id.Index
	Stopped bool // see Err
}

// NewGroup opens a replica from what recovery found. The group does nothing until it is told to: Campaign, Step, Tick.
func NewGroup(cfg Config, st State) (*Group, error) {
	cfg = cfg.withDefaults()
	if cfg.ElectionTicks <= cfg.HeartbeatTicks {
		return nil, fmt.Errorf("replica: ElectionTicks is %d, it must be more than HeartbeatTicks, which is %d", cfg.ElectionTicks, cfg.HeartbeatTicks)
	}
	conf, err := st.Conf.Decode(cfg.Voters)
	if err != nil {
		return nil, err
	}
	if len(conf.Voters) == 0 {
		return nil, fmt.Errorf("replica: group %d has no voters", cfg.Group)
	}
	if st.Hard.Commit < st.Flushed {
		// A checkpoint covers committed entries only, so the commit index is at least there, whatever was last written.
		st.Hard.Commit = st.Flushed
	}
	// A checkpoint's hard state may have been written before entries that it counts as committed: then they were lost, and
	// a commit index is only what is known, never a promise of this replica.
	st.Hard.Commit = min(st.Hard.Commit, st.Last)
	if st.Applied > st.Hard.Commit || st.Flushed > st.Last {
		panic(fmt.Sprintf("replica: group %d recovered as applied %d, committed %d, last %d",
			cfg.Group, st.Applied, st.Hard.Commit, st.Last))
	}
	g := &Group{cfg: cfg, applied: st.Applied, removed: slices.Clone(cfg.Removed), gate: catchup.Gate{Governor: cfg.Catchup},
		clock: candidacy.New(cfg.ElectionTicks, cfg.Seed, cfg.Replica)}
	g.stores = stores.New(stores.Config{Group: cfg.Group, Replica: cfg.Replica, PartBytes: cfg.WAL.LargestBatch() / 4, DataCRC: cfg.DataCRC}, st.Hard)
	g.old = raftlog.NewDisk(cfg.WAL, cfg.Group, cfg.History, st.Flushed, st.FlushedTerm)
	lastTerm := st.FlushedTerm
	if st.Last > st.Flushed {
		if lastTerm, err = cfg.WAL.Term(cfg.Group, st.Last); err != nil {
			return nil, fmt.Errorf("replica: group %d: term of the last entry %d: %w", cfg.Group, st.Last, err)
		}
	}
	g.log = raftlog.New(g.old, cfg.Budget, st.Last, lastTerm)
	g.setConf(conf, st.Applied)
	if g.rn, err = g.newRaft(); err != nil {
		return nil, fmt.Errorf("replica: group %d: %w", cfg.Group, err)
	}
	g.refreshStatus()
	return g, nil
}

func (g *Group) newRaft() (*raft.RawNode, error) {
	c := settings.Config()
	c.ID, c.Storage, c.Applied = uint64(g.cfg.Replica), storage{g}, uint64(g.applied)
	c.ElectionTick, c.HeartbeatTick = g.cfg.ElectionTicks, g.cfg.HeartbeatTicks
	return raft.NewRawNode(&c)
}

// Lock takes the group's lock, for the Locked methods and for the machine's own state.
func (g *Group) Lock() { g.mu.Lock() }

// Unlock releases the lock and then does what the machine left to be done.
func (g *Group) Unlock() {
	var c Completion
	if g.cfg.Observer != nil {
		c = g.cfg.Observer.Take()
	}
	g.mu.Unlock()
	if c != nil {
		c.Complete()
	}
}

// ProposeLocked queues data as the group's next entry and returns the index and term it will have. The entry is lost if
// this replica stops leading before a quorum has it; Observer then hears of it. Drive the WAL after the unlock.
func (g *Group) ProposeLocked(data []byte) (id.Index, id.Term, error) {
	return g.proposeLocked(pb.Entry{Type: pb.EntryNormal, Data: data})
}

func (g *Group) proposeLocked(e pb.Entry) (id.Index, id.Term, error) {
	switch {
	case g.stopped != nil:
		return 0, 0, g.stopped
	case !g.status.IsLead:
		return 0, 0, ErrNotLeader
	case g.moving:
		return 0, 0, ErrMoving
	case !g.props.Fits(len(e.Data), g.cfg.UncommittedBytes):
		return 0, 0, ErrBusy
	}
	index := g.nextIndex()
	g.props.Add(index, e)
	term := g.status.Term
	if !g.solo {
		g.wake()
		if g.stores.Empty() && !g.handling {
			g.stepProposals(1 << 30)
			if g.stopped != nil {
				return 0, 0, g.stopped // the machine was told before it could note this proposal
			}
		}
	}
	g.signal()
	return index, term, nil
}

// nextIndex is what the next proposal is promised.
func (g *Group) nextIndex() id.Index { return g.props.Next(g.status.Last) }

// stepProposals hands queued proposals of about room bytes, at least one, to raft as one MsgProp.
func (g *Group) stepProposals(room int) {
	es := g.props.Peek(room)
	if len(es) == 0 {
		return
	}
	if first := g.props.First(); first != g.status.Last+1 {
		panic(fmt.Sprintf("replica: group %d: a proposal was promised index %d, the log ends at %d", g.cfg.Group, first, g.status.Last))
	}
	if err := g.rn.Step(pb.Message{Type: pb.MsgProp, From: uint64(g.cfg.Replica), Entries: es}); err != nil {
		g.dropProposals(err)
		return
	}
	want := g.status.Last + id.Index(len(es))
	g.props.Taken(len(es)) // raft has copied the entries
	g.handleReady()
	if got := g.log.LastIndex(); got != want && g.stopped == nil {
		panic(fmt.Sprintf("replica: group %d: proposals were to end at index %d, the log ends at %d", g.cfg.Group, want, got))
	}
}

func (g *Group) dropProposals(err error) {
	if g.props.Len() == 0 {
		return
	}
	g.props.Drop()
	if g.cfg.Observer != nil {
		g.cfg.Observer.Dropped(g.props.First(), err)
	}
}

// Collect implements wal.Source: it adds what raft wants stored to the batch under construction.
func (g *Group) Collect(b *wal.Batch) {
	g.mu.Lock()
	g.collecting = true
	now := g.cfg.Now()
	behind := g.stores.CollectCheckpoint(b, now)
	if g.stopped == nil && !b.CheckpointsOnly() && (!behind || b.Room() > 0) {
		g.stepProposals(b.Room())
	}
	left := g.stores.Collect(b, now, behind)
	g.collecting = false
	if left || g.props.Len() > 0 {
		g.signal()
	}
	g.Unlock()
}

// Durable implements wal.Source: every batch below end is on disk.
func (g *Group) Durable(end id.LSN) {
	now := g.cfg.Now()
	g.mu.Lock()
	stored := g.stores.Durable(end, g.status.Term)
	for i := range stored {
		s := &stored[i]
		g.collected, g.synced = s.Collected, now
		if s.Snapshot != nil {
			g.restore(s.Snapshot)
		}
		g.stepResponses(s.Responses)
		for _, done := range s.Done {
			close(done)
		}
	}
	g.stores.Forget(len(stored))
	if len(stored) > 0 {
		g.handleReady()
	}
	g.Unlock()
}

// stepResponses delivers what raft wanted delivered once a write is durable: to itself and to other nodes.
func (g *Group) stepResponses(ms []pb.Message) {
	for i := range ms {
		if g.stopped != nil {
			return
		}
		if ms[i].To != uint64(g.cfg.Replica) {
			g.send(ms[i : i+1])
			continue
		}
		// A leader that was removed answers itself and is no peer any more.
		if err := g.rn.Step(ms[i]); err != nil && !errors.Is(err, raft.ErrProposalDropped) && !errors.Is(err, raft.ErrStepPeerNotFound) {
			g.fail(fmt.Errorf("replica: group %d: step %v: %w", g.cfg.Group, ms[i].Type, err))
			return
		}
	}
}

func (g *Group) fail(err error) {
	if g.stopped != nil {
		return
	}
	if g.status.IsLead && !errors.Is(err, ErrStopped) {
		g.resign()
	}
	g.stopped = err
	g.stores.Drop()
	g.unlead(err)
	if g.cfg.Observer != nil {
		g.cfg.Observer.Follow(g.status.Term, 0)
	}
	g.status.IsLead, g.status.Leader, g.status.Stopped = false, 0, true
	g.tellHost()
	g.rest()
}

// resign tells the voter that has most of the log to take over from a leader that cannot go on. If that is lost,
// LeaderResigned or the followers' own clocks do the same.
func (g *Group) resign() {
	var next Progress
	for _, p := range g.progress() {
		if !p.Learner && p.Active && p.replicating && p.Match >= next.Match {
			next = p
		}
	}
	if next.Replica != 0 && g.cfg.Sender != nil {
		g.transmit([]pb.Message{{Type: pb.MsgTimeoutNow, To: uint64(next.Replica), From: uint64(g.cfg.Replica), Term: uint64(g.status.Term)}})
	}
}
