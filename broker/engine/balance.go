package engine

import (
	"sync"

	"ackline/broker/id"
)

// Placement spreads the leaderships: the first of a group's replicas is to lead. When its node dies others do, and without more
// they would go on when it is back, until one node leads everything. So the node that is back claims what it is to lead. It, and
// not who leads, since it knows best for how long it has been here, and whether it is about to stop; and the leader, who knows
// how much the claimant has of the log, gives way or does not. It waits before it claims, so that a node that comes and goes
// moves nothing, and claims a few at a time: each costs its producers a round trip or two.

// strays are the groups that this node is to lead and another does.
type strays struct {
	mu sync.Mutex // guards m; taken with a member's mu held
	m  map[*member]int64
}

// unseen is when Balance has not seen a stray yet.
const unseen = -1

func (s *strays) set(m *member, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.m[m]
	switch {
	case is && !was:
		s.m[m] = unseen
	case !is && was:
		delete(s.m, m)
	}
}

// due returns up to most strays that were seen for a length of time, and begins their time anew: a claim may come to nothing.
func (s *strays) due(now, after int64, most int) (list []*member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m, since := range s.m {
		switch {
		case since == unseen:
			s.m[m] = now
		case now-since >= after && len(list) < most:
			s.m[m] = now
			list = append(list, m)
		}
	}
	return list
}

// stray notes whether the member is one. The metadata group is not placed: the first of its replicas is as good as any. Needs mu.
func (m *member) stray() {
	m.e.strays.set(m, m.id != id.MetadataGroup && !m.stopped && m.leader != 0 && m.leader != m.self && len(m.placed) > 1 && m.placed[0].ID == m.self)
}

// Balance claims up to most leaderships that placement gives this node and that another node has had for as long as Balance has
// been called, at least after. now is the monotonic clock; both are in nanoseconds. A node that is about to stop claims none.
// It returns how many were claimed. Call it now and then; it costs nothing while nothing is astray.
func (e *Engine) Balance(now, after int64, most int) int {
	if e.yielding.Load() {
		return 0
	}
	list := e.strays.due(now, after, most)
	for _, m := range list {
		m.group.Claim()
	}
	if len(list) > 0 {
		e.Drive()
	}
	return len(list)
}
