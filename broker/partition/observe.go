package partition

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition/rows"
	"ackline/broker/seglog"
)

// Lead makes the decisions of a new leader from its log: tail is every entry that is not applied yet, and its last is
// the new term's own no-op.
func (p *Partition) Lead(term id.Term, tail []Entry) {
	p.leading, p.term, p.leader = true, term, 0
	p.decidedNext, p.decided, p.decidedSize = p.appliedNext, p.decided[:0], p.segmentBytes
	p.producers.truncate(p.applied + 1)
	p.readyAt = p.applied
	for _, e := range tail {
		p.readyAt = e.Index
		if !isData(&e) {
			if size, ok := sizeIn(e.Data); ok && e.Type == entryNormal {
				p.decidedSize, p.resizedAt = size, e.Index
			}
			continue
		}
		info := kwire.PeekBatch(e.Data)
		base := id.Offset(info.Base)
		if base != p.decidedNext {
			panic(fmt.Sprintf("partition: entry %d has base offset %d, its predecessors end at %d", e.Index, base, p.decidedNext))
		}
		p.decidedNext = base + id.Offset(info.LastDelta) + 1
		p.decided = append(p.decided, decision{e.Index, base, p.decidedNext})
		if info.ProducerID >= 0 {
			p.producers.note(info, e.Index, base, p.applied)
		}
	}
}

// Follow voids the decisions: whoever waits is told that the outcome is unknown.
func (p *Partition) Follow(term id.Term, leader id.ReplicaID) {
	p.term, p.leader = term, leader
	if !p.leading {
		p.cfg.Changed()
		p.wake() // who reads here wants to know that there is a leader
		return
	}
	p.leading = false
	now := p.cfg.Now()
	p.failFrom(0, ErrUnknown, now)
	p.decided, p.decidedNext = p.decided[:0], p.appliedNext
	p.producers.truncate(p.applied + 1)
	p.cfg.Changed()
	p.wake()
}

// Dropped voids the decisions from an index on: raft refused the entries, so they are in no log.
func (p *Partition) Dropped(from id.Index, err error) {
	p.failFrom(from, fmt.Errorf("%w: %w", ErrNotLeader, err), p.cfg.Now())
	for i, d := range p.decided {
		if d.index >= from {
			p.decidedNext, p.decided = d.base, p.decided[:i]
			break
		}
	}
	if p.resizedAt >= from {
		p.decidedSize = 0
	}
	p.producers.truncate(from)
}

func (p *Partition) failFrom(from id.Index, err error, now int64) {
	keep := 0
	for keep < len(p.waiting) && p.waiting[keep].index < from {
		keep++
	}
	for i := keep; i < len(p.waiting); i++ {
		p.finish(p.waiting[i], err, now)
		p.waiting[i] = nil
	}
	p.waiting = p.waiting[:keep]
	p.settleLate(func(a *Ack) bool { return a.index >= from }, err, now)
}

func (p *Partition) settleLate(which func(*Ack) bool, err error, now int64) {
	rest := p.late[:0]
	for _, a := range p.late {
		if which(a) {
			p.finish(a, err, now)
		} else {
			rest = append(rest, a)
		}
	}
	clear(p.late[len(rest):])
	p.late = rest
}

// Committed moves the high watermark and answers the producers whose batches a quorum now has on disk.
func (p *Partition) Committed(index id.Index, collected, synced int64) {
	if p.leading && p.committed < p.readyAt && index >= p.readyAt {
		defer p.cfg.Changed()
	}
	p.committed = index
	for _, d := range p.decided {
		if d.index > index {
			break
		}
		p.high = d.next
	}
	if len(p.waiting) == 0 && len(p.late) == 0 {
		return
	}
	now := p.cfg.Now()
	n := 0
	for n < len(p.waiting) && p.waiting[n].index <= index {
		a := p.waiting[n]
		a.Collected, a.Synced = collected, synced
		p.finish(a, a.verdict, now)
		n++
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
	if len(p.late) > 0 {
		p.settleLate(func(a *Ack) bool { return a.index <= index }, nil, now)
	}
}

// Expire answers the producers whose deadline has passed: their batches stay in the log, and whether they become committed
// is not known.
func (p *Partition) Expire(now int64) {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	late := func(a *Ack) bool { return a.Deadline != 0 && a.Deadline < now }
	rest := p.waiting[:0]
	for _, a := range p.waiting {
		if late(a) {
			p.finish(a, ErrTimedOut, now)
		} else {
			rest = append(rest, a)
		}
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
	p.settleLate(late, ErrTimedOut, now)
}

// Apply takes committed entries into the state that all replicas share. Entries that it has are passed over.
func (p *Partition) Apply(es []Entry) error {
	if n := len(es); n > 0 && es[n-1].Index >= p.again {
		p.again = 0
	}
	for i := range es {
		e := &es[i]
		if e.Index <= p.applied {
			continue
		}
		if e.Index != p.applied+1 {
			return fmt.Errorf("partition: entry %d does not follow the applied index %d", e.Index, p.applied)
		}
		r, info, err := p.describe(e)
		if err != nil {
			return err
		}
		if err := p.take(r, info, e.Data); err != nil {
			return err
		}
	}
	n := 0
	for n < len(p.decided) && p.decided[n].index <= p.applied {
		n++
	}
	p.decided = p.decided[:copy(p.decided, p.decided[n:])]
	p.wake()
	return nil
}

// take moves the applied state over one entry. data is that of a command, and may be nil for others.
func (p *Partition) take(r rows.Row, info kwire.BatchInfo, data []byte) error {
	if r.Delta == seglog.Control {
		r.Base = p.appliedNext
		if err := p.command(data); err != nil {
			return fmt.Errorf("partition: entry %d: %w", r.Index, err)
		}
	} else if r.Base != p.appliedNext {
		return fmt.Errorf("partition: entry %d has base offset %d, its predecessors end at %d", r.Index, r.Base, p.appliedNext)
	} else {
		if p.segBytes > 0 && p.segBytes+int64(r.Length) > p.segmentBytes {
			r.Roll = true
			p.rolls[r.Index] = p.encodeBase()
			p.segBytes = 0
		}
		p.segBytes += int64(r.Length)
		p.appliedNext = r.Next()
		if info.ProducerID >= 0 {
			p.producers.note(info, r.Index, r.Base, r.Index)
		}
	}
	p.applied, p.appliedTerm = r.Index, r.Term
	if p.high < p.appliedNext {
		p.high = p.appliedNext
	}
	if p.committed < p.applied {
		p.committed = p.applied
	}
	if p.rows.Len() == 0 {
		p.cfg.Dirty()
	}
	p.rows.Push(r)
	before := p.rowBytes
	p.rowBytes += int64(r.Length)
	if before < p.cfg.FlushBytes && p.rowBytes >= p.cfg.FlushBytes {
		p.cfg.Large()
	}
	return nil
}

// describe reads what the partition needs to know of an entry.
func (p *Partition) describe(e *Entry) (rows.Row, kwire.BatchInfo, error) {
	r := rows.Row{Index: e.Index, Term: e.Term, Type: e.Type, Length: int32(len(e.Data)), Delta: seglog.Control, MaxMs: seglog.NoTimestamp}
	if !isData(e) {
		return r, kwire.BatchInfo{ProducerID: -1}, nil
	}
	if len(e.Data) < kwire.BatchHeaderBytes {
		return r, kwire.BatchInfo{}, fmt.Errorf("partition: entry %d is a record batch of %d bytes, shorter than its header", e.Index, len(e.Data))
	}
	info := kwire.PeekBatch(e.Data)
	r.Base, r.Delta, r.MaxMs = id.Offset(info.Base), info.LastDelta, info.MaxTimestamp
	return r, info, nil
}

// wake moves the readers whose need is met to the list that is woken after the unlock.
func (p *Partition) wake() {
	for w := p.readers; w != nil; {
		next := w.Next
		w.Next, p.woken = p.woken, w
		w = next
	}
	p.readers = nil
}

// Completion is what Take returns: acks to deliver, readers to wake.
type Completion = interface{ Complete() }

// Take returns what is to be done after the unlock, nil when nothing is.
func (p *Partition) Take() Completion {
	acks, readers := p.finished, p.woken
	if acks == nil && readers == nil {
		return nil
	}
	p.finished, p.finishedZ, p.woken = nil, nil, nil
	if acks == nil {
		return readers
	}
	acks.readers = readers
	return acks
}
