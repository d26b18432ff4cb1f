// Package reassign makes the members of raft groups follow what the metadata intends for them. The metadata says where a group's
// replicas belong; the group's configuration says who has a vote, and only its log can change that. Between the two lie steps, each
// of which must leave a group that can go on if anybody dies behind it.
//
// # Who does it
//
// Whoever leads a group, for that group: it compares the intent, as of the metadata that its node has applied, with the
// configuration in effect, and proposes the one next step (Next). Nothing else is remembered, so another leader goes on where the
// last one stopped, and a step that was lost is found to be missing. An intent that is old makes at worst a learner that the next
// intent removes.
//
// # The steps
//
//	a replica that belongs and is not there      becomes a learner: it gets the log and does not count
//	a learner that belongs and is caught up      becomes a voter, and in the same step, through a joint configuration, a
//	                                             voter that does not belong ceases to be one, a dead one first
//	a voter that does not belong, and leads      hands the lead over first, so that nobody removes himself
//	what does not belong besides                 is removed, one at a time
//
// No step is taken behind which those voters that live would be no majority.
//
// # The old replica
//
// It stays, and votes, until a leader's configuration does not name it any more: Gone. Only then are its files deleted. The answer
// must be of the term that the replica knows, or a later one: a former leader that does not know it yet could say what was true once.
package reassign

import (
	"slices"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
)

// Peer is what a leader knows of a replica.
type Peer struct {
	Alive    bool
	CaughtUp bool // it has nearly the whole log
}

// Group is a group as its leader sees it.
type Group struct {
	Self    id.ReplicaID
	Want    []id.ReplicaID // who belongs
	Voters  int            // how many of these are to vote, at least; none is made a learner to keep to it
	Members membership.Members
	Peers   map[id.ReplicaID]Peer // of every replica that is wanted or named, this one too
}

// Step is what a leader is to do next: nothing when both are zero.
type Step struct {
	Change   []membership.Change
	Transfer id.ReplicaID // let it lead
}

// Next returns the step that brings a group nearer to what is wanted. done: it is what is wanted. If it is not and there is no step,
// something must happen first: a replica catches up, or comes back.
func Next(g Group) (s Step, done bool) {
	if g.Members.Joint() {
		return s, false // the group leaves it by itself
	}
	m := g.Members
	belongs := func(r id.ReplicaID) bool { return slices.Contains(g.Want, r) }
	for _, r := range m.Learners {
		if !belongs(r) {
			return change(membership.Change{Replica: r}), false
		}
	}
	for _, r := range g.Want {
		if !m.Has(r) {
			return change(membership.Change{Replica: r, To: membership.Learner}), false
		}
	}
	var extra, ready []id.ReplicaID // in the order in which they are to go, and to come
	settled := 0
	for _, r := range m.Voters {
		switch {
		case belongs(r):
			settled++
		case !g.Peers[r].Alive:
			extra = slices.Insert(extra, 0, r)
		default:
			extra = append(extra, r)
		}
	}
	for _, r := range g.Want {
		if p := g.Peers[r]; slices.Contains(m.Learners, r) && p.Alive && p.CaughtUp {
			ready = append(ready, r)
		}
	}
	lacks := settled < g.Voters && settled < len(g.Want)
	switch {
	case len(extra) == 0 && !lacks:
		return s, true
	case slices.Contains(extra, g.Self):
		return g.leave(ready), false
	case lacks && len(ready) == 0:
		return s, false
	}
	var cs []membership.Change
	if lacks {
		cs = append(cs, membership.Change{Replica: ready[0], To: membership.Voter})
	}
	if len(extra) > 0 {
		cs = append(cs, membership.Change{Replica: extra[0]})
	}
	return g.safely(cs), false
}

func change(cs ...membership.Change) Step { return Step{Change: cs} }

// leave is the step of a leader that does not belong: another is to lead. If nobody could, one that is caught up votes first.
func (g Group) leave(ready []id.ReplicaID) (s Step) {
	for _, r := range g.Members.Voters {
		if p := g.Peers[r]; slices.Contains(g.Want, r) && p.Alive && p.CaughtUp {
			return Step{Transfer: r}
		}
	}
	if len(ready) > 0 {
		return g.safely([]membership.Change{{Replica: ready[0], To: membership.Voter}})
	}
	return s
}

// safely is a change, unless the voters that live would be no majority behind it.
func (g Group) safely(cs []membership.Change) (s Step) {
	voters := slices.Clone(g.Members.Voters)
	for _, c := range cs {
		voters = slices.DeleteFunc(voters, func(v id.ReplicaID) bool { return v == c.Replica })
		if c.To == membership.Voter {
			voters = append(voters, c.Replica)
		}
	}
	alive := 0
	for _, v := range voters {
		if g.Peers[v].Alive {
			alive++
		}
	}
	if alive <= len(voters)/2 {
		return s
	}
	return Step{Change: cs}
}

// MetadataVoters is how many of so many replicas of the metadata group vote: more than five make each decision dearer and no
// failure likelier to be survived, and of an even number one is of no use.
func MetadataVoters(replicas int) int { return max(1, min(5, replicas-1+replicas%2)) }
