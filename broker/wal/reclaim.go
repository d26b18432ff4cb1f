package wal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ackline/broker/id"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
)

// Reclaim gives ring space free; call it after checkpoints are durable. It waits for its turn to write, so it must not be
// called from Collect or Durable, nor with a lock that those take.
//
// Space is free up to the oldest record that any group needs. A busy group's checkpoints move that on; a quiet group would
// hold the ring up for as long as it is quiet. So while more than a quarter of the ring is in use, the groups whose oldest
// record lies in its oldest quarter have all of their live records written again at the tail, as one batch's part: a
// crash between two halves would leave a log cut short. The writer's role does it, which puts the copies in the group's own
// order. Groups with much to move wait for their checkpoint instead.
func (w *WAL) Reclaim() error {
	w.reclaiming.Lock()
	defer w.reclaiming.Unlock()
	return w.reclaim()
}

func (w *WAL) reclaim() error {
	for {
		if err := w.failed(); err != nil {
			return err
		}
		moves := w.plan()
		done := len(moves) == 0
		for len(moves) > 0 {
			n, err := w.move(moves)
			if err != nil {
				return err
			}
			moves = moves[n:]
		}
		freed, err := w.advance(0)
		if freed > 0 {
			w.kick()
		}
		if err != nil || freed == 0 || done {
			return err
		}
	}
}

// advance records the new head and frees what is below it. flags go into the superblock.
func (w *WAL) advance(flags uint32) (freed int64, err error) {
	head := w.index.oldest()
	was, _ := w.queue.bounds()
	if head < was {
		panic(fmt.Sprintf("wal: a record at LSN %d is needed and the ring's head is at %d", head, was))
	}
	if head == was && flags == 0 {
		return 0, nil
	}
	return int64(head - was), w.writeSuper(head, flags)
}

// writeSuper writes and syncs the next superblock, and only then gives the space below head free. WAL.reclaiming is held,
// or nobody else knows the WAL yet.
func (w *WAL) writeSuper(head id.LSN, flags uint32) error {
	w.index.mu.RLock()
	end := w.index.end
	w.index.mu.RUnlock()
	w.superMu.Lock()
	s := w.super
	s.Head, s.Synced, s.Flags, s.Bound = head, end, flags, max(s.Bound, end+w.lease())
	err := w.putSuper(s)
	w.superMu.Unlock()
	if err != nil {
		w.fail(err)
		return err
	}
	before, _ := w.queue.bounds()
	w.queue.setHead(head)
	w.stats.Reclaimed.Add(uint64(head - before))
	return nil
}

// oldest is the first LSN that recovery would have to read: never beyond the last batch, which says the generation.
func (x *index) oldest() id.LSN {
	x.mu.RLock()
	defer x.mu.RUnlock()
	o := x.last
	for _, g := range x.groups {
		o = min(o, g.oldest())
	}
	return o
}

// pin is a group that holds the ring's head back.
type pin struct {
	group  id.GroupID
	oldest id.LSN
	cost   int64 // bytes to write if its records are to be moved
}

// plan returns the groups to move, oldest first, such that the copies take no more than half of what they give free; all
// of it when entries wait for space.
func (w *WAL) plan() []pin {
	pins := w.index.pins()
	if len(pins) == 0 {
		return nil
	}
	head, tail := w.queue.bounds()
	oldest := pins[0].oldest
	if used := int64(tail - oldest); used <= w.file.Size()/4 {
		return nil
	}
	target := oldest + (tail-oldest)/4
	free := w.file.Size() - int64(tail-head)
	price := int64(2)
	if free < reserve[forEntries]*w.queue.largest {
		price = 1
	}
	best, cost := 0, int64(0)
	for i := range pins {
		if pins[i].oldest > target || pins[i].cost > w.queue.largest {
			break
		}
		cost += pins[i].cost
		if cost > free-reserveReclaim*w.queue.largest {
			break
		}
		next := tail
		if i+1 < len(pins) {
			next = pins[i+1].oldest
		}
		if cost*price < int64(next-oldest) {
			best = i + 1
		}
	}
	return pins[:best]
}

// pins returns all groups by the age of their oldest record.
func (x *index) pins() []pin {
	x.mu.RLock()
	defer x.mu.RUnlock()
	pins := make([]pin, 0, len(x.groups))
	for n, g := range x.groups {
		pins = append(pins, pin{n, g.oldest(), vfs.RoundUp(g.cost())})
	}
	slices.SortFunc(pins, func(a, b pin) int { return cmp.Compare(a.oldest, b.oldest) })
	return pins
}

// cost bounds the bytes of a batch that holds the group's live records and nothing else.
func (g *group) cost() int64 {
	const fixed = ring.HeaderSize + 3*(ring.RecordHeaderSize+64)
	return fixed + int64(len(g.base.payload)) + g.entries.bytes + int64(g.entries.n)*(ring.EntryHeaderSize+8)
}

// move writes the records of the first groups of pins again, as many as make an ordinary batch, and returns how many. A group
// may have grown since the plan was made: what counts is what was loaded.
func (w *WAL) move(pins []pin) (n int, err error) {
	var all []moved
	for size := int64(0); n < len(pins) && (n == 0 || size+pins[n].cost <= int64(w.opt.BatchBytes)); n++ {
		m, err := w.load(pins[n].group)
		if err != nil {
			return n, err
		}
		cost := m.state.cost()
		if size > 0 && size+cost > int64(w.opt.BatchBytes) {
			break
		}
		size += cost
		all = append(all, m)
	}
	if !w.queue.acquire() {
		return n, w.failed()
	}
	b := &w.batch
	head, tail := w.queue.bounds()
	b.reset(tail, w.opt.BatchBytes, allFit)
	for i := range all {
		w.index.rewrite(b, &all[i])
	}
	free := w.file.Size() - int64(tail-head) - reserveReclaim*w.queue.largest
	if b.b.Records() > 0 && vfs.RoundUp(int64(b.b.Len())) <= free {
		w.commit(b)
	}
	if w.queue.release(w.last.End()) {
		w.wake <- struct{}{}
	}
	return n, w.failed()
}

// moved is a copy of all that the WAL needs to keep of a group, as of the batch at LSN changed.
type moved struct {
	group   id.GroupID
	changed id.LSN
	state   group
	entries []Entry
}

// load reads a group's live records without the writer's role, so that no batch waits for the read. A group that is gone, or
// has grown beyond what a batch takes, comes back without any, and so stays where it is: it is not quiet, and has its
// checkpoint to wait for.
func (w *WAL) load(n id.GroupID) (moved, error) {
	for {
		w.index.mu.RLock()
		g := w.index.groups[n]
		if g == nil || vfs.RoundUp(g.cost()) > w.queue.largest {
			w.index.mu.RUnlock()
			return moved{group: n}, nil
		}
		m := moved{group: n, changed: g.changed, state: *g}
		m.state.entries.spans = nil // the lock's
		locs := g.entries.collect(g.first, g.entries.n, math.MaxInt64)
		w.index.mu.RUnlock()
		var err error
		m.entries, err = readEntries(w.file, n, m.state.first, locs)
		if err == nil || w.index.unchanged(&m) {
			return m, err
		}
	}
}

func (x *index) unchanged(m *moved) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	g := x.groups[m.group]
	return g != nil && g.changed == m.changed
}

// rewrite adds a group's records to b, unless the group changed since they were read: it is not quiet then, and what was
// read may be out of date. The role is held, so nothing changes from here to the write.
func (x *index) rewrite(b *Batch, m *moved) {
	if !x.unchanged(m) {
		return
	}
	g := &m.state
	if g.tombstone != 0 {
		b.Delete(m.group)
		return
	}
	switch {
	case g.baseLSN == 0:
	case g.base.snapshot:
		b.Snapshot(m.group, g.replica, g.base.index, g.base.term, g.base.payload)
	default:
		b.Checkpoint(m.group, g.replica, g.base.index, g.base.term, g.hard, g.base.payload)
	}
	if g.hardLSN != 0 && (g.baseLSN == 0 || g.base.snapshot) {
		b.HardState(m.group, g.replica, g.hard)
	}
	b.Entries(m.group, g.replica, m.entries)
}

// Forget drops the tombstone of a deleted group, once its files are gone for good. Later records of the group, under
// another ReplicaID, are not touched. It waits for a Reclaim under way, which may be writing the tombstone again.
func (w *WAL) Forget(g id.GroupID) {
	w.reclaiming.Lock()
	defer w.reclaiming.Unlock()
	w.index.mu.Lock()
	defer w.index.mu.Unlock()
	if gr := w.index.groups[g]; gr != nil && gr.tombstone != 0 {
		delete(w.index.groups, g)
	}
}
