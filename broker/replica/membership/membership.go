// Package membership is who belongs to a raft group, and how that may change: sums over a configuration, without the group.
//
// A configuration is what raft says (ConfState); what a placement intends is somebody else's. It changes by entries of the
// log, one replica at a time or, several at once, through a joint configuration in which a decision needs a quorum of both
// the old voters and the new. A replica is a learner first, so that a voter without a log never counts.
package membership

import (
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Errors of a change that is refused.
var (
	// ErrNotCaughtUp: a replica may vote only once it has nearly the whole log. Try again.
	ErrNotCaughtUp = errors.New("membership: the replica is not caught up")
	// ErrConfiguration: the change does not fit the configuration. Trying again is of no use.
	ErrConfiguration = errors.New("membership: impossible configuration change")
)

// ConfState is a group's raft configuration in a form that other packages may keep: raftpb's, encoded.
type ConfState []byte

// Members is a configuration in words. While it is joint, Outgoing are the voters before the change: a decision then needs
// a quorum of both. Next are outgoing voters that become learners when the change is done.
type Members struct {
	Voters, Outgoing, Learners, Next []id.ReplicaID
}

// Joint tells whether a change of the configuration is half done.
func (m Members) Joint() bool { return len(m.Outgoing) > 0 }

// Has tells whether a configuration names a replica.
func (m Members) Has(r id.ReplicaID) bool {
	return slices.Contains(m.Voters, r) || slices.Contains(m.Outgoing, r) || slices.Contains(m.Learners, r) || slices.Contains(m.Next, r)
}

// Role is what a replica is to its group.
type Role uint8

// The roles. None is a replica that is not one of the group.
const (
	None Role = iota
	Learner
	Voter
)

// Change gives a replica another role.
type Change struct {
	Replica id.ReplicaID
	To      Role
}

// Members decodes a configuration. An empty one has no members.
func (c ConfState) Members() (Members, error) {
	cs, err := c.Decode(nil)
	return Of(&cs), err
}

// Of puts a configuration in words.
func Of(cs *pb.ConfState) Members {
	return Members{ids(cs.Voters), ids(cs.VotersOutgoing), ids(cs.Learners), ids(cs.LearnersNext)}
}

func ids(list []uint64) []id.ReplicaID {
	out := make([]id.ReplicaID, len(list))
	for i, v := range list {
		out[i] = id.ReplicaID(v)
	}
	return out
}

// Decode returns the configuration in raft's words; an empty one has the initial voters.
func (c ConfState) Decode(initial []id.ReplicaID) (pb.ConfState, error) {
	var cs pb.ConfState
	if len(c) == 0 {
		for _, v := range initial {
			cs.Voters = append(cs.Voters, uint64(v))
		}
		return cs, nil
	}
	if err := cs.Unmarshal(c); err != nil {
		return cs, fmt.Errorf("membership: a stored configuration: %w", err)
	}
	return cs, nil
}

// Encode makes a configuration one that other packages may keep.
func Encode(cs pb.ConfState) ConfState {
	b, err := cs.Marshal()
	if err != nil {
		panic(fmt.Sprintf("membership: a ConfState that does not encode: %v: %v", cs, err))
	}
	return b
}

// Everyone is all replicas that a configuration names, this one included, ascending.
func Everyone(cs *pb.ConfState) []uint64 {
	all := slices.Concat(cs.Voters, cs.VotersOutgoing, cs.Learners, cs.LearnersNext)
	slices.Sort(all)
	return slices.Compact(all)
}

// VotersOf is who may vote, ascending.
func VotersOf(cs *pb.ConfState) []uint64 {
	all := slices.Concat(cs.Voters, cs.VotersOutgoing)
	slices.Sort(all)
	return slices.Compact(all)
}

// Quorum tells whether those for whom has is true can decide.
func Quorum(cs *pb.ConfState, has func(uint64) bool) bool {
	for _, half := range [2][]uint64{cs.Voters, cs.VotersOutgoing} {
		n := 0
		for _, v := range half {
			if has(v) {
				n++
			}
		}
		if len(half) > 0 && n <= len(half)/2 {
			return false
		}
	}
	return true
}

// Check tells whether a configuration may be changed so. removed are replicas that may not come back; caughtUp tells
// whether a learner has nearly the whole log.
func Check(conf *pb.ConfState, cs []Change, removed []id.ReplicaID, caughtUp func(id.ReplicaID) bool) error {
	voters := slices.Clone(conf.Voters)
	var seen []id.ReplicaID
	for _, c := range cs {
		r := uint64(c.Replica)
		isVoter, isLearner := slices.Contains(conf.Voters, r), slices.Contains(conf.Learners, r)
		switch {
		case c.Replica == 0 || c.To > Voter || slices.Contains(seen, c.Replica):
			return fmt.Errorf("%w: %+v in %+v", ErrConfiguration, c, cs)
		case c.To != None && slices.Contains(removed, c.Replica):
			return fmt.Errorf("%w: replica %d was removed, and ids are not used again", ErrConfiguration, c.Replica)
		case c.To == Voter && !isVoter && !isLearner:
			return fmt.Errorf("%w: replica %d is to vote and is no learner", ErrConfiguration, c.Replica)
		case c.To == Voter && !isVoter && !caughtUp(c.Replica):
			return fmt.Errorf("%w: replica %d is to vote", ErrNotCaughtUp, c.Replica)
		case c.To == Learner && isVoter && len(cs) == 1:
			return fmt.Errorf("%w: replica %d is to vote no more, and that alone", ErrConfiguration, c.Replica)
		}
		seen = append(seen, c.Replica)
		voters = slices.DeleteFunc(voters, func(v uint64) bool { return v == r })
		if c.To == Voter {
			voters = append(voters, r)
		}
	}
	if len(voters) == 0 || len(cs) == 0 {
		return fmt.Errorf("%w: %+v leaves %d voters", ErrConfiguration, cs, len(voters))
	}
	return nil
}

// Proposal puts changes in the words that raft takes. More than one goes through a joint configuration, none leaves it.
// Raft never leaves one by itself: it would take an index that another proposal was promised.
func Proposal(cs ...Change) pb.ConfChangeV2 {
	cc := pb.ConfChangeV2{}
	if len(cs) > 1 {
		cc.Transition = pb.ConfChangeTransitionJointExplicit
	}
	for _, c := range cs {
		typ := pb.ConfChangeRemoveNode
		switch c.To {
		case Voter:
			typ = pb.ConfChangeAddNode
		case Learner:
			typ = pb.ConfChangeAddLearnerNode
		}
		cc.Changes = append(cc.Changes, pb.ConfChangeSingle{Type: typ, NodeID: uint64(c.Replica)})
	}
	return cc
}

// Parse returns the change that an entry carries, nil if it carries none.
func Parse(e *pb.Entry) (pb.ConfChangeI, error) {
	switch e.Type {
	case pb.EntryConfChange:
		var c pb.ConfChange
		if err := c.Unmarshal(e.Data); err != nil {
			return nil, fmt.Errorf("membership: the change at %d: %w", e.Index, err)
		}
		return c, nil
	case pb.EntryConfChangeV2:
		var c pb.ConfChangeV2
		if err := c.Unmarshal(e.Data); err != nil {
			return nil, fmt.Errorf("membership: the change at %d: %w", e.Index, err)
		}
		return c, nil
	}
	return nil, nil
}
