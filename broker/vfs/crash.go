package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Clone returns an independent copy of everything, with nothing open and no lock held: what the next process
// finds after kill -9. What was not durable still is not, and a later CrashClone of the copy may lose it.
func (m *Mem) Clone() *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k := copier{}
	c := &Mem{locked: map[*inode]bool{}, capacity: m.capacity, used: m.used, lastID: m.lastID, lastSeq: m.lastSeq}
	c.root = k.node(m.root)
	c.names = make([]nameOp, len(m.names))
	for i, op := range m.names {
		c.names[i] = nameOp{node: k.node(op.node), from: k.entry(op.from), to: k.entry(op.to)}
	}
	return c
}

// copier maps each inode to its copy.
type copier map[*inode]*inode

func (k copier) entry(e entry) entry { return entry{k.node(e.dir), e.name} }

func (k copier) node(n *inode) *inode {
	if n == nil {
		return nil
	}
	if c := k[n]; c != nil {
		return c
	}
	c := &inode{id: n.id, dir: n.dir, gone: n.gone, file: n.file.clone()}
	k[n] = c
	c.live, c.safe = k.names(n.live), k.names(n.safe)
	return c
}

func (k copier) names(m map[string]*inode) map[string]*inode {
	if m == nil {
		return nil
	}
	c := make(map[string]*inode, len(m))
	for name, n := range m {
		c[name] = k.node(n)
	}
	return c
}

func (c *content) clone() content {
	d := *c
	d.data, d.safe, d.sizes = slices.Clone(c.data), slices.Clone(c.safe), slices.Clone(c.sizes)
	d.pending = maps.Clone(c.pending)
	for i, vs := range d.pending {
		d.pending[i] = slices.Clone(vs)
	}
	return d
}

// CrashClone returns what the machine finds when the power comes back, as one of the many states that the
// operations so far allow; the seed chooses, and the same history with the same seed gives the same state. m
// itself goes on as if nothing had happened, so that one history can be crashed many times.
//
// Each sector that was written since it was last made durable takes its durable content or that of any later
// write; each file takes its durable size or a later one, with the truncations up to it; each change of names
// happened or did not, where one that happened brings the earlier ones on the same names along. How likely new
// content is to survive is drawn too, so that "all of it", "nothing" and "all but a little" come up often.
func (m *Mem) CrashClone(seed uint64) *Mem {
	c := m.Clone()
	f := fate{seed: seed}
	rng := f.of(0)
	f.mixed = rng.IntN(2) == 0
	f.p = odds[rng.IntN(len(odds))]

	p := f.chance(rng)
	c.settleNames(func(nameOp) bool { return rng.Float64() < p })
	c.names = nil
	c.used = 0
	c.crash(c.root, f)
	return c
}

// crash turns the volatile tree below a directory into what is left of it.
func (m *Mem) crash(d *inode, f fate) {
	d.live = maps.Clone(d.safe)
	for _, n := range d.live {
		n.gone = false
		if n.dir {
			m.crash(n, f)
			continue
		}
		n.file.crash(f.of(n.id), f)
		m.used += RoundUp(n.file.size)
	}
}

// fate draws what survives.
type fate struct {
	seed  uint64
	mixed bool    // each file draws odds of its own
	p     float64 // else these
}

// odds are the probabilities for new content to survive.
var odds = [...]float64{0, 1.0 / 16, 0.5, 15.0 / 16, 1}

// of returns the source for one inode: the order in which inodes are visited must not matter, because maps have
// none.
func (f fate) of(id uint64) *rand.Rand { return rand.New(rand.NewPCG(f.seed, id)) }

func (f fate) chance(rng *rand.Rand) float64 {
	if f.mixed {
		return odds[rng.IntN(len(odds))]
	}
	return f.p
}

// crash replaces both images by what is left.
func (c *content) crash(rng *rand.Rand, f fate) {
	p := f.chance(rng)
	size, seq := c.safeSize, uint64(0)
	if len(c.sizes) > 0 && rng.Float64() < p {
		s := c.sizes[len(c.sizes)-1]
		if rng.IntN(2) == 0 {
			s = c.sizes[rng.IntN(len(c.sizes))]
		}
		size, seq = s.size, s.seq
	}
	for _, i := range slices.Sorted(maps.Keys(c.pending)) {
		c.safe.set(i, settlePage(c.safe.get(i), c.pending[i], seq, p, rng))
	}
	c.pending, c.sizes = nil, nil
	c.safe = c.safe[:min(int64(len(c.safe)), RoundUp(size)/pageSize)]
	if last := size / pageSize; size%pageSize != 0 && c.safe.get(last) != nil {
		c.safe[last] = edited(c.safe[last], int(size%pageSize), make([]byte, pageSize-size%pageSize))
	}
	c.safeSize = size
	c.size, c.data = size, slices.Clone(c.safe)
}

// settlePage draws each sector of a page. Truncations up to seq happened, and took away what was before them;
// later ones did not, and what was written after them went to blocks that nothing refers to.
func settlePage(safe *page, vs []version, seq uint64, p float64, rng *rand.Rand) *page {
	var out *page
	for s := range sectorsPerPage {
		base, choice := safe, make([]*page, 0, maxVersions)
		for _, v := range vs {
			if v.sectors&(1<<s) == 0 {
				continue
			}
			if v.cut && v.seq > seq {
				break
			}
			if v.cut {
				base, choice = v.page, choice[:0]
				continue
			}
			choice = append(choice, v.page)
		}
		from := base
		if len(choice) > 0 && rng.Float64() < p {
			from = choice[len(choice)-1]
			if rng.IntN(2) == 0 {
				from = choice[rng.IntN(len(choice))]
			}
		}
		if from == safe {
			continue
		}
		if out == nil {
			out = new(page)
			if safe != nil {
				*out = *safe
			}
		}
		at := s * sectorSize
		if from == nil {
			clear(out[at : at+sectorSize])
		} else {
			copy(out[at:at+sectorSize], from[at:])
		}
	}
	if out == nil {
		return safe
	}
	return out
}

// settleNames makes the changes of names that pick chooses durable, in their order, and forgets them. A change
// brings the earlier ones on the same entries along, or a file that was created as a and renamed to b could
// later come back as a. So the entries that a change touches are as it found them, and settling it is doing it
// again.
func (m *Mem) settleNames(pick func(nameOp) bool) {
	chosen := make([]bool, len(m.names))
	touched := map[entry]bool{}
	for i := len(m.names) - 1; i >= 0; i-- {
		op := m.names[i]
		if !pick(op) && !touched[op.from] && !touched[op.to] {
			continue
		}
		chosen[i] = true
		for _, e := range []entry{op.from, op.to} {
			if e.dir != nil {
				touched[e] = true
			}
		}
	}
	var rest []nameOp
	for i, op := range m.names {
		if !chosen[i] {
			rest = append(rest, op)
			continue
		}
		if op.from.dir != nil {
			delete(op.from.dir.safe, op.from.name)
		}
		if op.to.dir != nil {
			op.to.dir.safe[op.to.name] = op.node
		}
	}
	m.names = rest
}
