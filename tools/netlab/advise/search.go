package advise

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ackline/profiles/region"
)

// found is the best set of voters for a leader so far.
type found struct {
	voters []int // nil = none
	mean   time.Duration
	losses []Loss
}

// search goes through every set of voters and every leader in it.
type search struct {
	m           *model
	way         []time.Duration // mean distance of the producers, there and back, by leader
	best        []found         // by leader
	looked      int
	rttOnly     time.Duration   // the least
	least       []time.Duration // by client
	leastLeader []int
}

func (m *model) search(surviveRegion bool) (*search, error) {
	if n, ok := m.ways(); !ok {
		return nil, fmt.Errorf("%d of %d hosts are placed in more than %d ways, which is as many as are looked at: want fewer replicas, or a "+
			"topology with only the hosts that come into question", m.replicas, m.hosts, n)
	}
	s := &search{m: m, best: make([]found, m.hosts), least: make([]time.Duration, len(m.places)), leastLeader: make([]int, len(m.places))}
	for l := range m.hosts {
		way, _ := m.mean(l, nil)
		s.way = append(s.way, way)
	}
	s.sets(nil, 0, surviveRegion)
	if s.looked == 0 {
		return nil, fmt.Errorf("no set of %d replicas on %s keeps a majority (%d) whichever region goes away: no region may have more than %d of them; "+
			"want hosts in more regions, or do not ask to survive", m.replicas, m.t.Name, m.majority, m.replicas-m.majority)
	}
	return s, nil
}

// ways counts the placements: sets of voters times leaders. False: more than MostPlacements, and so many is n.
func (m *model) ways() (n int, ok bool) {
	n = 1
	r := min(m.replicas, m.hosts-m.replicas)
	for i := range r {
		n = n * (m.hosts - i) / (i + 1) // whole at each step; at most 10⁶ × 254 before it is refused
		if n*m.replicas > MostPlacements {
			return MostPlacements, false
		}
	}
	return n * m.replicas, true
}

func (s *search) sets(chosen []int, from int, surviveRegion bool) {
	need := s.m.replicas - len(chosen)
	if need == 0 {
		if !surviveRegion || s.m.survives(chosen) {
			for _, l := range chosen {
				s.look(l, chosen)
			}
		}
		return
	}
	for h := from; h <= s.m.hosts-need; h++ {
		s.sets(append(chosen, h), h+1, surviveRegion)
	}
}

// survives tells whether a majority is left whichever region goes away.
func (m *model) survives(voters []int) bool {
	for _, d := range m.domains {
		left := 0
		for _, v := range voters {
			if !d.hosts[v] {
				left++
			}
		}
		if left < m.majority { // a zone takes no more with it than its region does
			return false
		}
	}
	return true
}

func (s *search) look(leader int, voters []int) {
	commit, _ := s.m.commit(s.m.answer, leader, voters)
	rtt, _ := s.m.commit(s.m.rtt, leader, voters)
	if rtt += s.way[leader]; s.looked == 0 || rtt < s.rttOnly {
		s.rttOnly = rtt
	}
	for c := range s.least {
		if d := s.m.client[c][leader] + commit; s.looked == 0 || d < s.least[c] {
			s.least[c], s.leastLeader[c] = d, leader
		}
	}
	s.looked++
	b, mean := &s.best[leader], s.way[leader]+commit
	if b.voters != nil && mean > b.mean {
		return
	}
	// Voters beyond the majority do not make commits faster: among equals, those count that help most when a region is gone.
	losses := s.m.losses(voters)
	if b.voters == nil || mean < b.mean || compareLosses(losses, b.losses) < 0 {
		*b = found{slices.Clone(voters), mean, losses}
	}
}

// compareLosses is negative when a is better: fewer losses after which nothing is acknowledged, then more copies after the one that takes
// most of them, then less time after the slowest.
func compareLosses(a, b []Loss) int {
	sum := func(losses []Loss) (stops, left int, worst time.Duration) {
		left = region.MostHosts
		for _, l := range losses {
			if l.Leader == "" {
				stops++
			}
			left, worst = min(left, l.Left), max(worst, l.Mean)
		}
		return stops, left, worst
	}
	stopsA, leftA, worstA := sum(a)
	stopsB, leftB, worstB := sum(b)
	return cmp.Or(cmp.Compare(stopsA, stopsB), cmp.Compare(leftB, leftA), cmp.Compare(worstA, worstB))
}

// compare orders placements, the best first: by the producers' mean, then by what losses cost, then as the topology lists the hosts.
func (m *model) compare(a, b Placement) int {
	return cmp.Or(cmp.Compare(a.Mean, b.Mean), compareLosses(a.Losses, b.Losses), cmp.Compare(a.leader, b.leader))
}
