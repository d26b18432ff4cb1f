// Package partition is Kafka's meaning of one partition, on top of a raft group: which offset a batch gets, whether a
// producer's batch was here before, how far consumers may read, who waits for what.
//
// A leader decides before it proposes. The next offset and the producers' sequences come from its whole log, the entries
// not yet committed included; when it loses the lead these decisions are void, and the next leader makes them anew from
// its own log. So a Partition keeps two ends: *decided*, meaningful while it leads, and *applied*, which only committed
// entries move and which all replicas share. Apply never drops anything: what a leader let into the log is in it.
//
// A Partition has no goroutine and no clock. Its state is guarded by its group's lock; methods ending in Locked and
// those that a group calls (Apply, Lead, Follow, Committed, Dropped, Take) expect it held, the others take it.
//
// Committed records pass through three places: the group's log (memory, then WAL), the rows kept here until they are
// flushed, and the segment files (seglog). Read finds them wherever they are.
package partition

import (
	"errors"
	"sync"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition/rows"
	"ackline/broker/partition/waiter"
	"ackline/broker/wal"
)

// Entry is a raft entry; Data is shared and never changed once proposed.
type Entry = wal.Entry

// Proposer queues an entry in the partition's group and says which index and term it will have.
type Proposer interface {
	ProposeLocked(data []byte) (id.Index, id.Term, error)
}

// Source gives back entries that are committed and not flushed yet.
type Source interface {
	// CachedLocked appends those of [lo, hi) that memory holds, from lo on.
	CachedLocked(dst []Entry, lo, hi id.Index) []Entry
	// Entries reads them from the disk, without the lock.
	Entries(lo, hi id.Index, maxBytes int) ([]Entry, error)
	// SpareLocked says that the segments hold the entries up to i: memory needs them no longer.
	SpareLocked(i id.Index)
}

// Group is the raft group under a partition: its lock, its proposals, its log.
type Group interface {
	sync.Locker
	Proposer
	Source
}

// Errors that a producer or consumer is told.
var (
	// ErrNotLeader: this node does not lead the partition; nothing was proposed.
	ErrNotLeader = errors.New("partition: not the leader")
	// ErrUnknown: the batch was proposed, and then this node stopped leading. It may or may not become committed.
	ErrUnknown = errors.New("partition: the outcome is unknown")
	// ErrTimedOut: the batch was proposed and not committed within the producer's time-out. It may still become so.
	ErrTimedOut = errors.New("partition: not committed in time; the outcome is unknown")
	// ErrOutOfOrder: a gap in an idempotent producer's sequence.
	ErrOutOfOrder = errors.New("partition: sequence number out of order")
	// ErrFenced: a newer epoch of the same producer has written.
	ErrFenced = errors.New("partition: producer epoch is fenced")
	// ErrOffsetOutOfRange: the asked-for offset is below the log start or above the high watermark.
	ErrOffsetOutOfRange = errors.New("partition: offset out of range")
	// ErrNotReady: a new leader has not committed an entry of its own term yet, so it does not know the high watermark.
	ErrNotReady = errors.New("partition: the high watermark is not known yet")
)

// DefaultSegmentBytes is the size at which a segment is closed, in bytes, as long as the log says nothing else. It is part of
// the format: every replica of every group begins with it.
const DefaultSegmentBytes = 1 << 30

// Config says what a partition is made of.
type Config struct {
	// Group may be set by Open, since a group is made of what recovery found.
	Group Group
	// MaxProducers bounds the idempotent producers that are remembered; the longest silent is forgotten first. 0 means
	// 10,000.
	MaxProducers int
	// Deliver is given finished acks, linked by Next, without the lock. Required.
	Deliver func(head *Ack)
	// Dirty is called, with the lock held, when there are applied records to flush after there were none; Large when they
	// come to be FlushBytes.
	Dirty, Large func()
	FlushBytes   int64
	// Changed is called, with the lock held, when this node starts or stops leading, or the high watermark becomes known.
	Changed func()
	// Now is the monotonic clock in nanoseconds. Required.
	Now func() int64
}

// Partition is one partition on one node.
type Partition struct {
	cfg  Config
	segs atomic.Pointer[segments] // the flushed records; set by Open, replaced under Group's lock

	// Everything below is guarded by Group's lock.

	applied     id.Index
	appliedTerm id.Term
	appliedNext id.Offset // offset after the last applied record
	logStart    id.Offset
	producers   producers
	// segmentBytes is the size at which a segment is closed. It changes by command alone.
	segmentBytes int64

	leading     bool
	term        id.Term
	leader      id.ReplicaID
	readyAt     id.Index // the leader's first own entry: until it commits the high watermark is unknown
	committed   id.Index
	high        id.Offset // high watermark
	decidedNext id.Offset
	decided     []decision // proposed, not applied, in index order
	decidedSize int64      // what segmentBytes will be at the end of the leader's log; 0: it is to be proposed again
	resizedAt   id.Index   // of the newest command that was proposed for that
	waiting     []*Ack     // in index order
	late        []*Ack     // duplicates that wait for their original, in any order

	rows     rows.List // applied and not flushed, from flushed+1
	rowBytes int64
	rolls    map[id.Index][]byte // base states of rows at which a segment starts
	flushed  id.Index
	segBytes int64      // data of the newest segment, rows that belong to it included
	flushing sync.Mutex // held by whoever writes to the segments; taken before Group's lock

	start *start   // as of the entry before the first that the segments have; nil: there is none, or it is not known
	confs []confAt // oldest first: raft's configuration as of flushed and since
	// again is not 0 while raft applies once more what recovery has applied here, up to that index, for the sake of a
	// configuration change in between. Until it is done, what configuration goes with which index is not known.
	again id.Index

	finished  *Ack // to be delivered after the unlock, newest first
	finishedZ *Ack
	readers   *waiter.List // registered and not yet woken
	woken     *waiter.List

	recovering recovering
}

type decision struct {
	index id.Index
	base  id.Offset
	next  id.Offset
}

// Ack is a producer's wait for one batch. It belongs to the partition from Append until Deliver.
type Ack struct {
	Next *Ack // the next finished ack, in Deliver only
	// Owner is the caller's.
	Owner any
	// Part is the caller's: which partition of the request this is.
	Part int
	// Deadline is when the producer stops waiting, in nanoseconds of the monotonic clock; 0 for never.
	Deadline int64

	Base     id.Offset
	LogStart id.Offset
	Err      error
	// Monotonic nanoseconds: the batch of this node's WAL was built, it was synced, a quorum had it.
	Collected, Synced, Committed int64

	index   id.Index
	verdict error // what Err will be once index is committed
	deliver func(*Ack)
	readers *waiter.List
}

// Complete delivers a list of acks and wakes the readers that came with it.
func (a *Ack) Complete() {
	readers := a.readers
	a.readers = nil
	a.deliver(a)
	if readers != nil {
		readers.Complete()
	}
}

// New returns a partition that holds nothing. Recovery feeds it what the WAL holds (Recover…), Open gives it its segments,
// and from then on its group tells it the rest.
func New(cfg Config) *Partition {
	if cfg.MaxProducers == 0 {
		cfg.MaxProducers = 10_000
	}
	for _, f := range []*func(){&cfg.Dirty, &cfg.Large, &cfg.Changed} {
		if *f == nil {
			*f = func() {}
		}
	}
	return &Partition{cfg: cfg, producers: producers{max: cfg.MaxProducers}, rolls: map[id.Index][]byte{},
		segmentBytes: DefaultSegmentBytes}
}

// Close closes the segments, without syncing them. Nothing may be read or flushed any more.
func (p *Partition) Close() error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	return p.segs.Load().close()
}

// Append decides on a batch and proposes it: checks the producer's sequence, gives it its offset, patches offset and
// epoch into it. The batch belongs to the log from then on. When Append returns nil the ack is delivered later; ack may
// be nil, for a producer that does not wait. On an error the batch was not proposed. segmentBytes is the topic's segment.bytes
// now; 0 leaves it as it is. Drive the WAL afterwards.
func (p *Partition) Append(batch []byte, info kwire.BatchInfo, segmentBytes int64, ack *Ack) error {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if !p.leading {
		return ErrNotLeader
	}
	if info.ProducerID >= 0 {
		dup, err := p.producers.check(info, p.logStart > 0)
		if err != nil {
			return err
		}
		if dup != nil {
			p.answerDuplicate(dup, ack)
			return nil
		}
	}
	if err := p.resize(segmentBytes); err != nil {
		return err
	}
	base := p.decidedNext
	kwire.PatchBatch(batch, int64(base), int32(p.term))
	index, _, err := p.cfg.Group.ProposeLocked(batch)
	if err != nil {
		return err
	}
	p.decidedNext = base + id.Offset(info.LastDelta) + 1
	p.decided = append(p.decided, decision{index, base, p.decidedNext})
	if info.ProducerID >= 0 {
		p.producers.note(info, index, base, p.applied)
	}
	if ack != nil {
		ack.index, ack.Base = index, base
		p.waiting = append(p.waiting, ack)
	}
	return nil
}

// Refuse delivers a verdict that follows from the log, such as ErrOutOfOrder of Append, once an entry behind that log is
// committed: then this node still led when it looked, and the log was whole. One that was paused and goes on as if it led
// would refuse for good what its successor waits for. On an error the ack is not delivered. Drive the WAL afterwards.
func (p *Partition) Refuse(verdict error, ack *Ack) error {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if !p.leading {
		return ErrNotLeader
	}
	index, _, err := p.cfg.Group.ProposeLocked(nil)
	if err != nil {
		return err
	}
	ack.index, ack.verdict = index, verdict
	p.waiting = append(p.waiting, ack)
	return nil
}

// answerDuplicate gives a repeated batch the offset of its original, once that is committed.
func (p *Partition) answerDuplicate(dup *batchSeq, ack *Ack) {
	if ack == nil {
		return
	}
	ack.index, ack.Base = dup.index, dup.base
	if dup.index <= p.committed {
		p.finish(ack, nil, p.cfg.Now())
		return
	}
	p.late = append(p.late, ack)
}

// finish queues an ack for delivery after the unlock, in the order of finishing.
func (p *Partition) finish(a *Ack, err error, now int64) {
	a.Err, a.Committed, a.LogStart, a.Next = err, now, p.logStart, nil
	a.deliver = p.cfg.Deliver
	if p.finished == nil {
		p.finished = a
	} else {
		p.finishedZ.Next = a
	}
	p.finishedZ = a
}

// Bounds are the offsets that a reader may ask for.
type Bounds struct {
	Start id.Offset // log start
	High  id.Offset // high watermark; equal to the last stable offset without transactions
	// Ready is false while a new leader does not know the high watermark yet.
	Ready   bool
	Leading bool
	Term    id.Term
	Leader  id.ReplicaID
}

// Bounds returns what is readable now.
func (p *Partition) Bounds() Bounds {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	return p.boundsLocked()
}

func (p *Partition) boundsLocked() Bounds {
	return Bounds{p.logStart, p.high, !p.leading || p.committed >= p.readyAt, p.leading, p.term, p.leader}
}
