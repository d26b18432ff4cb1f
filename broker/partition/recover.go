package partition

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition/rows"
	"ackline/broker/seglog"
)

// recovering is what replay has passed and no commit index has covered yet: entries described while their data was at
// hand. Data is not kept, so that memory stays bounded whatever the WAL holds.
type recovering struct {
	entries []recovered       // contiguous
	at      seglog.Checkpoint // of the newest checkpoint passed
	conf    []byte            // raft's configuration there
	state   []byte            // the partition's
	// changes are the configuration changes above the checkpoint, ascending: raft has to apply them again.
	changes []id.Index
}

// changed notes whether an entry is a configuration change. It replaces all that came before from its index on.
func (r *recovering) changed(e *Entry) {
	n := len(r.changes)
	for n > 0 && r.changes[n-1] >= e.Index {
		n--
	}
	r.changes = r.changes[:n]
	if e.Type != entryNormal {
		r.changes = append(r.changes, e.Index)
	}
}

type recovered struct {
	row  rows.Row
	info kwire.BatchInfo
	data []byte // of a command
}

// Recover takes entries as the WAL's replay passes them, in its order, a later entry replacing those from its index on.
func (p *Partition) Recover(es []Entry) error {
	rec := &p.recovering
	for i := range es {
		e := &es[i]
		if e.Index <= p.applied {
			continue
		}
		r, info, err := p.describe(e)
		if err != nil {
			return err
		}
		rec.changed(e)
		d := recovered{row: r, info: info}
		if !isData(e) {
			d.data = append([]byte(nil), e.Data...)
		}
		at := 0
		if len(rec.entries) > 0 {
			at = int(e.Index) - int(rec.entries[0].row.Index)
		}
		// Below what came before: of the group's records only the newer had been left, and now come Reclaim's copies of all.
		if at = max(at, 0); at > len(rec.entries) {
			return fmt.Errorf("partition: the WAL passes entry %d where %d to %d came before", e.Index,
				rec.entries[0].row.Index, int(rec.entries[0].row.Index)+len(rec.entries)-1)
		}
		rec.entries = append(rec.entries[:at], d)
	}
	return nil
}

// RecoverCommit applies what replay has passed up to a commit index. While there is a gap between the applied index and the
// first entry, that entry's predecessors are gone from the WAL because a checkpoint that comes later covers them: then
// nothing is applied.
func (p *Partition) RecoverCommit(commit id.Index) error {
	rec := &p.recovering
	n := 0
	for n < len(rec.entries) && rec.entries[n].row.Index == p.applied+1 && rec.entries[n].row.Index <= commit {
		d := &rec.entries[n]
		if err := p.take(d.row, d.info, d.data); err != nil {
			return err
		}
		n++
	}
	rec.entries = rec.entries[:copy(rec.entries, rec.entries[n:])]
	return nil
}

// RecoverCheckpoint takes a checkpoint that replay passes: what it covers is in the segments.
func (p *Partition) RecoverCheckpoint(payload []byte) error {
	at, conf, base, err := DecodePayload(payload)
	if err != nil {
		return err
	}
	rec := &p.recovering
	if base.Index < p.flushed {
		return fmt.Errorf("partition: a checkpoint at %d behind one at %d", base.Index, p.flushed)
	}
	n := 0
	for n < len(rec.entries) && rec.entries[n].row.Index <= base.Index {
		n++
	}
	rec.entries = rec.entries[:copy(rec.entries, rec.entries[n:])]
	if p.applied <= base.Index {
		p.applied, p.appliedTerm, p.appliedNext = base.Index, base.Term, base.Next
		p.high, p.committed, p.segBytes, p.segmentBytes = base.Next, base.Index, at.SegBytes, base.SegmentBytes
		if err := p.producers.decode(base.producers); err != nil {
			return err
		}
	}
	p.logStart = max(p.logStart, base.LogStart)
	p.dropRows(base.Index)
	p.flushed = base.Index
	rec.at, rec.conf, rec.state = at, append([]byte(nil), conf...), append([]byte(nil), base.state...)
	for len(rec.changes) > 0 && rec.changes[0] <= base.Index {
		rec.changes = rec.changes[1:]
	}
	return nil
}

// dropRows forgets the rows up to an index: the segments hold them.
func (p *Partition) dropRows(upTo id.Index) (bytes int64) {
	p.rows.Drop(p.rows.UpTo(upTo), func(r rows.Row) {
		bytes += int64(r.Length)
		if r.Roll {
			delete(p.rolls, r.Index)
		}
	})
	p.rowBytes -= bytes
	return bytes
}

// Recovered says where the segments are to be opened, raft's configuration there (empty: as created), and from which index
// on raft is to apply again: behind the last applied entry, but not behind a configuration change that only raft can take.
func (p *Partition) Recovered() (at seglog.Checkpoint, conf []byte, applied id.Index) {
	applied = p.applied
	if cs := p.recovering.changes; len(cs) > 0 {
		applied = min(applied, cs[0]-1)
	}
	return p.recovering.at, p.recovering.conf, applied
}

// Open ends recovery: log is what seglog.Open made of the recovered checkpoint. What no commit index covered is in the
// group's log, not here: a new leader reads it from there.
func (p *Partition) Open(log *seglog.Log) error {
	if last := log.LastIndex(); last != p.flushed {
		return fmt.Errorf("partition: the segments end at index %d, the checkpoint at %d", last, p.flushed)
	}
	if rest := p.recovering.entries; len(rest) > 0 && rest[0].row.Index != p.applied+1 {
		return fmt.Errorf("partition: the WAL goes on with entry %d behind the applied index %d", rest[0].row.Index, p.applied)
	}
	st, err := startOf(log)
	if err == nil && p.flushed > 0 && log.FirstIndex() > p.flushed {
		st, err = newStart(p.recovering.state, p.recovering.conf) // there are no segments: the first will start there
	}
	if err != nil {
		return err
	}
	p.segs.Store(&segments{log: log})
	p.start = st
	if cs := p.recovering.changes; len(cs) > 0 && cs[0] <= p.applied {
		p.again = p.applied
	}
	p.recovering = recovering{}
	p.decidedNext = p.appliedNext
	return nil
}

// Join gives the partition its group. Nothing may be appended or applied before.
func (p *Partition) Join(g Group) { p.cfg.Group = g }
