package engine

import (
	"sync"

	"ackline/broker/id"
)

const shards = 64

// registry finds a group's member. GroupIDs are issued one after the other, so the lowest bits spread them.
type registry struct {
	shards [shards]shard
}

type shard struct {
	mu sync.RWMutex // guards m
	m  map[id.GroupID]*member
	_  [64]byte // of another shard's cache line
}

func (r *registry) init() {
	for i := range r.shards {
		r.shards[i].m = map[id.GroupID]*member{}
	}
}

func (r *registry) shard(g id.GroupID) *shard { return &r.shards[uint64(g)%shards] }

func (r *registry) get(g id.GroupID) *member {
	s := r.shard(g)
	s.mu.RLock()
	m := s.m[g]
	s.mu.RUnlock()
	return m
}

// add is false if the group is there.
func (r *registry) add(m *member) bool {
	s := r.shard(m.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[m.id] != nil {
		return false
	}
	s.m[m.id] = m
	return true
}

func (r *registry) remove(g id.GroupID) {
	s := r.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, g)
}

// all appends every member to dst.
func (r *registry) all(dst []*member) []*member {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for _, m := range s.m {
			dst = append(dst, m)
		}
		s.mu.RUnlock()
	}
	return dst
}

func (r *registry) len() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}
