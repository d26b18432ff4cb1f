// Package backlog knows which groups have applied records that no segment holds yet. The problem is their number: one record is
// enough to be in the set until the next checkpoint, minutes later, so that nobody may walk it whenever somebody writes. Those
// few that are worth a flush of their own are therefore kept apart.
package backlog

import (
	"sync"

	"ackline/broker/id"
)

// Set is a set of groups. Its methods may be called with a group's lock held.
type Set struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex // guards in and large
	in    map[id.GroupID]struct{}
	large map[id.GroupID]struct{} // a subset of in
}

// New returns an empty set.
func New() *Set {
	return &Set{wake: make(chan struct{}, 1), in: map[id.GroupID]struct{}{}, large: map[id.GroupID]struct{}{}}
}

// Wake receives when a group is added to an empty set, and when one is worth a flush after none was.
func (s *Set) Wake() <-chan struct{} { return s.wake }

// Add notes that a group has something to flush, Large that it is worth a flush of its own.
func (s *Set) Add(g id.GroupID) { s.add(g, false) }

// Large is Add for a group that is worth a flush of its own.
func (s *Set) Large(g id.GroupID) { s.add(g, true) }

func (s *Set) add(g id.GroupID, large bool) {
	s.mu.Lock()
	first := len(s.in) == 0
	s.in[g] = struct{}{}
	if large {
		first = first || len(s.large) == 0
		s.large[g] = struct{}{}
	}
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Remove forgets a group.
func (s *Set) Remove(g id.GroupID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.in, g)
	delete(s.large, g)
}

// Empty tells whether no group has anything to flush.
func (s *Set) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.in) == 0
}

// All appends every group of the set to dst.
func (s *Set) All(dst []id.GroupID) []id.GroupID {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.in {
		dst = append(dst, g)
	}
	return dst
}

// TakeLarge appends to dst the groups that are worth a flush of their own. They count as such no more; whoever does not flush
// one says Again.
func (s *Set) TakeLarge(dst []id.GroupID) []id.GroupID {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.large {
		dst = append(dst, g)
	}
	clear(s.large)
	return dst
}

// Again says that a group which was taken is still worth a flush, unless it was removed meanwhile.
func (s *Set) Again(g id.GroupID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.in[g]; ok {
		s.large[g] = struct{}{}
	}
}
