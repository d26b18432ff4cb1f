// Package proposals holds what a leader has proposed: the entries that raft has not seen yet, each of which was promised an
// index, and the bytes of all that are not committed, which are bounded.
//
// Raft costs a tenth per entry when it steps many at once, so proposals wait here for the next batch of the WAL and go as
// one message. The promise holds because nothing but these entries lengthens a leader's log.
package proposals

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Queue is one group's. The zero value is empty. It has no lock.
type Queue struct {
	waiting []pb.Entry // for raft
	first   id.Index   // that the first of them was promised
	bytes   int        // of them

	open      []proposal // not committed, those that wait included, by index
	openBytes int
}

type proposal struct {
	index id.Index
	bytes int
}

// Len is how many proposals wait for raft.
func (q *Queue) Len() int { return len(q.waiting) }

// First is the index that the first waiting proposal was promised.
func (q *Queue) First() id.Index { return q.first }

// Next is the index that the next proposal is promised in a log that ends at last.
func (q *Queue) Next(last id.Index) id.Index {
	if n := len(q.waiting); n > 0 {
		return q.first + id.Index(n)
	}
	return last + 1
}

// Fits tells whether n more bytes stay within limit. One proposal of any size always does.
func (q *Queue) Fits(n, limit int) bool { return q.openBytes == 0 || q.openBytes+n <= limit }

// Add queues an entry, promised index, which is Next.
func (q *Queue) Add(index id.Index, e pb.Entry) {
	if len(q.waiting) == 0 {
		q.first = index
	}
	q.waiting = append(q.waiting, e)
	q.bytes += len(e.Data)
	q.openBytes += len(e.Data)
	q.open = append(q.open, proposal{index, len(e.Data)})
}

// Peek returns the first waiting proposals, of about room bytes but at least one. The slice is valid until Taken.
func (q *Queue) Peek(room int) []pb.Entry {
	n, size := 0, 0
	for n < len(q.waiting) && (n == 0 || size+len(q.waiting[n].Data) <= room) {
		size += len(q.waiting[n].Data)
		n++
	}
	return q.waiting[:n]
}

// Taken removes the first n waiting proposals, which raft has copied: they are in the log, and still open.
func (q *Queue) Taken(n int) {
	for i := range q.waiting[:n] {
		q.bytes -= len(q.waiting[i].Data)
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting, q.first = q.waiting[:rest], q.first+id.Index(n)
}

// Drop forgets the waiting proposals: they are in no log.
func (q *Queue) Drop() {
	q.open = q.open[:len(q.open)-len(q.waiting)]
	q.openBytes -= q.bytes
	clear(q.waiting)
	q.waiting, q.bytes = q.waiting[:0], 0
}

// Close forgets the open proposals too, when this replica does not lead any more: others decide what becomes of them.
func (q *Queue) Close() {
	q.Drop()
	q.open, q.openBytes = q.open[:0], 0
}

// Committed closes the proposals up to index i.
func (q *Queue) Committed(i id.Index) {
	n := 0
	for n < len(q.open) && q.open[n].index <= i {
		q.openBytes -= q.open[n].bytes
		n++
	}
	q.open = q.open[:copy(q.open, q.open[n:])]
}
