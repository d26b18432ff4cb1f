package wal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/wal/ring"
)

// Visitor sees the live records while Open reads them: each once, in LSN order, which is each group's own order. What is
// no longer needed may come too, or in part: the first that is seen of a group may be entries whose predecessors are
// gone, and a later checkpoint covers them. A record under another ReplicaID than the group's last voids what came before;
// Reclaim's copies come as if the group had checkpointed and appended the same entries again. Slices are valid only
// during the call. An error ends Open.
type Visitor interface {
	Entries(g id.GroupID, r id.ReplicaID, es []Entry) error
	HardState(g id.GroupID, r id.ReplicaID, hs HardState) error
	Checkpoint(g id.GroupID, r id.ReplicaID, flushed id.Index, term id.Term, hs HardState, payload []byte) error
	Snapshot(g id.GroupID, r id.ReplicaID, index id.Index, term id.Term, payload []byte) error
	Deleted(g id.GroupID) error
}

// CorruptError is what Open returns for a ring that holds less than was once synced.
type CorruptError = ring.CorruptError

// Recovery is what Open found.
type Recovery struct {
	RingBytes  int64
	Generation uint64       // the one that Open began
	Head, End  id.LSN       // what was read; End is behind the last valid batch
	Torn       bool         // a batch begins at End that was never completed: it was not acknowledged, and is void
	Batches    int64        // in [Head, End)
	Bytes      int64        // of them
	Groups     []GroupState // in the order of their ids
	Lost       *ring.CorruptError
	Duration   time.Duration // of Open, the making of the ring included
}

// recover reads the ring, begins a new generation and makes the WAL ready for use.
func (w *WAL) recover(v Visitor) (Recovery, error) {
	s := w.super
	if err := w.opt.checkRing(s.RingBytes); err != nil {
		return Recovery{}, err
	}
	rec := Recovery{RingBytes: s.RingBytes, Head: s.Head}
	p := replay{index: &w.index, visitor: v, seen: map[id.GroupID]struct{}{}}
	w.index.groups, w.index.replaying = map[id.GroupID]*group{}, true
	found, err := ring.NewScan(w.file, s).Run(p.batch, p.note)
	if err != nil {
		return rec, err
	}
	rec.End, rec.Torn, rec.Batches, rec.Bytes = found.End, found.Torn, p.count, int64(found.End-s.Head)
	if found.Damage != nil {
		if p.has {
			_ = p.note(p.pending, p.bytes)
		}
		found.Damage.Groups = p.groups()
		if !w.opt.AcceptLoss {
			return rec, found.Damage
		}
		rec.Lost = found.Damage
	}
	rec.Generation = max(s.Generation, found.Newest) + 1
	if err := w.begin(&p, found.End, rec.Generation); err != nil {
		return rec, err
	}
	if err := w.index.settle(rec.Lost != nil); err != nil {
		return rec, fmt.Errorf("wal: %s: %w: %w", w.opt.Path, ErrCorrupt, err)
	}
	w.super.Generation = rec.Generation
	w.queue.init(s.Head, w.last.End(), s.RingBytes, largestBatch(s.RingBytes, w.opt.BatchBytes), w.opt.Inline)
	if err := w.writeSuper(w.index.oldest(), 0); err != nil {
		return rec, err
	}
	if err := w.reclaim(); err != nil {
		return rec, err
	}
	rec.Groups = w.index.states()
	return rec, nil
}

// begin starts a generation at end: a batch that repeats the last one, whose original may never have reached the disk.
func (w *WAL) begin(p *replay, end id.LSN, generation uint64) error {
	h := ring.Header{Flags: ring.FlagStart, RingID: w.file.ID(), Generation: generation, LSN: end, Durable: end}
	b := &w.batch
	b.reset(end, w.opt.BatchBytes, allFit)
	if p.has {
		b.b.Repeat(p.bytes, p.pending.Records)
		// It stands for everything from where the batch lies that first had these records.
		h.Prev, h.Durable = p.pending.LSN, p.pending.Durable
	}
	batch, blocks := b.b.Seal(&h)
	if free := w.file.Size() - int64(end-w.super.Head); h.Size() > free {
		return fmt.Errorf("wal: %s: the ring is full: %d bytes are free, the last batch has %d", w.opt.Path, free, h.Size())
	}
	if h.End() > w.super.Bound { // if it is only near, the superblock that follows moves it on
		if err := w.extend(h.End()); err != nil {
			return err
		}
	}
	if err := w.file.Write(blocks, end); err != nil {
		return err
	}
	w.last = h
	return p.apply(h, batch)
}

// replay applies batches as they are read, each when the next is known not to repeat it. So every record is applied and
// visited once, and the index refers to the copy that is certain to be durable.
type replay struct {
	index   *index
	visitor Visitor

	has     bool
	pending ring.Header
	count   int64
	bytes   []byte // of pending
	scratch []Entry
	seen    map[id.GroupID]struct{} // beside those in the index
}

func (p *replay) batch(h ring.Header, batch []byte) error {
	if p.has && !(h.Start() && h.Durable <= p.pending.LSN) {
		if err := p.apply(p.pending, p.bytes); err != nil {
			return err
		}
	}
	p.has, p.pending, p.bytes = true, h, batch
	p.count++
	return nil
}

func (p *replay) apply(h ring.Header, batch []byte) error {
	if p.visitor != nil {
		if err := p.visit(h, batch); err != nil {
			return err
		}
	}
	return p.index.apply(h, batch)
}

func (p *replay) visit(h ring.Header, batch []byte) error {
	w := ring.Walk(batch, h.Records)
	for {
		r, ok, err := w.Next()
		if err != nil || !ok {
			return err
		}
		if err := p.record(&r); err != nil {
			return fmt.Errorf("group %d: %w", r.Group, err)
		}
	}
}

func (p *replay) record(r *ring.Record) error {
	switch r.Kind {
	case ring.Entries:
		p.scratch = p.scratch[:0]
		w := r.Entries()
		for {
			e, ok, err := w.Next()
			if err != nil {
				return err
			}
			if !ok {
				return p.visitor.Entries(r.Group, r.Replica, p.scratch)
			}
			p.scratch = append(p.scratch, e.Entry)
		}
	case ring.Hard:
		return p.visitor.HardState(r.Group, r.Replica, r.HardState())
	case ring.Checkpoint:
		return p.visitor.Checkpoint(r.Group, r.Replica, r.Index, r.Term(), r.HardState(), r.State())
	case ring.Snapshot:
		return p.visitor.Snapshot(r.Group, r.Replica, r.Index, r.Term(), r.State())
	}
	return p.visitor.Deleted(r.Group)
}

// note remembers the groups of a batch that is not applied.
func (p *replay) note(h ring.Header, batch []byte) error {
	w := ring.Walk(batch, h.Records)
	for r, ok, _ := w.Next(); ok; r, ok, _ = w.Next() {
		p.seen[r.Group] = struct{}{}
	}
	return nil
}

func (p *replay) groups() []id.GroupID {
	for n := range p.index.groups {
		p.seen[n] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(p.seen), cmp.Compare)
}

// settle ends replaying and tells whether every group is whole. After a loss those that are not are dropped.
func (x *index) settle(lossy bool) error {
	x.replaying = false
	for n, g := range x.groups {
		if g.tombstone != 0 || g.first == g.base.index+1 {
			continue
		}
		if !lossy {
			return fmt.Errorf("group %d: its first entry is %d, its checkpoint is at %d", n, g.first, g.base.index)
		}
		delete(x.groups, n)
	}
	return nil
}
