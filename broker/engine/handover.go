package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/replica"
)

const (
	// transferTicks is after how many ticks a leadership that is still here is handed to another: twice raft's own patience
	// with the default election time-out.
	transferTicks = 20
	// closeBehind is how many entries a successor may lack of what the best one has: raft sends them first.
	closeBehind = 100
)

// ErrNoSuccessor: a group of several voters has no other on a node that lives.
var ErrNoSuccessor = errors.New("engine: no other voter is alive")

// Yield makes no group of this node stand for election, or lets them again: the node is about to stop.
func (e *Engine) Yield(on bool) {
	e.yielding.Store(on)
	for _, m := range e.groups.all(nil) {
		m.group.Yield(on)
	}
}

// TransferAll hands the leadership of every group over to a voter that is caught up, so that the peers get about as many
// each, and returns when none is left that could be, or ctx ends. The node yields from then on: to stay, call Yield(false).
// Whoever only one voter has keeps its leader and is no error.
func (e *Engine) TransferAll(ctx context.Context) error {
	e.handing.Add(1)
	defer e.handing.Add(-1)
	e.Yield(true)
	h := handover{e: e, begun: map[*member]uint64{}, load: map[id.NodeID]int{}}
	for {
		left, orphans := h.round()
		switch {
		case left == 0 && orphans > 0:
			return fmt.Errorf("%w for %d groups", ErrNoSuccessor, orphans)
		case left == 0:
			return nil
		}
		select {
		case <-e.moved:
		case <-ctx.Done():
			return fmt.Errorf("engine: handing leaderships over: %d are left: %w", left+orphans, ctx.Err())
		}
	}
}

// lookAgain makes a TransferAll look at what has changed.
func (e *Engine) lookAgain() {
	if e.handing.Load() > 0 {
		select {
		case e.moved <- struct{}{}:
		default:
		}
	}
}

type handover struct {
	e       *Engine
	members []*member          // scratch
	begun   map[*member]uint64 // at which tick
	load    map[id.NodeID]int  // leaderships that each peer was given
}

// round hands over as many leaderships as may be under way at once. left is how many are still here, orphans how many of
// the rest nobody can take.
func (h *handover) round() (left, orphans int) {
	h.members = h.e.groups.all(h.members[:0])
	slices.SortFunc(h.members, func(a, b *member) int { return cmp.Compare(a.id, b.id) })
	now, under := h.e.counters.ticks.Load(), 0
	var idle []*member
	for _, m := range h.members {
		began, ok := h.begun[m]
		switch {
		case !m.leads.Load():
			delete(h.begun, m)
		case ok && now-began < transferTicks:
			under++
		default:
			idle = append(idle, m)
		}
	}
	left = under
	for _, m := range idle {
		if under >= h.e.cfg.Transfers {
			left++
			continue
		}
		to, node, state := h.successor(m)
		switch state {
		case lacking:
			orphans++
			continue
		case alone:
			continue
		case found:
			h.load[node]++
			if m.group.TransferLeadership(to) == nil {
				h.begun[m] = now
				under++
			}
		}
		if m.leads.Load() {
			left++
		}
	}
	h.e.Drive()
	return left, orphans
}

type search uint8

const (
	found   search = iota
	behind         // there is one, and it is not caught up
	alone          // the group has one voter
	lacking        // the others are dead
)

// successor finds the voter that is to lead a group next: of those on living nodes that have about as much as the best, the
// one on the node that was given the least so far.
func (h *handover) successor(m *member) (to id.ReplicaID, node id.NodeID, state search) {
	voters := slices.DeleteFunc(m.group.Progress(), func(p replica.Progress) bool { return p.Learner })
	if len(voters) == 0 {
		return 0, 0, alone
	}
	best, at := id.Index(0), map[id.ReplicaID]id.NodeID{}
	for _, p := range voters {
		if n, ok := m.nodeOf(p.Replica); ok && !h.e.news.isDead(n) {
			at[p.Replica] = n
			best = max(best, p.Match)
		}
	}
	if len(at) == 0 {
		return 0, 0, lacking
	}
	if best+closeBehind < m.group.Status().Last {
		return 0, 0, behind
	}
	for _, p := range voters {
		n, ok := at[p.Replica]
		if ok && !p.Snapshot && p.Match+closeBehind >= best && (to == 0 || h.load[n] < h.load[node]) {
			to, node = p.Replica, n
		}
	}
	if to == 0 {
		return 0, 0, behind
	}
	return to, node, found
}
