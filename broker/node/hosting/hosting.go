// Package hosting finds the partitions whose replicas are on a node. Requests look them up while others are opened and deleted, and
// some wait until theirs is there and has a leader.
package hosting

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/partition"
	"ackline/broker/replica"
)

// Hosted is one partition's replica on this node.
type Hosted struct {
	ID    id.GroupID
	Self  id.ReplicaID
	Part  *partition.Partition
	Group *replica.Group
	Topic meta.TopicID
	// Going: it belongs here no more, and stays as long as its group counts on it; Free: the group does so no longer.
	Going, Free atomic.Bool
}

// Hosts finds the replicas of this node. mu guards m, failed and changed.
type Hosts struct {
	mu      sync.RWMutex
	m       map[id.GroupID]*Hosted
	failed  map[id.GroupID]error // that could not be opened
	changed chan struct{}        // closed and replaced at each change
}

// New returns none.
func New() *Hosts {
	return &Hosts{m: map[id.GroupID]*Hosted{}, failed: map[id.GroupID]error{}, changed: make(chan struct{})}
}

// Partition implements api.Hosts, with AwaitOpen of the node.
func (h *Hosts) Partition(g id.GroupID) *partition.Partition {
	h.mu.RLock()
	r := h.m[g]
	h.mu.RUnlock()
	if r == nil {
		return nil
	}
	return r.Part
}

// Get returns the replica of a group, nil if it is not here.
func (h *Hosts) Get(g id.GroupID) *Hosted {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.m[g]
}

// All lists the replicas, in no order.
func (h *Hosts) All() []*Hosted {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list := make([]*Hosted, 0, len(h.m))
	for _, r := range h.m {
		list = append(list, r)
	}
	return list
}

// Add makes a replica known, which is open.
func (h *Hosts) Add(r *Hosted) {
	h.mu.Lock()
	h.m[r.ID] = r
	h.mu.Unlock()
	h.Notify()
}

// Remove forgets a replica, or why it could not be opened, and returns it, nil if it was not here.
func (h *Hosts) Remove(g id.GroupID) *Hosted {
	h.mu.Lock()
	r := h.m[g]
	delete(h.m, g)
	delete(h.failed, g)
	h.mu.Unlock()
	h.Notify()
	return r
}

// Fail notes why a group could not be opened: who waits for it is told.
func (h *Hosts) Fail(g id.GroupID, err error) {
	h.mu.Lock()
	h.failed[g] = err
	h.mu.Unlock()
	h.Notify()
}

// Changed is closed at the next change.
func (h *Hosts) Changed() <-chan struct{} {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.changed
}

// Notify wakes everyone who waits for a change.
func (h *Hosts) Notify() {
	h.mu.Lock()
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
}

var errNoLeader = errors.New("no leader yet")

// open tells whether a group is open and has a leader; the channel is closed at the next change.
func (h *Hosts) open(g id.GroupID) (<-chan struct{}, error) {
	h.mu.RLock()
	r, failed, changed := h.m[g], h.failed[g], h.changed
	h.mu.RUnlock()
	switch {
	case failed != nil:
		return nil, failed
	case r == nil:
		return changed, errNoLeader
	}
	if b := r.Part.Bounds(); b.Leading && b.Ready || b.Leader != 0 {
		return nil, nil
	}
	return changed, errNoLeader
}

// Await returns once a group is open and has a leader, or does not belong here any more.
func (h *Hosts) Await(ctx context.Context, g id.GroupID, here func() bool) error {
	for here() {
		changed, err := h.open(g)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for group %d: %w", g, ctx.Err())
		}
	}
	return nil
}
