package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"ackline/broker/id"
)

// model is what the WAL should hold, in plain Go.
type model map[id.GroupID]modelGroup

type modelGroup struct {
	replica  id.ReplicaID
	deleted  bool
	hard     HardState
	flushed  id.Index
	term     id.Term // of flushed
	snapshot bool
	payload  string
	entries  []Entry // never changed in place
}

func (g *modelGroup) last() id.Index { return g.flushed + id.Index(len(g.entries)) }

func (m model) clone() model { return maps.Clone(m) }

// diff tells how w differs from m.
func (m model) diff(w *WAL) error {
	states := w.index.states()
	if len(states) != len(m) {
		return fmt.Errorf("%d groups, want %d", len(states), len(m))
	}
	for _, s := range states {
		g, ok := m[s.Group]
		if !ok {
			return fmt.Errorf("group %d should not be there", s.Group)
		}
		got := modelGroup{s.Replica, s.Deleted, s.Hard, s.Flushed, s.FlushedTerm, s.Snapshot, string(s.Payload), nil}
		if s.Last > s.Flushed {
			var err error
			if got.entries, err = w.Entries(s.Group, s.Flushed+1, s.Last+1, 1<<30); err != nil {
				return err
			}
		}
		if err := g.diff(got); err != nil {
			return fmt.Errorf("group %d: %w", s.Group, err)
		}
	}
	return nil
}

func (g modelGroup) diff(got modelGroup) error {
	if err := sameEntries(got.entries, g.entries); err != nil {
		return err
	}
	got.entries, g.entries = nil, nil
	if fmt.Sprint(got) != fmt.Sprint(g) {
		return fmt.Errorf("is %+v, want %+v", got, g)
	}
	return nil
}

// seen is a Visitor that builds a model from what it is shown.
type seen struct{ model }

func (v seen) edit(g id.GroupID, r id.ReplicaID, f func(*modelGroup)) error {
	m := v.model[g]
	if m.replica != r || m.deleted {
		m = modelGroup{replica: r}
	}
	f(&m)
	v.model[g] = m
	return nil
}

func (v seen) Entries(g id.GroupID, r id.ReplicaID, es []Entry) error {
	return v.edit(g, r, func(m *modelGroup) {
		// Those that come first may be the rest of a record whose group was checkpointed later: keep what they are
		// worth by their own indexes, and let checkpoints cut.
		keep := m.entries
		for len(keep) > 0 && keep[len(keep)-1].Index >= es[0].Index {
			keep = keep[:len(keep)-1]
		}
		keep = slices.Clip(keep)
		for _, e := range es {
			e.Data = bytes.Clone(e.Data)
			keep = append(keep, e)
		}
		m.entries = keep
	})
}

func (v seen) HardState(g id.GroupID, r id.ReplicaID, hs HardState) error {
	return v.edit(g, r, func(m *modelGroup) { m.newer(hs) })
}

func (v seen) Checkpoint(g id.GroupID, r id.ReplicaID, flushed id.Index, term id.Term, hs HardState, payload []byte) error {
	return v.edit(g, r, func(m *modelGroup) {
		m.newer(hs)
		for len(m.entries) > 0 && m.entries[0].Index <= flushed {
			m.entries = m.entries[1:]
		}
		m.flushed, m.term, m.snapshot, m.payload = flushed, term, false, string(payload)
	})
}

func (v seen) Snapshot(g id.GroupID, r id.ReplicaID, index id.Index, term id.Term, payload []byte) error {
	return v.edit(g, r, func(m *modelGroup) {
		m.flushed, m.term, m.snapshot, m.payload, m.entries = index, term, true, string(payload), nil
	})
}

func (v seen) Deleted(g id.GroupID) error {
	v.model[g] = modelGroup{deleted: true}
	return nil
}

// newer takes over a hard state unless it is of an earlier term or commit; the workload makes no others.
func (g *modelGroup) newer(hs HardState) {
	if hs.Term > g.hard.Term || hs.Term == g.hard.Term && hs.Commit >= g.hard.Commit {
		g.hard = hs
	}
}

// world runs a random workload on one WAL and knows what the WAL must hold: after the last batch that it has called
// durable, and after the batch that is under way.
type world struct {
	rng      *rand.Rand
	w        *WAL
	acked    model
	inflight model
	replicas id.ReplicaID // issued so far
	groups   map[id.GroupID]*actor
}

// actor is a group as a source.
type actor struct {
	*world
	group id.GroupID
	todo  []func(*Batch, *modelGroup)
	ckpt  func(*Batch, *modelGroup)
}

func newWorld(rng *rand.Rand, w *WAL, at model) *world {
	wd := &world{rng: rng, w: w, acked: at, inflight: at.clone(), groups: map[id.GroupID]*actor{}}
	for g := range id.GroupID(6) {
		wd.groups[g+1] = &actor{world: wd, group: g + 1}
	}
	for _, g := range at {
		wd.replicas = max(wd.replicas, g.replica)
	}
	return wd
}

func (a *actor) Collect(b *Batch) {
	g := a.inflight[a.group]
	if a.ckpt != nil {
		a.ckpt(b, &g)
		a.ckpt = nil
	}
	for n := 0; len(a.todo) > 0 && !b.CheckpointsOnly() && (n == 0 || b.Room() > 0); n++ {
		a.todo[0](b, &g)
		a.todo = a.todo[1:]
	}
	if len(a.todo) > 0 {
		a.w.Signal(a)
	}
	if g.replica != 0 || g.deleted {
		a.inflight[a.group] = g
	}
}

func (a *actor) Durable(id.LSN) { a.acked = a.inflight.clone() }

func (a *actor) do(f func(*Batch, *modelGroup)) {
	a.todo = append(a.todo, f)
	a.w.Signal(a)
}

// step lets some groups do something and writes it.
func (w *world) step() {
	if used, usable := w.w.Usage(); used > usable/2 {
		w.makeRoom()
		return
	}
	for range 1 + w.rng.IntN(3) {
		// The last groups are quiet: they pin the ring until they are moved.
		a := w.groups[id.GroupID(1+min(w.rng.IntN(6), w.rng.IntN(6)))]
		switch n := w.rng.IntN(100); {
		case n < 60:
			a.append()
		case n < 75:
			a.hardState()
		case n < 90:
			a.checkpoint()
		case n < 95:
			a.snapshot()
		case n < 97:
			a.remove()
		default:
			a.forget()
		}
	}
	w.w.Drive()
}

// makeRoom has the groups with the longest rests checkpointed, all if must be, and the space freed.
func (w *world) makeRoom() {
	for g := range id.GroupID(6) {
		if a := w.groups[g+1]; len(w.acked[g+1].entries) > 6 {
			a.checkpoint()
		}
	}
	w.w.Drive()
	w.w.Reclaim() // its error shows in the next life
}

func (a *actor) append() {
	n, back, size, grow := 1+a.rng.IntN(4), a.rng.IntN(4), a.rng.IntN(1500), a.rng.IntN(3) == 0
	if a.rng.IntN(20) == 0 {
		size += 3000
	}
	a.do(func(b *Batch, g *modelGroup) {
		a.revive(g)
		term := max(g.hard.Term, 1)
		keep := len(g.entries)
		if grow { // a new leader overwrites a suffix
			keep = max(0, keep-back)
			term++
			g.hard = HardState{Term: term, Vote: g.replica, Commit: g.hard.Commit}
			b.HardState(a.group, g.replica, g.hard)
		}
		es := make([]Entry, n)
		for i := range es {
			at := g.flushed + id.Index(keep+i) + 1
			data := fmt.Appendf(nil, "group %d replica %d term %d entry %d ", a.group, g.replica, term, at)
			es[i] = Entry{Index: at, Term: term, Type: uint8(i), Data: append(data, make([]byte, size/(i+1))...)}
		}
		b.Entries(a.group, g.replica, es)
		g.entries = append(slices.Clip(g.entries[:keep]), es...)
	})
}

// revive makes a group that is not there anew, under a new ReplicaID.
func (a *actor) revive(g *modelGroup) {
	if g.deleted || g.replica == 0 {
		a.replicas++
		*g = modelGroup{replica: a.replicas}
	}
}

func (a *actor) hardState() {
	a.do(func(b *Batch, g *modelGroup) {
		a.revive(g)
		g.hard.Term++
		g.hard.Vote = g.replica
		b.HardState(a.group, g.replica, g.hard)
	})
}

func (a *actor) checkpoint() {
	part, stale := a.rng.Float64(), a.rng.IntN(4) == 0
	a.ckpt = func(b *Batch, g *modelGroup) {
		if g.deleted || g.replica == 0 {
			return
		}
		n := int(part * float64(len(g.entries)+1))
		if n > 0 {
			g.flushed, g.term = g.entries[n-1].Index, g.entries[n-1].Term
			g.entries = g.entries[n:]
		}
		g.snapshot, g.payload = false, fmt.Sprintf("checkpoint of %d at %d", a.group, g.flushed)
		hs := g.hard
		if stale && hs.Term > 0 {
			hs.Term--
		}
		b.Checkpoint(a.group, g.replica, g.flushed, g.term, hs, []byte(g.payload))
	}
	a.w.SignalCheckpoint(a)
}

func (a *actor) snapshot() {
	skip := id.Index(a.rng.IntN(5))
	a.do(func(b *Batch, g *modelGroup) {
		a.revive(g)
		g.flushed, g.term, g.snapshot, g.entries = g.last()+skip, g.hard.Term, true, nil
		g.payload = fmt.Sprintf("snapshot of %d at %d", a.group, g.flushed)
		b.Snapshot(a.group, g.replica, g.flushed, g.term, []byte(g.payload))
		if skip == 0 {
			return
		}
		es := []Entry{{Index: g.flushed + 1, Term: g.term + 1, Data: []byte("behind the snapshot")}}
		b.Entries(a.group, g.replica, es)
		g.entries = es
	})
}

func (a *actor) remove() {
	a.do(func(b *Batch, g *modelGroup) {
		if g.replica == 0 && !g.deleted {
			return
		}
		*g = modelGroup{deleted: true}
		b.Delete(a.group)
	})
}

// forget is the node's word that a deleted group's files are gone. The tombstone may come back after a crash.
func (a *actor) forget() {
	if g := a.acked[a.group]; g.deleted {
		a.w.Forget(a.group)
		delete(a.acked, a.group)
		delete(a.inflight, a.group)
	}
}
