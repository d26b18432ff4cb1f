// Package stores holds what a replica asked the WAL for: what is queued for the next batch, what is in flight, and what has
// to wait until it is durable.
//
// Raft says what to store as MsgStorageAppend, each with the messages that may be delivered only behind it: answers to other
// replicas, and raft's to itself. The WAL takes what it has room for, batch by batch, and says which batch is durable. The
// queue joins the two: a group's records reach the disk in the order in which raft asked for them, and what a write
// answers goes when that write and everything before it is durable.
//
// Nothing here does I/O: the queue is filled and emptied by a group, under the group's lock.
package stores

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/raftlog"
	"ackline/broker/wal"
)

// Config says whose records they are.
type Config struct {
	Group   id.GroupID
	Replica id.ReplicaID
	// PartBytes bounds the entries that go into one batch as one record, in bytes; a single entry may be larger.
	PartBytes int64
	// DataCRC may be nil. Of an entry's data it returns the CRC-32C, if it knows that without reading it, else 0.
	DataCRC func(data []byte) uint32
}

// Queue is one replica's. It has no lock.
type Queue struct {
	cfg Config

	hard       wal.HardState // what raft last told to store; what of it is durable is in the WAL's index
	queue      []Store       // from raft, not yet collected by the WAL
	inflight   []Store       // collected, not yet durable
	checkpoint *checkpoint
	enlisted   []wal.Entry // collect's scratch
}

// Store is one write on its way to the disk, and what waits for it.
type Store struct {
	Snapshot  *Snapshot       // before the entries; nil: it has none
	Responses []pb.Message    // to deliver once it is durable
	Done      []chan struct{} // to close then: of checkpoints
	Collected int64           // monotonic ns at which its batch was built

	batch   id.LSN     // set once collected
	entries []pb.Entry // until it is collected
	first   id.Index   // of the entries; 0: it has none
	hard    wal.HardState
	hasHard bool
}

// Snapshot takes the place of all entries up to Index.
type Snapshot struct {
	Index   id.Index
	Term    id.Term // of the entry at Index
	Conf    []byte  // the configuration as of Index
	Payload []byte  // what the WAL records
}

type checkpoint struct {
	flushed id.Index
	term    id.Term
	payload []byte
	done    []chan struct{}
}

// New returns an empty queue of a replica whose durable hard state is hard.
func New(cfg Config, hard wal.HardState) Queue { return Queue{cfg: cfg, hard: hard} }

// Hard is what raft last told to store.
func (q *Queue) Hard() wal.HardState { return q.hard }

// Empty tells that nothing is queued or in flight. A checkpoint counts once it is in flight.
func (q *Queue) Empty() bool { return len(q.queue) == 0 && len(q.inflight) == 0 }

// Add queues a MsgStorageAppend, without its snapshot. It returns true if the WAL is to be signalled, and the responses that
// wait for nothing.
//
// One that only moves the commit index needs no write of its own: the index rides on the group's next entries, and the
// responses go out as soon as everything before them is durable. They must not go out earlier: they answer for the log's
// last index.
func (q *Queue) Add(m *pb.Message) (now []pb.Message, queued bool) {
	hard := q.hard
	if m.Term != 0 || m.Vote != 0 || m.Commit != 0 {
		hard = wal.HardState{Term: id.Term(m.Term), Vote: id.ReplicaID(m.Vote), Commit: id.Index(m.Commit)}
	}
	mustSync := len(m.Entries) > 0 || hard.Term != q.hard.Term || hard.Vote != q.hard.Vote
	q.hard = hard
	if !mustSync {
		switch {
		case len(q.queue) > 0:
			s := &q.queue[len(q.queue)-1]
			s.Responses = append(s.Responses, m.Responses...)
		case len(q.inflight) > 0:
			s := &q.inflight[len(q.inflight)-1]
			s.Responses = append(s.Responses, m.Responses...)
		default:
			now = m.Responses
		}
		return now, false
	}
	// A batch of the WAL has a bound, and a burst of messages none that this node sets: each part fits, and is whole by itself.
	for rest := m.Entries; ; {
		n := raftlog.Fitting(rest, q.cfg.PartBytes)
		part := Store{entries: rest[:n:n], hard: hard, hasHard: true}
		if n > 0 {
			part.first = id.Index(rest[0].Index)
		}
		if rest = rest[n:]; len(rest) == 0 {
			part.Responses = m.Responses
			q.queue = append(q.queue, part)
			return nil, true
		}
		part.hard.Commit = min(hard.Commit, id.Index(rest[0].Index)-1)
		q.queue = append(q.queue, part)
	}
}

// AddSnapshot queues a snapshot. A checkpoint that waits is of what it covers, and is not written.
func (q *Queue) AddSnapshot(snap *Snapshot) {
	s := Store{Snapshot: snap}
	if ck := q.checkpoint; ck != nil {
		q.checkpoint, s.Done = nil, ck.done
	}
	q.queue = append(q.queue, s)
}

// SetCheckpoint has a checkpoint written with the next batch; done is closed by whoever hears that it is durable. One that
// waits is superseded, and the newer answers for it.
func (q *Queue) SetCheckpoint(flushed id.Index, term id.Term, payload []byte, done chan struct{}) {
	waiting := []chan struct{}{done}
	if prev := q.checkpoint; prev != nil {
		waiting = append(waiting, prev.done...)
	}
	q.checkpoint = &checkpoint{flushed, term, payload, waiting}
}

// CollectCheckpoint adds a checkpoint to the batch, if one waits. now is when the batch is built.
func (q *Queue) CollectCheckpoint(b *wal.Batch, now int64) bool {
	ck := q.checkpoint
	if ck == nil {
		return false
	}
	q.checkpoint = nil
	b.Checkpoint(q.cfg.Group, q.cfg.Replica, ck.flushed, ck.term, q.hardBeforeQueue(), ck.payload)
	q.inflight = append(q.inflight, Store{batch: b.LSN(), Collected: now, Done: ck.done})
	return true
}

// Collect adds to the batch what it has room for, and returns true if some is left. behind tells that a checkpoint was added:
// a large entry and a large checkpoint are too much for one batch.
func (q *Queue) Collect(b *wal.Batch, now int64, behind bool) (left bool) {
	full, n := b.CheckpointsOnly(), 0
	for ; n < len(q.queue); n++ {
		s := &q.queue[n]
		if full && s.Snapshot == nil || !full && (behind || n > 0) && b.Room() <= 0 {
			break
		}
		q.collect(b, s)
		s.batch, s.Collected, s.entries = b.LSN(), now, nil
		q.inflight = append(q.inflight, *s)
	}
	q.queue = drop(q.queue, n)
	return len(q.queue) > 0
}

// hardBeforeQueue is the newest hard state, its commit index short of what is still queued: recovery, which reads in order,
// would take the entries that the queued ones replace for committed.
func (q *Queue) hardBeforeQueue() wal.HardState {
	hard := q.hard
	if i := slices.IndexFunc(q.queue, func(s Store) bool { return s.first != 0 }); i >= 0 {
		hard.Commit = min(hard.Commit, q.queue[i].first-1)
	}
	return hard
}

// collect adds one store to the batch: entries before the hard state, whose commit index may count them.
func (q *Queue) collect(b *wal.Batch, s *Store) {
	if s.Snapshot != nil {
		b.Snapshot(q.cfg.Group, q.cfg.Replica, s.Snapshot.Index, s.Snapshot.Term, s.Snapshot.Payload)
	}
	if len(s.entries) > 0 {
		q.enlisted = raftlog.AppendEntries(q.enlisted[:0], s.entries)
		if q.cfg.DataCRC != nil {
			for i := range q.enlisted {
				if e := &q.enlisted[i]; e.Type == uint8(pb.EntryNormal) {
					e.CRC = q.cfg.DataCRC(e.Data)
				}
			}
		}
		b.Entries(q.cfg.Group, q.cfg.Replica, q.enlisted)
		clear(q.enlisted)
	}
	if s.hasHard {
		b.HardState(q.cfg.Group, q.cfg.Replica, s.hard)
	}
}

// Durable returns what is durable now that every batch below end is, in order; term is raft's current one. The stores are
// in flight until Forget is told how many they were: deliver their responses before.
func (q *Queue) Durable(end id.LSN, term id.Term) []Store {
	n := 0
	for ; n < len(q.inflight) && q.inflight[n].batch < end; n++ {
		q.renew(q.inflight[n].Responses, q.inflight[n+1:], term)
	}
	return q.inflight[:n]
}

// Forget drops the first n that are in flight.
func (q *Queue) Forget(n int) { q.inflight = drop(q.inflight, n) }

func drop(l []Store, n int) []Store {
	rest := copy(l, l[n:])
	clear(l[rest:])
	return l[:rest]
}

// renew lets raft know of entries that became durable after its term had changed. It ignores what was to be answered in an earlier
// term, for what is queued behind may have replaced them, and waits for the write that records the new term; but in a full ring that
// write waits for entries to be applied, these among them. Nothing behind them replaces any here, so it may know.
func (q *Queue) renew(ms []pb.Message, behind []Store, term id.Term) {
	for i := range ms {
		m := &ms[i]
		replaces := func(s Store) bool { return s.first != 0 && s.first <= id.Index(m.Index) }
		if m.Type == pb.MsgStorageAppendResp && m.Index != 0 && m.Term < uint64(term) &&
			!slices.ContainsFunc(behind, replaces) && !slices.ContainsFunc(q.queue, replaces) {
			m.Term = uint64(term)
		}
	}
}
