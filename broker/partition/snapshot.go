package partition

import (
	"encoding/binary"
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/partition/rows"
	"ackline/broker/seglog"
)

// A partition's state is its log, so its snapshot has no records in it: it is the state before the first entry that is
// still there, which whoever is sent it takes for its own. All entries from there on come as entries. Where the log begins,
// retention decides; so this state changes only then, and is kept in memory: Snapshot is asked for with the group's lock
// held, and reads no file.

// start is the state as of the entry before the first that the segments have.
type start struct {
	index   id.Index
	term    id.Term
	conf    []byte
	base    []byte // the first segment's base state
	payload []byte // what a replica's WAL records that starts from it; nil when the configuration is not known
}

// newStart makes a start of a Base, as stored, whose configuration is conf if it does not have one itself.
func newStart(b, conf []byte) (*start, error) {
	at, err := DecodeBase(b)
	if err != nil {
		return nil, err
	}
	if len(at.conf) > 0 {
		conf = at.conf
	}
	// What was dropped since, nobody has who starts here: records below this state's end are not there to be read.
	state := slices.Clone(at.state)
	at.LogStart = max(at.LogStart, at.Next)
	binary.LittleEndian.PutUint64(state[baseStartAt:], uint64(at.LogStart))
	s := &start{index: at.Index, term: at.Term, conf: slices.Clone(conf), base: withConf(state, conf)}
	if len(conf) > 0 {
		s.payload, err = encodePayload(seglog.EmptyAt(at.Index+1, at.Next, at.Term), conf, state)
	}
	return s, err
}

// startOf reads the start of segments: nil when nothing is before their first entry, or when they do not say what it was. It
// reads from the disk: call it without the lock.
func startOf(log *seglog.Log) (*start, error) {
	first := log.FirstIndex()
	if first == 1 || first > log.LastIndex() {
		return nil, nil
	}
	_, b, err := log.BaseState(first)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	s, err := newStart(b, nil)
	if err == nil && s.index != first-1 {
		err = fmt.Errorf("partition: the segment that begins at index %d has the state as of %d; it should be that of the entry before",
			first, s.index)
	}
	return s, err
}

// restart reads where the segments begin now that the oldest are gone. flushing is held.
func (p *Partition) restart(s *segments) {
	// Damage shows when the segments are verified or opened again. Until then there is only nothing to offer.
	st, _ := startOf(s.log)
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if p.segs.Load() == s {
		p.start = st
	}
}

// Start is a partition's snapshot: the state as of the entry before its first.
type Start struct {
	Index id.Index
	Term  id.Term
	// Conf is raft's configuration as of Index.
	Conf []byte
	// Payload is what RecoverCheckpoint and Restore read. It must not be changed.
	Payload []byte
}

// SnapshotLocked returns the snapshot; false when the log has its whole history, when retention has moved its start this
// moment, or when it does not know the configuration there.
func (p *Partition) SnapshotLocked() (Start, bool) {
	s := p.start
	if s == nil || s.payload == nil || s.index+1 != p.History().FirstIndex() {
		return Start{}, false
	}
	return Start{s.index, s.term, s.conf, s.payload}, true
}

// RestoreLocked puts a snapshot, which the WAL has recorded, in the place of everything that is here. conf is raft's
// configuration from here on: the snapshot's, and this replica itself if that is older than the replica. What was here are entries that it covers, so they were committed at most there: producers that wait
// are told that the outcome is unknown.
func (p *Partition) RestoreLocked(index id.Index, term id.Term, conf, payload []byte) error {
	at, exact, base, err := DecodePayload(payload)
	if err != nil {
		return err
	}
	if base.Index != index || base.Term != term || at != seglog.EmptyAt(index+1, base.Next, term) {
		return fmt.Errorf("partition: a snapshot at index %d of term %d has the state as of %d of %d, and segments at %+v",
			index, term, base.Index, base.Term, at)
	}
	if index <= p.applied {
		return fmt.Errorf("partition: a snapshot at index %d, and %d is applied", index, p.applied)
	}
	st, err := newStart(base.state, exact)
	if err != nil {
		return err
	}
	p.failFrom(0, ErrUnknown, p.cfg.Now())
	if err := p.producers.decode(base.producers); err != nil {
		return err
	}
	p.applied, p.appliedTerm, p.appliedNext, p.logStart = index, term, base.Next, max(base.LogStart, base.Next)
	p.committed, p.high, p.segmentBytes, p.segBytes = index, base.Next, base.SegmentBytes, 0
	p.decided, p.decidedNext, p.decidedSize = p.decided[:0], base.Next, 0
	p.rows, p.rowBytes, p.rolls = rows.List{}, 0, map[id.Index][]byte{}
	p.flushed, p.start, p.again = index, st, 0
	later := slices.IndexFunc(p.confs, func(c confAt) bool { return c.at > index }) // of a snapshot that is on its way
	if later < 0 {
		later = len(p.confs)
	}
	p.confs = slices.Replace(p.confs, 0, later, confAt{index, slices.Clone(conf)})
	old := p.segs.Load()
	next := &segments{old: old.log, at: at}
	if next.old == nil {
		next.old = old.old
	}
	p.segs.Store(next)
	p.cfg.Dirty() // the old segments are to go
	p.cfg.Changed()
	p.wake()
	return nil
}

// confAt is raft's configuration from an index on.
type confAt struct {
	at   id.Index
	conf []byte
}

// Configured says what raft's configuration is from an index on: when the partition joins its group, as of what raft has
// applied, and whenever it changes, before that entry is applied here or that snapshot restored. The group's lock is held.
func (p *Partition) Configured(at id.Index, conf []byte) {
	n := 0
	for n+1 < len(p.confs) && p.confs[n+1].at <= p.flushed {
		n++ // no state below is stored any more
	}
	p.confs = append(slices.Delete(p.confs, 0, n), confAt{at, slices.Clone(conf)})
}

// confAt returns the configuration as of an index that is flushed last, or above. Recovery applies entries before raft has
// said anything; but then none of them changes the configuration (see again).
func (p *Partition) confAt(i id.Index) []byte {
	for n := len(p.confs) - 1; n >= 0; n-- {
		if n == 0 || p.confs[n].at <= i {
			return p.confs[n].conf
		}
	}
	return nil
}

// superseded tells whether a snapshot covers everything here: it is restored, or it is in the WAL, or on the way there, and
// will be. Raft has the snapshot's configuration from the moment on at which it takes it.
func (p *Partition) superseded(s *segments) bool {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	n := len(p.confs)
	return p.segs.Load() != s || n > 0 && p.confs[n-1].at > p.applied
}
