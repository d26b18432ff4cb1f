package wal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"ackline/broker/id"
	"ackline/broker/wal/ring"
)

// Errors of reading a group's log.
var (
	// ErrCompacted: the index is at or below the group's last checkpoint or snapshot.
	ErrCompacted = errors.New("wal: entry is below the group's first")
	// ErrUnavailable: the index is above the group's last entry.
	ErrUnavailable = errors.New("wal: entry is above the group's last")
)

// index says where each group's live records lie. The writer's role applies batches to it, in order, after they were
// synced; recovery does the same with the same code.
type index struct {
	mu     sync.RWMutex
	groups map[id.GroupID]*group
	spare  spareSpans
	last   id.LSN // of the last batch that was applied
	end    id.LSN // behind it
	// replaying is set while recovery applies batches: the first records that it sees of a group may refer to ones that
	// are no longer there.
	replaying bool
}

// group is what the index knows of one group. A zero LSN means that there is no such record.
type group struct {
	replica id.ReplicaID
	hard    HardState
	hardLSN id.LSN // of the batch with the record that hard came from

	base    base
	baseLSN id.LSN

	first   id.Index // of entries; when there are none, of the one to come
	entries places

	tombstone id.LSN // not 0: the group was deleted, and nothing else is set
	changed   id.LSN // the last batch that had a record of the group
}

// base is where a group's log begins: its last checkpoint or snapshot.
type base struct {
	index    id.Index
	term     id.Term
	snapshot bool
	payload  []byte
}

func (g *group) last() id.Index { return g.first + id.Index(g.entries.n) - 1 }

// oldest is the LSN of the first batch that the group still needs.
func (g *group) oldest() id.LSN {
	o := ^id.LSN(0)
	for _, l := range [...]id.LSN{g.hardLSN, g.baseLSN, g.tombstone} {
		if l != 0 {
			o = min(o, l)
		}
	}
	if g.entries.n > 0 {
		o = min(o, g.entries.oldest())
	}
	return o
}

// apply takes up a batch that is durable. batch holds header and payload.
func (x *index) apply(h ring.Header, batch []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := ring.Walk(batch, h.Records)
	for {
		r, ok, err := w.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := x.record(h.LSN, &r); err != nil {
			return err
		}
	}
	x.last, x.end = h.LSN, h.End()
	return nil
}

func (x *index) record(lsn id.LSN, r *ring.Record) error {
	g := x.groups[r.Group]
	if g == nil {
		g = &group{first: 1}
		x.groups[r.Group] = g
	}
	if r.Kind == ring.Deleted {
		*g = group{first: 1, tombstone: lsn, changed: lsn}
		return nil
	}
	if g.replica != r.Replica || g.tombstone != 0 {
		// Another replica of the group on this node: nothing of the former one counts.
		*g = group{first: 1, replica: r.Replica}
	}
	g.changed = lsn
	switch r.Kind {
	case ring.Entries:
		return x.addEntries(g, lsn, r)
	case ring.Hard:
		g.setHard(lsn, r.HardState())
	case ring.Checkpoint:
		g.setHard(lsn, r.HardState())
		return x.checkpoint(g, lsn, r)
	case ring.Snapshot:
		g.setBase(lsn, r)
		g.entries.cut(0, &x.spare)
		g.first = r.Index + 1
	}
	return nil
}

// setHard keeps the newer of two. What the record alone holds needs the record.
func (g *group) setHard(lsn id.LSN, hs HardState) {
	m := g.hard.Merge(hs)
	if m == hs || g.hardLSN == 0 {
		g.hardLSN = lsn
	}
	g.hard = m
}

func (g *group) setBase(lsn id.LSN, r *ring.Record) {
	// Append to a new array: State hands payloads out.
	g.base = base{r.Index, r.Term(), r.Kind == ring.Snapshot, append([]byte(nil), r.State()...)}
	g.baseLSN = lsn
}

func (x *index) checkpoint(g *group, lsn id.LSN, r *ring.Record) error {
	if r.Index < g.base.index {
		return fmt.Errorf("group %d: checkpoint at %d behind one at %d", r.Group, r.Index, g.base.index)
	}
	if r.Index > g.last() && !x.replaying && g.entries.n > 0 {
		return fmt.Errorf("group %d: checkpoint at %d of a log that ends at %d", r.Group, r.Index, g.last())
	}
	g.setBase(lsn, r)
	if r.Index < g.first {
		if g.entries.n == 0 {
			g.first = r.Index + 1
		}
		return nil
	}
	g.entries.drop(min(int(r.Index-g.first)+1, g.entries.n), &x.spare)
	g.first = r.Index + 1
	return nil
}

func (x *index) addEntries(g *group, lsn id.LSN, r *ring.Record) error {
	switch first, next := r.Index, g.last()+1; {
	case first <= g.base.index:
		return fmt.Errorf("group %d: entry %d at or below the checkpoint at %d", r.Group, first, g.base.index)
	case first > next && (!x.replaying || g.entries.n > 0):
		return fmt.Errorf("group %d: entry %d where %d belongs", r.Group, first, next)
	case first > next, first < g.first:
		g.entries.cut(0, &x.spare)
		g.first = first
	case first < next:
		g.entries.cut(int(first-g.first), &x.spare)
	}
	w := r.Entries()
	for {
		e, ok, err := w.Next()
		if err != nil || !ok {
			return err
		}
		g.entries.push(e.Index, location{lsn, e.Term, uint32(e.Off), uint32(len(e.Data)), e.CRC, e.Type}, &x.spare)
	}
}

// GroupState is what the WAL holds of a group.
type GroupState struct {
	Group   id.GroupID
	Replica id.ReplicaID
	// Deleted: the group has a tombstone and nothing else. Remove its files, then call Forget.
	Deleted bool
	Hard    HardState
	// Flushed, FlushedTerm and Payload are those of the last checkpoint or snapshot, zero without one; Snapshot tells
	// which of the two it is. Payload must not be changed.
	Flushed     id.Index
	FlushedTerm id.Term
	Snapshot    bool
	Payload     []byte
	// Last is the last entry; Flushed when the WAL holds none.
	Last id.Index
}

func (g *group) state(n id.GroupID) GroupState {
	return GroupState{n, g.replica, g.tombstone != 0, g.hard,
		g.base.index, g.base.term, g.base.snapshot, g.base.payload, g.last()}
}

// states returns all groups in the order of their ids.
func (x *index) states() []GroupState {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make([]GroupState, 0, len(x.groups))
	for n, g := range x.groups {
		all = append(all, g.state(n))
	}
	slices.SortFunc(all, func(a, b GroupState) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
	return all
}

// State returns what the WAL holds of g; false when it holds nothing.
func (w *WAL) State(g id.GroupID) (GroupState, bool) {
	w.index.mu.RLock()
	defer w.index.mu.RUnlock()
	if gr := w.index.groups[g]; gr != nil {
		return gr.state(g), true
	}
	return GroupState{}, false
}

// First is the index of the first entry that the WAL holds of g, or will hold: 1 for a group it does not know.
func (w *WAL) First(g id.GroupID) id.Index {
	w.index.mu.RLock()
	defer w.index.mu.RUnlock()
	if gr := w.index.groups[g]; gr != nil {
		return gr.first
	}
	return 1
}

// Last is the index of g's last durable entry, flushed ones included; 0 when there was none.
func (w *WAL) Last(g id.GroupID) id.Index {
	w.index.mu.RLock()
	defer w.index.mu.RUnlock()
	if gr := w.index.groups[g]; gr != nil {
		return gr.last()
	}
	return 0
}

// Term returns the term of entry i: one that the WAL holds, or the last flushed one. For index 0 it is 0. Otherwise
// ErrCompacted or ErrUnavailable.
func (w *WAL) Term(g id.GroupID, i id.Index) (id.Term, error) {
	w.index.mu.RLock()
	defer w.index.mu.RUnlock()
	gr := w.index.groups[g]
	switch {
	case gr == nil && i == 0:
		return 0, nil
	case gr == nil || i > gr.last():
		return 0, fmt.Errorf("%w: group %d, entry %d", ErrUnavailable, g, i)
	case i == gr.base.index:
		return gr.base.term, nil
	case i < gr.first:
		return 0, fmt.Errorf("%w: group %d, entry %d", ErrCompacted, g, i)
	}
	return gr.entries.get(i).term, nil
}
