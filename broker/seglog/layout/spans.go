package layout

import "sync"

// Spans is a small set of row numbers for concurrent use, kept as disjoint half-open ranges. Readers mostly go forward from a few places, so
// a few ranges hold it all; when they do not, the shortest is forgotten, and its rows are verified once more some day.
type Spans struct {
	mu sync.Mutex // a leaf lock
	n  int
	r  [maxSpans]span
}

type span struct{ lo, hi uint32 } // lo <= row < hi

const maxSpans = 4

// Add puts the rows lo <= row < hi into the set.
func (s *Spans) Add(lo, hi uint32) {
	if lo >= hi {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Merge with all that overlap or touch.
	kept := 0
	for _, r := range s.r[:s.n] {
		if r.hi < lo || hi < r.lo {
			s.r[kept] = r
			kept++
			continue
		}
		lo, hi = min(lo, r.lo), max(hi, r.hi)
	}
	s.n = kept
	if s.n == maxSpans {
		least := 0
		for i, r := range s.r {
			if r.hi-r.lo < s.r[least].hi-s.r[least].lo {
				least = i
			}
		}
		// The new range replaces the shortest old one even if it is shorter still: its reader is the one that is here.
		s.n--
		s.r[least] = s.r[s.n]
	}
	s.r[s.n] = span{lo, hi}
	s.n++
}

// Trim returns what of lo <= row < hi is left when the ranges that hold its ends are taken off; lo >= hi when nothing is.
func (s *Spans) Trim(lo, hi uint32) (uint32, uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.r[:s.n] {
		if r.lo <= lo && lo < r.hi {
			lo = r.hi
		}
	}
	for _, r := range s.r[:s.n] {
		if lo < hi && r.lo < hi && hi <= r.hi {
			hi = max(lo, r.lo)
		}
	}
	return lo, hi
}
