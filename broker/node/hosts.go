package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/partition"
	"ackline/broker/replica"
)

// hosted is one partition's replica on this node.
type hosted struct {
	id    id.GroupID
	self  id.ReplicaID
	part  *partition.Partition
	group *replica.Group
	topic meta.TopicID
}

// hosts finds the replicas of this node. mu guards m, failed and changed.
type hosts struct {
	mu      sync.RWMutex
	m       map[id.GroupID]*hosted
	failed  map[id.GroupID]error // that could not be opened
	changed chan struct{}        // closed and replaced at each change
}

func newHosts() *hosts {
	return &hosts{m: map[id.GroupID]*hosted{}, failed: map[id.GroupID]error{}, changed: make(chan struct{})}
}

// Partition implements api.Hosts.
func (h *hosts) Partition(g id.GroupID) *partition.Partition {
	h.mu.RLock()
	r := h.m[g]
	h.mu.RUnlock()
	if r == nil {
		return nil
	}
	return r.part
}

func (h *hosts) get(g id.GroupID) *hosted {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.m[g]
}

func (h *hosts) all() []*hosted {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list := make([]*hosted, 0, len(h.m))
	for _, r := range h.m {
		list = append(list, r)
	}
	return list
}

func (h *hosts) add(r *hosted) {
	h.mu.Lock()
	h.m[r.id] = r
	h.mu.Unlock()
	h.notify()
}

func (h *hosts) remove(g id.GroupID) *hosted {
	h.mu.Lock()
	r := h.m[g]
	delete(h.m, g)
	delete(h.failed, g)
	h.mu.Unlock()
	h.notify()
	return r
}

func (h *hosts) fail(g id.GroupID, err error) {
	h.mu.Lock()
	h.failed[g] = err
	h.mu.Unlock()
	h.notify()
}

// notify wakes everyone who waits for a change.
func (h *hosts) notify() {
	h.mu.Lock()
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
}

var errNoLeader = errors.New("no leader yet")

// open tells whether a group is open and has a leader; the channel is closed at the next change.
func (h *hosts) open(g id.GroupID) (<-chan struct{}, error) {
	h.mu.RLock()
	r, failed, changed := h.m[g], h.failed[g], h.changed
	h.mu.RUnlock()
	switch {
	case failed != nil:
		return nil, failed
	case r == nil:
		return changed, errNoLeader
	}
	if b := r.part.Bounds(); b.Leading && b.Ready || b.Leader != 0 {
		return nil, nil
	}
	return changed, errNoLeader
}

// await returns once a group is open and has a leader.
func (h *hosts) await(ctx context.Context, g id.GroupID) error {
	for {
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
}
