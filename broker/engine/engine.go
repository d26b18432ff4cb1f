// Package engine keeps the raft groups of one node and connects them with those of other nodes. The problem is their number:
// ten thousand groups that nobody uses must cost nothing, a thousand that lose their leader at once must have others at
// once, and the one that a client waits for must not pay for any of them.
//
// # The way of a message
//
// A transport connection's reader calls Messages with everything that one read brought. Each group gets its share in one
// call under its lock; then the same goroutine drives the WAL, which it writes itself if nobody else is writing, and what
// that makes raft answer is sent from it too. A reader of answers leaves the WAL alone; Messages says why. What a group
// sends is enqueued under its lock and leaves in the next Flush:
//
//	Drive          before the WAL is asked to write: what proposals and messages have caused so far
//	wal.Outgoing   when a batch is collected and not written: proposals that waited for the last batch are stepped there
//	               behind a batch's sync: what answers for it
//
// So replication never waits for the local sync, and a batch of many groups is one system call for each peer. One produce
// of three nodes, one at a time, is (TestOneProduceCosts counts them):
//
//	leader     2 writev, one for each follower; 1 WAL write; 2 reads with an answer each
//	follower   1 read, 1 WAL write, 1 writev
//
// and nothing is handed to another goroutine, neither by the WAL nor by a link: who wakes is whose socket has something. With
// files on a disk and all three nodes in one process, perf stat counted for each (BenchmarkProduce/files=real, 5,000
// produces): 3.0 pwrite, 4.2 writev, 7.0 read (half of them find nothing), 2.3 epoll_pwait, 0.17 futex, 6.7 context switches.
//
// # What belongs where
//
// A ReplicaID stays on one node for ever, so what is known of that is never wrong, only incomplete: the metadata's list, and
// who was heard of. A message for a replica that is not here yet waits (package early) as long as Config.Awaited says that
// the metadata may explain it; one for a replica that is not here any more is refused.
//
// # Time
//
// Groups that need ticks say so. Tick ticks these; Start runs it from one timer, which is stopped when there have been none for a while.
// Callbacks of the transport only note what happened; Work carries it out for all groups concerned, a part at a time.
// A simulation calls Tick and Work itself.
//
// # Locks
//
// member.dying before a group's lock before any one of member.mu, ticks.mu, the transport's and the WAL's. early.mu is taken
// with nothing held, and a registry's shard within it. All others are leaves.
package engine

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/engine/early"
	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/transport/frame"
	"ackline/broker/wal"
)

// Config bounds an engine. Zero means the default in every field but Node.
type Config struct {
	Node id.NodeID
	// Awaited tells whether the metadata may still say that a replica belongs here: it is false for what is known to be
	// deleted or to belong elsewhere. It is asked for replicas that are not here, with locks of the engine held: it must not
	// call the engine, nor wait for a lock under which somebody does. Nil: any may come.
	Awaited func(g id.GroupID, r id.ReplicaID) bool
	// EarlyMessages bounds the messages that wait for one replica, EarlyBytes what waits in all. 0 means 64 and 16 MiB.
	EarlyMessages, EarlyBytes int
	// Interval says how long a tick is now; it is asked with each. Nil: what Start was given.
	Interval func() time.Duration
	// Transfers is how many leaderships TransferAll hands over at once. 0 means 64.
	Transfers int
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v *int
		d int
	}{{&c.EarlyMessages, 64}, {&c.EarlyBytes, 16 << 20}, {&c.Transfers, 64}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	return c
}

// Links carry messages to other nodes: a *transport.Transport. All but FlushAll is called with group locks held.
type Links interface {
	Enqueue(to id.NodeID, g id.GroupID, ms []pb.Message)
	FlushAll()
	SendSnapshot(to id.NodeID, g id.GroupID, m pb.Message, r io.ReadCloser, done func(error))
	Announce(l frame.Leader)
	Withdraw(g id.GroupID)
}

// Replica is where a replica is.
type Replica struct {
	Node id.NodeID
	ID   id.ReplicaID
}

// Spec is a group to be added.
type Spec struct {
	// Config is the replica's. WAL and Sender are the engine's to set; Host, if there is one, hears everything after the
	// engine has.
	Config replica.Config
	State  replica.State
	// Replicas are those of the group, as the metadata knows them.
	Replicas []Replica
	// Join is called with the group before anything is stepped. May be nil.
	Join func(*replica.Group)
	// Store takes the data of a snapshot whose sender streams it (replica.Snapshot.Open), off all locks, and returns the
	// payload that the WAL is to record. at has no Payload. Nil: the data is the payload.
	Store func(at replica.Snapshot, r io.Reader) ([]byte, error)
	// Forwards lets other nodes propose through this replica when it leads (Propose).
	Forwards bool
}

// Engine is a node's groups. It implements transport.Handler. All methods but Tick, Work and Attach may be called
// concurrently.
type Engine struct {
	cfg Config
	// Set by Attach, before there are groups, and not changed after.
	wal   *wal.WAL
	links Links

	groups    registry
	early     earlyBox
	ticks     ticks
	news      news
	pass      pass // owned by who calls Work
	announced announced
	bursts    sync.Pool // of *burst

	yielding atomic.Bool
	handing  atomic.Int64  // TransferAlls under way
	moved    chan struct{} // capacity 1: one of them should look again

	kick chan struct{} // capacity 1: there is something to tick, or work
	loop *loop         // nil unless started; guarded by loopMu
	// loopMu guards loop.
	loopMu sync.Mutex

	counters counters
}

type earlyBox struct {
	mu sync.Mutex // guards b, and that what is in it is not published
	b  *early.Buffer
}

// New returns an engine without groups. Options.Outgoing of its WAL is to be Flush.
func New(cfg Config) *Engine {
	cfg = cfg.withDefaults()
	e := &Engine{cfg: cfg, kick: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	e.early.b = early.New(cfg.EarlyMessages, cfg.EarlyBytes)
	e.groups.init()
	e.news.init()
	e.announced.m = map[id.GroupID]announcement{}
	e.bursts.New = func() any { return new(burst) }
	return e
}

// Attach gives the engine what it connects. Call it once, before the first group is added and the transport is started.
// links is nil on a node that has no peers.
func (e *Engine) Attach(w *wal.WAL, links Links) { e.wal, e.links = w, links }

// Flush sends what groups have enqueued for other nodes. It never waits. Call it without locks.
func (e *Engine) Flush() {
	if e.links != nil {
		e.links.FlushAll()
	}
}

// Drive sends what groups have enqueued and writes what they want stored, on the calling goroutine unless somebody else is
// at it. Call it, without locks, whenever a group has been given something: a proposal, a change, a candidacy.
func (e *Engine) Drive() {
	e.Flush()
	e.wal.Drive()
}

// errKnown: a group is added twice.
var errKnown = errors.New("engine: the group is here already")

// Add opens a replica and connects it: it is ticked, gets what came for it before, and knows which nodes are dead. Call
// Drive afterwards. A group may be added once, and again when Remove has returned.
func (e *Engine) Add(s Spec) (*replica.Group, error) {
	if e.groups.get(s.Config.Group) != nil {
		return nil, fmt.Errorf("%w: %d", errKnown, s.Config.Group)
	}
	m := &member{e: e, id: s.Config.Group, self: s.Config.Replica, host: s.Config.Host, store: s.Store, forwards: s.Forwards, slot: -1}
	m.setPlaced(s.Replicas)
	cfg := s.Config
	cfg.WAL, cfg.Sender, cfg.Host = e.wal, m, m
	group, err := replica.NewGroup(cfg, s.State)
	if err != nil {
		return nil, err
	}
	m.group = group
	if s.Join != nil {
		s.Join(group)
	}
	e.ticks.set(m, true, e.nudge)
	if !e.publish(m) {
		e.ticks.drop(m)
		group.Stop()
		return nil, fmt.Errorf("%w: %d", errKnown, m.id)
	}
	// From here on whatever changes is told the member as well; this is what changed before.
	m.setDead(e.news.deaths())
	if e.yielding.Load() {
		group.Yield(true)
	}
	return group, nil
}

// publish makes a member known, behind everything that came for it before: so the order of messages stays.
func (e *Engine) publish(m *member) bool {
	for {
		e.early.mu.Lock()
		held := e.early.b.Take(early.Key{Group: m.id, Replica: m.self})
		if len(held) == 0 {
			ok := e.groups.add(m)
			e.early.mu.Unlock()
			return ok
		}
		e.early.mu.Unlock()
		e.counters.woken.Add(uint64(len(held)))
		for i := range held {
			m.step(held[i].From, []pb.Message{held[i].Message})
		}
	}
}

// Remove stops a group's replica and forgets it; a newer one may be added. Its files, and its records in the WAL, are the
// caller's. Call it, too, when the metadata says that a group which was never here is deleted: what waited for it goes.
func (e *Engine) Remove(g id.GroupID) {
	e.early.mu.Lock()
	m := e.groups.get(g)
	dropped := e.early.b.Drop(g, e.awaited) // while the replica tells which are older
	e.groups.remove(g)
	e.early.mu.Unlock()
	e.counters.dropped.Add(uint64(dropped))
	if m != nil {
		m.group.Stop()
		e.ticks.drop(m)
	}
}

// Group returns a group of this node, nil if it is not here.
func (e *Engine) Group(g id.GroupID) *replica.Group {
	if m := e.groups.get(g); m != nil {
		return m.group
	}
	return nil
}

// SetReplicas tells where the metadata has a group's replicas now. It is false if the group is not here.
func (e *Engine) SetReplicas(g id.GroupID, replicas []Replica) bool {
	m := e.groups.get(g)
	if m == nil {
		return false
	}
	m.setPlaced(replicas)
	m.setDead(e.news.deaths())
	return true
}

// nudge wakes the loop. It may be called with any lock held.
func (e *Engine) nudge() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}
