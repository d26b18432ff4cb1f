// Package replica keeps raft groups: many on one node, all on one write-ahead log.
//
// etcd-raft is a core without I/O: it says what to store, what to send and what to apply, and wants to hear when that was
// done. This package is the loop around it. A Group holds one raft.RawNode behind one lock; the same lock guards the
// machine the group applies to, so that what a leader decides before it proposes (offsets, producer sequences) and the
// order of its proposals can never differ.
//
// The write path of one group, hop by hop:
//
//	Propose   queues data under the lock and enlists the group with the WAL; no raft step, no I/O
//	Collect   called by whoever drives the WAL: steps every queued proposal as one MsgProp, handles Ready, hands the
//	          entries to the batch that is being built
//	Durable   the batch is synced: steps raft's own responses, which moves the commit index; the machine hears of the
//	          commit, then of the applied entries; what it completed is delivered after the lock is released
//
// Proposals that arrive while a batch of the group is in flight wait for the next Collect and share its MsgProp: raft
// costs a tenth per entry when it steps 32 at once. A group with other voters steps at once when it has nothing in
// flight, so that replication does not wait for the local disk.
//
// What goes to other replicas (outbound.go) is less than raft asks for: an append that carries nothing but a commit index
// is held back, because the next append or heartbeat carries it too; that halves the messages of three replicas. A replica
// that lacks what its leader's log no longer has gets a snapshot (snapshot.go). A group where everybody has and knows
// everything needs no ticks (quiet.go). Whom a replica believes is in steer.go, how it stands for election in elect.go.
//
// A Group joins parts that know nothing of it, each a package below with a test of its own, all guarded by the group's lock:
//
//	raftlog     the log: memory within a budget, then the WAL, then the machine's own files
//	proposals   what waits for raft and was promised an index; the bound on what is not committed
//	peers       a leader's notes on the others: what is held back, what they know, the pace of snapshots
//	candidacy   the clock that says when to stand for election; raft's own draws from chance that nobody can repeat
//	membership  who belongs to a group and how that may change: joint consensus, learners first
//	readindex   linearizable reads, many to one question
//	stores      what the WAL was asked for, in order, and what waits until it is durable
//
// Nothing here has a goroutine, a timer or a clock: time is Tick and Config.Now, chance is Config.Seed.
//
// # What must hold
//
// Each is checked where it could break. What only a mistake of this program can break panics with both values. What another
// node may cause, because its disk was lost or is not what it was, stops the group with both values in the error, and
// nothing else: a panic would take a thousand healthy groups along, again at every start.
//
//	term and commit index never go back                                      followStatus
//	a proposal gets the index that its proposer was told                     stepProposals
//	entries are applied in order, without a gap                              apply
//	what is committed is never replaced                                      store
//	a snapshot is not newer than what is applied, and of the log's own term  offer
//	a snapshot of a group whose state is its log leaves out no entry         offer
//	a snapshot never takes a replica back, and its history begins behind it  storeSnapshot, restore
//	a joint configuration is left by a proposal of this package              setConf
//	one leader a term; nobody acknowledges, nor is told to commit, more than there is   doubt
//
// Lock order: Group.mu, then the WAL's locks and whatever Sender and Host take. No lock is held across a sync, a socket
// write or Complete.
package replica

import (
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/catchup"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/raftlog"
	"ackline/broker/wal"
)

// Entry is one raft entry as the WAL and the machines see it: Index, Term, Type (a raftpb.EntryType) and Data.
// Data is shared and must not be changed.
type Entry = wal.Entry

// Entry types, equal to raftpb's numbers, so that packages that may not import raft can tell entries apart.
const (
	EntryNormal     = uint8(pb.EntryNormal)
	EntryConfChange = uint8(pb.EntryConfChange)
	EntryConfV2     = uint8(pb.EntryConfChangeV2)
)

// Applier is what a group's committed entries go to, in index order, once each, with the group's lock held. An
// entry without Data is a new leader's no-op. An error stops the group: it is for a command that the machine does not
// know, after which applying on would diverge from the other replicas.
type Applier interface {
	Apply(es []Entry) error
}

// Observer hears what else happens to a group, with the group's lock held. A machine that has clients waiting is one.
type Observer interface {
	// Lead is called when the replica becomes leader, with every entry of its log that is not applied yet: the leader's
	// decisions start from them. The last is the term's own no-op.
	Lead(term id.Term, tail []Entry)
	// Follow is called when it stops being leader or learns of another one. leader is 0 when there is none.
	Follow(term id.Term, leader id.ReplicaID)
	// Committed is called when the commit index moves, before the entries are applied: a quorum has them on disk.
	// collected and synced are the monotonic nanoseconds at which this node's newest durable batch was built and synced.
	Committed(index id.Index, collected, synced int64)
	// Dropped is called when raft refused the proposals from index on. They are in no log: a definite failure.
	Dropped(from id.Index, err error)
	// Take returns what has to be done once the lock is released, nil when nothing has. Replies go out through it.
	Take() Completion
}

// Completion is work that the holder of a group's lock leaves for after the unlock.
type Completion = interface {
	Complete()
}

// Sender takes messages for other replicas, in order, without blocking. It is called with the group's lock held.
type Sender interface {
	// Send takes messages. The slice is the caller's again when it returns.
	Send(g id.GroupID, ms []pb.Message)
	// SendSnapshot takes a MsgSnap without data, and the snapshot that it stands for, to be streamed to m.To.
	// ReportSnapshot must be told the outcome, once. False: it could not be taken, and nothing will be reported.
	SendSnapshot(g id.GroupID, m pb.Message, s Snapshot) bool
}

// Host is who keeps the group and ticks it. It is called with the group's lock held.
type Host interface {
	// Ticks tells whether the group needs to be ticked from now on. A new group does.
	Ticks(g id.GroupID, needed bool)
	// Leader is called when the leader or the term has changed, and when the group has stopped (see Status.Stopped).
	Leader(g id.GroupID, s Status)
	// Configured is called when another configuration takes effect: at the index whose entry or snapshot brought it.
	Configured(g id.GroupID, at id.Index, m membership.Members)
}

// Reader hears how reads end that ReadIndex began, with the group's lock held.
type Reader interface {
	// Readable: whoever has applied everything up to index may answer the read. With an error there is no answer here.
	Readable(ctx uint64, index id.Index, err error)
}

// Errors of proposing.
var (
	// ErrNotLeader: another replica leads, or none does. Nothing was proposed.
	ErrNotLeader = errors.New("replica: not the leader")
	// ErrBusy: the group's uncommitted bytes are at their limit. Nothing was proposed; the producer is to be slowed.
	ErrBusy = errors.New("replica: too many uncommitted bytes")
	// ErrStopped: the group was stopped or its node is closing.
	ErrStopped = errors.New("replica: group is stopped")
	// ErrMoving: leadership is being handed over; it is an ErrNotLeader. Nothing was proposed.
	ErrMoving = fmt.Errorf("%w: leadership is being handed over", ErrNotLeader)
	// ErrRefused: a message from or for a replica that is not one of the group, or not any more, or that is dead.
	ErrRefused = errors.New("replica: message refused")
	// ErrInconsistent stopped the group: what another replica says contradicts what this one has. It is wrapped with both.
	ErrInconsistent = errors.New("replica: replicas contradict each other")
	// ErrChanging: a configuration change is under way, or a new leader has not applied its log yet. Try again.
	ErrChanging = errors.New("replica: another configuration change is under way")
)

// Config says what a group is and what bounds it.
type Config struct {
	Group   id.GroupID
	Replica id.ReplicaID
	// Voters are the replicas the group was created with. They count only until a checkpoint records the
	// configuration that later changes led to.
	Voters []id.ReplicaID

	WAL     *wal.WAL
	Sender  Sender  // may be nil when this replica is the only one and remains so
	Applier Applier // required
	// Observer may be nil: then nobody waits for commits.
	Observer Observer
	// History may be nil: then the log starts behind its last checkpoint.
	History raftlog.History
	// Snapshots may be nil: then a replica that lacks what the log no longer has is never caught up.
	Snapshots Snapshotter
	// Catchup may be nil: then a replica that was away is sent what it lacks as fast as it goes.
	Catchup *catchup.Governor
	// Reader is required for ReadIndex only.
	Reader Reader
	// Host may be nil: then the group is ticked whether it needs it or not.
	Host Host
	// Removed are replicas that were part of the group and never are again.
	Removed []id.ReplicaID

	// Budget bounds the memory of all groups' cached entries; shared between them. Required.
	Budget *raftlog.Budget
	// UncommittedBytes bounds what a leader has proposed and not committed; 0 means 64 MiB.
	UncommittedBytes int
	// ElectionTicks is how many ticks without a leader make a follower campaign; the replica waits this long and up to
	// twice as long, drawn from Seed. 0 means 10.
	ElectionTicks int
	// HeartbeatTicks is how many ticks lie between two heartbeats of a leader that is ticked. 0 means 1.
	HeartbeatTicks int
	// CommitTicks is how many ticks a commit index may wait for an append or a heartbeat to ride on, before it is sent
	// alone. 0 means 2.
	CommitTicks int
	// QuietTicks is how many ticks after the last change a group stops needing ticks if a follower has not agreed to that after
	// CommitTicks. 0 means that it always needs them.
	QuietTicks int
	// Far tells how many ticks a message to the farthest replica and its answer take. It is called with the group's lock held. Nil: less
	// than one.
	Far func() int
	// Seed makes the election jitter of this replica repeatable.
	Seed uint64
	// DataCRC may be nil. Of an entry's data it returns the CRC-32C, if it knows that without reading it, else 0.
	DataCRC func(data []byte) uint32
	// Now reads the monotonic clock in nanoseconds. Required.
	Now func() int64
}

// State is what recovery found of a group: zero for a new one.
type State struct {
	Hard wal.HardState
	// Flushed and FlushedTerm are of the last entry that the checkpoint covers: it is in segments or in a snapshot.
	Flushed     id.Index
	FlushedTerm id.Term
	// Last is the last entry the WAL holds, at least Flushed.
	Last id.Index
	// Applied is the last entry that the machine already has.
	Applied id.Index
	// Voters and the sets that go with joint consensus, as the checkpoint recorded them; empty for a new group.
	Conf membership.ConfState
}

func (c Config) withDefaults() Config {
	if c.UncommittedBytes == 0 {
		c.UncommittedBytes = 64 << 20
	}
	for _, d := range []struct {
		v *int
		d int
	}{{&c.ElectionTicks, 10}, {&c.HeartbeatTicks, 1}, {&c.CommitTicks, 2}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	return c
}
