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
// Lock order: Group.mu, then the WAL's locks. No lock is held across a sync, a socket write or Complete.
package replica

import (
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
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

// Sender takes messages for other nodes, in order, without blocking. It is called with the group's lock held.
type Sender interface {
	Send(g id.GroupID, ms []pb.Message)
}

// History reads what the log no longer holds in memory or in the WAL: a partition's committed segments. Indexes are those
// from FirstIndex to the flushed index.
type History interface {
	Entries(lo, hi id.Index, maxBytes int) ([]Entry, error)
	Term(i id.Index) (id.Term, error)
	FirstIndex() id.Index
}

// Errors of proposing.
var (
	// ErrNotLeader: another replica leads, or none does. Nothing was proposed.
	ErrNotLeader = errors.New("replica: not the leader")
	// ErrBusy: the group's uncommitted bytes are at their limit. Nothing was proposed; the producer is to be slowed.
	ErrBusy = errors.New("replica: too many uncommitted bytes")
	// ErrStopped: the group was stopped or its node is closing.
	ErrStopped = errors.New("replica: group is stopped")
	// ErrCompacted: the asked-for entries are below the log's first index.
	ErrCompacted = errors.New("replica: entries are below the first index")
	// ErrUnavailable: the asked-for entries are beyond the last index.
	ErrUnavailable = errors.New("replica: entries are beyond the last index")
)

// Config says what a group is and what bounds it.
type Config struct {
	Group   id.GroupID
	Replica id.ReplicaID
	// Voters are the replicas the group was created with. They count only until a checkpoint records the
	// configuration that later changes led to.
	Voters []id.ReplicaID

	WAL     *wal.WAL
	Sender  Sender  // nil when this replica is the only voter
	Applier Applier // required
	// Observer may be nil: then nobody waits for commits.
	Observer Observer
	// History may be nil: then the log starts behind its last checkpoint.
	History History

	// Budget bounds the memory of all groups' cached entries; shared between them. Required.
	Budget *Budget
	// UncommittedBytes bounds what a leader has proposed and not committed; 0 means 64 MiB.
	UncommittedBytes int
	// ElectionTicks is how many ticks without a leader make a follower campaign; the replica waits this long and up to
	// twice as long, drawn from Seed. 0 means 10.
	ElectionTicks int
	// Seed makes the election jitter of this replica repeatable.
	Seed uint64
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
	Conf ConfState
}

// ConfState is a group's raft configuration in a form that other packages may keep: raftpb's, encoded.
type ConfState []byte

func (c ConfState) decode(initial []id.ReplicaID) (pb.ConfState, error) {
	var cs pb.ConfState
	if len(c) == 0 {
		for _, v := range initial {
			cs.Voters = append(cs.Voters, uint64(v))
		}
		return cs, nil
	}
	if err := cs.Unmarshal(c); err != nil {
		return cs, fmt.Errorf("replica: configuration of a checkpoint: %w", err)
	}
	return cs, nil
}

func encodeConf(cs pb.ConfState) ConfState {
	b, err := cs.Marshal()
	if err != nil {
		panic(fmt.Sprintf("replica: a ConfState that does not encode: %v: %v", cs, err))
	}
	return b
}

func (c Config) withDefaults() Config {
	if c.UncommittedBytes == 0 {
		c.UncommittedBytes = 64 << 20
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 10
	}
	return c
}
