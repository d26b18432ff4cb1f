package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/wal"
)

// Group is one replica of one raft group. Every method takes the lock itself unless its name ends in Locked: those are
// for a holder of Lock, so that a machine can decide and propose in one step.
type Group struct {
	mu sync.Mutex // guards everything below, and the machine behind applier and observer

	cfg Config
	rn  *raft.RawNode
	log *Log
	old *durable

	hard wal.HardState // what raft last told to store; what of it is durable is in the WAL's index
	conf pb.ConfState

	status  Status
	applied id.Index

	props      []pb.Entry // proposed by the machine, not yet stepped
	propBytes  int
	openBytes  int        // proposed and not committed, props included
	open       []proposal // what openBytes counts, by index
	queue      []store    // from raft, not yet collected by the WAL
	inflight   []store    // collected, not yet durable
	checkpoint *checkpoint
	collected  int64 // monotonic ns at which the newest durable batch was built
	synced     int64 // and at which it was synced

	elapsed    int // ticks since a leader was heard of
	timeout    int // ticks at which this follower campaigns
	jitter     *rand.Rand
	moving     bool // leadership is being handed over: no proposals
	stopped    error
	enlisted   []Entry // Collect's and apply's scratch
	collecting bool    // Collect runs
}

// Status is what a group tells about itself.
type Status struct {
	Term    id.Term
	Leader  id.ReplicaID // 0: none known
	IsLead  bool
	Commit  id.Index
	Applied id.Index
	Last    id.Index
}

type proposal struct {
	index id.Index
	bytes int
}

// store is one raft MsgStorageAppend on its way to the disk.
type store struct {
	batch     id.LSN // set once collected
	entries   []pb.Entry
	hard      wal.HardState
	hasHard   bool
	responses []pb.Message
	collected int64
	done      []chan struct{} // of a checkpoint: closed when it is durable
}

type checkpoint struct {
	flushed id.Index
	term    id.Term
	payload []byte
	done    []chan struct{}
}

// NewGroup opens a replica from what recovery found. The group does nothing until it is told to: Campaign, Step, Tick.
func NewGroup(cfg Config, st State) (*Group, error) {
	cfg = cfg.withDefaults()
	conf, err := st.Conf.decode(cfg.Voters)
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
	g := &Group{cfg: cfg, hard: st.Hard, conf: conf, applied: st.Applied, jitter: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Replica)))}
	g.old = &durable{wal: cfg.WAL, group: cfg.Group, history: cfg.History, flushed: st.Flushed, term: st.FlushedTerm}
	lastTerm := st.FlushedTerm
	if st.Last > st.Flushed {
		if lastTerm, err = cfg.WAL.Term(cfg.Group, st.Last); err != nil {
			return nil, fmt.Errorf("replica: group %d: term of the last entry %d: %w", cfg.Group, st.Last, err)
		}
	}
	g.log = NewLog(g.old, cfg.Budget, st.Last, lastTerm)
	g.drawTimeout()
	g.rn, err = raft.NewRawNode(&raft.Config{
		ID:                        uint64(cfg.Replica),
		ElectionTick:              cfg.ElectionTicks,
		HeartbeatTick:             1,
		Storage:                   storage{g},
		Applied:                   uint64(st.Applied),
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  4 << 20,
		MaxUncommittedEntriesSize: 0, // bounded by Config.UncommittedBytes before raft sees a proposal
		MaxInflightMsgs:           256,
		MaxInflightBytes:          64 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    silent{},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	})
	if err != nil {
		return nil, fmt.Errorf("replica: group %d: %w", cfg.Group, err)
	}
	g.refreshStatus()
	return g, nil
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
	case !g.status.IsLead || g.moving:
		return 0, 0, ErrNotLeader
	case g.openBytes > 0 && g.openBytes+len(e.Data) > g.cfg.UncommittedBytes:
		return 0, 0, ErrBusy
	}
	g.props = append(g.props, e)
	g.propBytes += len(e.Data)
	g.openBytes += len(e.Data)
	index := g.status.Last + id.Index(len(g.props))
	g.open = append(g.open, proposal{index, len(e.Data)})
	if len(g.conf.Voters) > 1 && len(g.inflight) == 0 && len(g.queue) == 0 {
		g.stepProposals(1 << 30)
	}
	g.signal()
	return index, g.status.Term, nil
}

// stepProposals hands queued proposals of about room bytes, at least one, to raft as one MsgProp.
func (g *Group) stepProposals(room int) {
	if len(g.props) == 0 {
		return
	}
	n, size := 0, 0
	for n < len(g.props) && (n == 0 || size+len(g.props[n].Data) <= room) {
		size += len(g.props[n].Data)
		n++
	}
	err := g.rn.Step(pb.Message{Type: pb.MsgProp, From: uint64(g.cfg.Replica), Entries: g.props[:n]})
	if err != nil {
		g.dropProposals(err)
		return
	}
	// raft has copied the entries; the array is ours again.
	rest := copy(g.props, g.props[n:])
	clear(g.props[rest:])
	g.props, g.propBytes = g.props[:rest], g.propBytes-size
	g.handleReady()
}

func (g *Group) dropProposals(err error) {
	if len(g.props) == 0 {
		return
	}
	from := g.status.Last + 1
	g.open = g.open[:len(g.open)-len(g.props)]
	g.openBytes -= g.propBytes
	clear(g.props)
	g.props, g.propBytes = g.props[:0], 0
	if g.cfg.Observer != nil {
		g.cfg.Observer.Dropped(from, err)
	}
}

// Collect implements wal.Source: it adds what raft wants stored to the batch under construction.
func (g *Group) Collect(b *wal.Batch) {
	g.mu.Lock()
	g.collecting = true
	now := g.cfg.Now()
	if ck := g.checkpoint; ck != nil {
		g.checkpoint = nil
		b.Checkpoint(g.cfg.Group, g.cfg.Replica, ck.flushed, ck.term, g.hard, ck.payload)
		g.inflight = append(g.inflight, store{batch: b.LSN(), collected: now, done: ck.done})
	}
	full := b.CheckpointsOnly()
	if g.stopped == nil && !full {
		g.stepProposals(b.Room())
	}
	n := 0
	for ; !full && n < len(g.queue) && (n == 0 || b.Room() > 0); n++ {
		s := &g.queue[n]
		if s.hasHard {
			b.HardState(g.cfg.Group, g.cfg.Replica, s.hard)
		}
		if len(s.entries) > 0 {
			g.enlisted = appendEntries(g.enlisted[:0], s.entries)
			b.Entries(g.cfg.Group, g.cfg.Replica, g.enlisted)
			clear(g.enlisted)
		}
		s.batch, s.collected, s.entries = b.LSN(), now, nil
		g.inflight = append(g.inflight, *s)
	}
	rest := copy(g.queue, g.queue[n:])
	clear(g.queue[rest:])
	g.queue = g.queue[:rest]
	g.collecting = false
	if rest > 0 || len(g.props) > 0 {
		g.signal()
	}
	g.Unlock()
}

// Durable implements wal.Source: every batch below end is on disk.
func (g *Group) Durable(end id.LSN) {
	now := g.cfg.Now()
	g.mu.Lock()
	n := 0
	for ; n < len(g.inflight) && g.inflight[n].batch < end; n++ {
		s := &g.inflight[n]
		g.collected, g.synced = s.collected, now
		g.stepResponses(s.responses)
		for _, done := range s.done {
			close(done)
		}
	}
	rest := copy(g.inflight, g.inflight[n:])
	clear(g.inflight[rest:])
	g.inflight = g.inflight[:rest]
	if n > 0 {
		g.handleReady()
	}
	g.Unlock()
}

// stepResponses delivers what raft wanted delivered once a write is durable: to itself and to other nodes.
func (g *Group) stepResponses(ms []pb.Message) {
	for i := range ms {
		if ms[i].To != uint64(g.cfg.Replica) {
			g.send(ms[i : i+1])
			continue
		}
		if err := g.rn.Step(ms[i]); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
			g.fail(fmt.Errorf("replica: group %d: step %v: %w", g.cfg.Group, ms[i].Type, err))
			return
		}
	}
}

func (g *Group) fail(err error) {
	if g.stopped != nil {
		return
	}
	g.stopped = err
	g.dropProposals(err)
	if g.cfg.Observer != nil {
		g.cfg.Observer.Follow(g.status.Term, 0)
	}
	g.status.IsLead = false
}

func appendEntries(dst []Entry, es []pb.Entry) []Entry {
	for i := range es {
		dst = append(dst, toEntry(&es[i]))
	}
	return dst
}

func toEntry(e *pb.Entry) Entry {
	return Entry{Index: id.Index(e.Index), Term: id.Term(e.Term), Type: uint8(e.Type), Data: e.Data}
}
