// Package stores holds what a replica asked the WAL for: what is queued for the next batch, what is in flight, and what has
// to wait until it is durable.
//
// Raft says what to store as MsgStorageAppend, each with the messages that may be delivered only behind it: answers to other
// replicas, and raft's to itself. The WAL takes what it has room for, batch by batch, and says which batch is durable. The
// queue joins the two: a group's records reach the disk in the order in which raft asked for them, and what a write
// answers goes when that write and everything before it is durable.
//
// With one exception, in a ring that is too full for entries (overtake). What is queued there waits for space, which comes free when
// entries are applied, which takes a leader; and there is no leader without votes. So a new term or vote goes before the
// entries that wait, and with it the answers that say no more than it does. A new leader commits nothing before an entry of
// its own term, which has no data: such entries go too, but only in their turn.
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

	hard       wal.HardState // what raft last told to store
	written    wal.HardState // what batches had of it, those in flight included, but for checkpoints' terms and votes
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
func New(cfg Config, hard wal.HardState) Queue { return Queue{cfg: cfg, hard: hard, written: hard} }

// Hard is what raft last told to store.
func (q *Queue) Hard() wal.HardState { return q.hard }

// Votes tells that something is queued that is to be written even when the WAL is too full for entries: signal it for that.
func (q *Queue) Votes() bool { return q.owesVote() || len(q.queue) > 0 && q.queue[0].bare() }

// owesVote tells that a term or vote is queued.
func (q *Queue) owesVote() bool {
	return q.hard.Term != q.written.Term || q.hard.Vote != q.written.Vote
}

// bare tells that a store takes next to no space: its entries, if it has any, have no data.
func (s *Store) bare() bool {
	return !slices.ContainsFunc(s.entries, func(e pb.Entry) bool { return len(e.Data) > 0 })
}

// Empty tells that nothing is queued or in flight. A checkpoint counts once it is in flight.
func (q *Queue) Empty() bool { return len(q.queue) == 0 && len(q.inflight) == 0 }

// Add queues a MsgStorageAppend, without its snapshot. It returns true if the WAL is to be signalled, and the responses that
// wait for nothing.
//
// One that only moves the commit index needs no write of its own: the index rides on the group's next entries, and the
// responses go out as soon as everything before them is durable. They must not go out earlier: they answer for the log's
// last index. Only votes do not (split).
func (q *Queue) Add(m *pb.Message) (now []pb.Message, queued bool) {
	hard := q.hard
	if m.Term != 0 || m.Vote != 0 || m.Commit != 0 {
		hard = wal.HardState{Term: id.Term(m.Term), Vote: id.ReplicaID(m.Vote), Commit: id.Index(m.Commit)}
	}
	mustSync := len(m.Entries) > 0 || hard.Term != q.hard.Term || hard.Vote != q.hard.Vote
	q.hard = hard
	now, votes, others := split(m.Responses)
	switch {
	case q.owesVote():
		others = append(votes, others...)
	case len(votes) > 0 && len(q.inflight) > 0:
		s := &q.inflight[len(q.inflight)-1]
		s.Responses = append(s.Responses, votes...)
	default:
		now = append(now, votes...)
	}
	if !mustSync {
		switch {
		case len(q.queue) > 0:
			s := &q.queue[len(q.queue)-1]
			s.Responses = append(s.Responses, others...)
		case len(q.inflight) > 0:
			s := &q.inflight[len(q.inflight)-1]
			s.Responses = append(s.Responses, others...)
		case len(now) == 0:
			now = others
		default:
			now = append(now, others...)
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
			part.Responses = others
			q.queue = append(q.queue, part)
			return now, true
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
	hard := q.hardBeforeQueue()
	b.Checkpoint(q.cfg.Group, q.cfg.Replica, ck.flushed, ck.term, hard, ck.payload)
	q.written.Commit = max(q.written.Commit, hard.Commit)
	q.inflight = append(q.inflight, Store{batch: b.LSN(), Collected: now, Done: ck.done})
	return true
}

// Collect adds to the batch what it has room for, and returns true if some is left. behind tells that a checkpoint was added:
// a large entry and a large checkpoint are too much for one batch.
func (q *Queue) Collect(b *wal.Batch, now int64, behind bool) (left bool) {
	full, n := b.CheckpointsOnly(), 0
	for ; n < len(q.queue); n++ {
		s := &q.queue[n]
		if full && s.Snapshot == nil && !(s.bare() && b.Votes()) || !full && (behind || n > 0) && b.Room() <= 0 {
			break
		}
		q.collect(b, s)
		s.batch, s.Collected, s.entries = b.LSN(), now, nil
		q.inflight = append(q.inflight, *s)
	}
	q.queue = drop(q.queue, n)
	if full && b.Votes() && q.owesVote() {
		q.overtake(b, now)
	}
	return len(q.queue) > 0
}

// overtake adds the newest term and vote to a batch that takes no entries, before what is queued. This is what holds then:
//
//	on the disk   The commit index is one that was written before, so it counts nothing that is queued. No record that follows has
//	              an older term or vote: what is queued is given the newest. The order of entries is what it was.
//	a vote        compared the candidate's log with this replica's as raft knows it, queued entries included, which is longer than
//	              what the disk has. Entries that a power cut takes were never acknowledged, so no leader has counted on them here.
//	              A vote of an older term may go with a newer term: neither is ever given to anybody else.
//	a candidate   asked for votes with the entries that are queued, and may lead before they are on the disk. Raft then takes its log
//	              for durable up to its election; but what a leader commits is an entry of its own term, which is queued behind
//	              them, and counts here when its own answer comes.
//	all others    wait behind their entries: a MsgAppResp acknowledges the log up to its index.
func (q *Queue) overtake(b *wal.Batch, now int64) {
	q.written.Term, q.written.Vote = q.hard.Term, q.hard.Vote
	b.HardState(q.cfg.Group, q.cfg.Replica, q.written)
	first := Store{batch: b.LSN(), Collected: now}
	for i := range q.queue {
		s := &q.queue[i]
		if s.hasHard {
			s.hard.Term, s.hard.Vote = q.hard.Term, q.hard.Vote
		}
		_, votes, others := split(s.Responses)
		first.Responses, s.Responses = append(first.Responses, votes...), others
	}
	q.inflight = append(q.inflight, first)
}

// split sorts responses: those that wait for nothing, those that wait for the term and vote, and all others. A pre-vote says
// what this replica would do, and promises nothing.
func split(ms []pb.Message) (free, votes, others []pb.Message) {
	first := 0
	for first < len(ms) && ms[first].Type != pb.MsgPreVoteResp && ms[first].Type != pb.MsgVoteResp && ms[first].Type != pb.MsgVote {
		first++
	}
	if first == len(ms) {
		return nil, nil, ms // as nearly always
	}
	for i := range ms {
		switch ms[i].Type {
		case pb.MsgPreVoteResp:
			free = append(free, ms[i])
		case pb.MsgVoteResp, pb.MsgVote:
			votes = append(votes, ms[i])
		default:
			others = append(others, ms[i])
		}
	}
	return free, votes, others
}

// hardBeforeQueue is the newest hard state, its commit index short of what is still queued: recovery, which reads in order,
// would take the entries that the queued ones replace for committed. Of several, a later one may begin lower.
func (q *Queue) hardBeforeQueue() wal.HardState {
	hard := q.hard
	for i := range q.queue {
		if s := &q.queue[i]; s.first != 0 {
			hard.Commit = min(hard.Commit, s.first-1)
		}
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
		q.written = q.written.Merge(s.hard)
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

// Drop forgets what is queued: the group has stopped, and may be deleted. What of it came behind the tombstone would be a log
// that begins in the middle. A checkpoint that somebody waits for stays.
func (q *Queue) Drop() {
	q.queue = slices.DeleteFunc(q.queue, func(s Store) bool { return len(s.Done) == 0 })
	q.hard = q.written
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
