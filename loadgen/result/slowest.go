package result

// Slowest remembers the slowest operations, as a heap with the least slow one at its root.
type Slowest struct {
	ops []TailOp
	max int
}

// NewSlowest returns one that remembers n.
func NewSlowest(n int) Slowest { return Slowest{ops: make([]TailOp, 0, n), max: n} }

// Wants reports whether an operation that took so long would be remembered.
func (s *Slowest) Wants(took int64) bool {
	return len(s.ops) < s.max || took > s.ops[0].Acked-s.ops[0].Intended
}

func (s *Slowest) less(i, j int) bool {
	return s.ops[i].Acked-s.ops[i].Intended < s.ops[j].Acked-s.ops[j].Intended
}

// Add remembers an operation that is wanted.
func (s *Slowest) Add(op TailOp) {
	if len(s.ops) < s.max {
		s.ops = append(s.ops, op)
		for i := len(s.ops) - 1; i > 0; {
			up := (i - 1) / 2
			if !s.less(i, up) {
				break
			}
			s.ops[i], s.ops[up] = s.ops[up], s.ops[i]
			i = up
		}
		return
	}
	s.ops[0] = op
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < len(s.ops) && s.less(down+1, down) {
			down++
		}
		if down >= len(s.ops) || !s.less(down, i) {
			return
		}
		s.ops[i], s.ops[down] = s.ops[down], s.ops[i]
		i = down
	}
}

// Ops are what it remembers.
func (s *Slowest) Ops() []TailOp { return s.ops }

// Forgot is the time of the least slow operation that is remembered when others may have been forgotten, else 0.
func (s *Slowest) Forgot() int64 {
	if len(s.ops) < s.max {
		return 0
	}
	return s.ops[0].Acked - s.ops[0].Intended
}
