package wal

import (
	"sync"

	"ackline/broker/id"
)

// Source is something that appends to the WAL: a group.
type Source interface {
	// Collect adds the source's records to the batch. It is called on the writer's goroutine with no lock of the WAL
	// held, at least once after each Signal. Adding nothing is fine. It must not call Drive or Reclaim.
	Collect(b *Batch)
	// Durable tells that every batch below end is on disk. It is called once for each Collect that added something, after
	// that batch's sync. Two calls may overlap and come in either order: what matters is the highest end.
	Durable(end id.LSN)
}

// queue holds who has something to write and who may write it. mu guards everything.
type queue struct {
	mu    sync.Mutex
	turn  sync.Cond // a waiter's turn: busy went false, or shut went true
	lists [classes]waiting

	busy    bool // the writer's role is taken, or is on its way to the syncer
	waiters int  // Reclaims and Closes that wait for the role; they go before sources
	shut    bool // nobody may take the role any more
	inline  bool // nobody to hand the role to: see Options.Inline

	// The part of the ring that is in use is [head, tail). Moving head gives space free.
	head, tail id.LSN
	ringBytes  int64
	largest    int64  // see reserve
	stuckAt    id.LSN // the tail when claim last said that something of the reserve does not fit

	spare [][]Source // lists of finished batches, for reuse
}

// waiting is a list of sources, first in first out, each at most once.
type waiting struct {
	list []Source
	next int // list[:next] was taken
	in   map[Source]struct{}
}

func (l *waiting) add(s Source) {
	if _, ok := l.in[s]; ok {
		return
	}
	l.in[s] = struct{}{}
	l.list = append(l.list, s)
}

func (l *waiting) len() int { return len(l.list) - l.next }

// take removes the first; the list must not be empty.
func (l *waiting) take() Source {
	s := l.list[l.next]
	l.list[l.next] = nil
	l.next++
	delete(l.in, s)
	// What was taken is dropped once it is half of the list: constant cost, and no growth while some source always waits.
	if l.next*2 >= len(l.list) {
		n := copy(l.list, l.list[l.next:])
		clear(l.list[n:])
		l.list, l.next = l.list[:n], 0
	}
	return s
}

// class is what a source was listed for.
type class int

const (
	forCheckpoints class = iota
	forVotes
	forEntries
	classes
)

// The last part of the ring is not for entries, or a ring full of them would leave no room for the checkpoints that free
// it, nor for the votes without which entries that nobody has committed are never freed. In units of the largest batch
// that the ring accepts:
//
//	entries      are collected while at least 7 are free, so that 6 are when the last batch is written
//	votes        while at least 5 are, and with them the entries that begin terms: they free nothing by themselves, and must not
//	             take what checkpoints need
//	checkpoints  while at least 3 are: a round of all groups' should fit between, be it in batches of one block each
//	Reclaim      moves records while it leaves 1
//	Open         needs 1, to repeat the last batch
//
// A vote takes 56 bytes, so those of 10,000 groups at once are one batch of the default size. One after the other each takes
// a block: in a ring of 1 GiB there is room for 8,192 of them. When that is used up they wait for space, as entries do.
var reserve = [classes]int64{forCheckpoints: 3, forVotes: 5, forEntries: 7}

const reserveReclaim = 1

func (q *queue) init(head, tail id.LSN, ringBytes, largest int64, inline bool) {
	q.turn.L = &q.mu
	for c := range q.lists {
		q.lists[c].in = map[Source]struct{}{}
	}
	q.head, q.tail, q.ringBytes, q.largest, q.inline = head, tail, ringBytes, largest, inline
}

func (q *queue) free() int64 { return q.ringBytes - int64(q.tail-q.head) }

// fits and work are called with mu held.
func (q *queue) fits(c class) bool { return q.free() >= reserve[c]*q.largest }

func (q *queue) work() bool {
	for c := range classes {
		if q.lists[c].len() > 0 && q.fits(c) {
			return true
		}
	}
	return false
}

// signal lists s.
func (q *queue) signal(s Source, c class) {
	q.mu.Lock()
	q.lists[c].add(s)
	q.mu.Unlock()
}

// claim takes the writer's role if it is free and there is something to write. stuck means that there are checkpoints or
// votes which do not fit, and is said once for each state of the ring.
func (q *queue) claim() (mine, stuck bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.busy || q.shut || q.waiters > 0:
		return false, false
	case q.work():
		q.busy = true
		return true, false
	case q.lists[forCheckpoints].len()+q.lists[forVotes].len() > 0 && q.stuckAt != q.tail:
		q.stuckAt = q.tail
		return false, true
	}
	return false, false
}

// acquire waits for the role; false means that there is none any more.
func (q *queue) acquire() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiters++
	for q.busy && !q.shut {
		q.turn.Wait()
	}
	q.waiters--
	if q.shut {
		return false
	}
	q.busy = true
	return true
}

// release ends a turn in which the tail moved to tail. It gives the role back, unless there is something to write and no
// waiter: then it returns true and the role goes on to whoever the caller hands it to.
func (q *queue) release(tail id.LSN) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tail = tail
	if q.shut {
		return false
	}
	if q.waiters == 0 && !q.inline && q.work() {
		return true
	}
	q.busy = false
	if q.waiters > 0 {
		q.turn.Signal()
	}
	return false
}

// close takes the role away for good. It stays busy for whoever holds it.
func (q *queue) close() {
	q.mu.Lock()
	q.shut = true
	q.mu.Unlock()
	q.turn.Broadcast()
}

// start is what a batch begins with.
type start struct {
	tail id.LSN
	fits [classes]bool // what the ring is not too full for
	take [classes]int  // how many sources it may take: one that signals itself again waits for the batch after it
	list []Source      // empty, for those that add something
}

func (q *queue) begin() start {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := start{tail: q.tail}
	for c := range classes {
		if s.fits[c] = q.fits(c); s.fits[c] {
			s.take[c] = q.lists[c].len()
		}
	}
	if n := len(q.spare); n > 0 {
		s.list = q.spare[n-1]
		q.spare = q.spare[:n-1]
	}
	return s
}

func (q *queue) take(c class) Source {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lists[c].take()
}

func (q *queue) recycle(l []Source) {
	clear(l)
	q.mu.Lock()
	q.spare = append(q.spare, l[:0])
	q.mu.Unlock()
}

func (q *queue) setHead(l id.LSN) {
	q.mu.Lock()
	q.head = l
	q.mu.Unlock()
}

func (q *queue) bounds() (head, tail id.LSN) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head, q.tail
}
