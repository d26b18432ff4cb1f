// Package readindex queues a leader's linearizable reads. Each may be answered with what is committed when it comes, once a
// quorum has confirmed that this replica led then. One question to the others stands for all reads that came before it was
// asked, so that any number of reads costs two rounds at most.
package readindex

import "encoding/binary"

// Queue is one group's reads, each known by a number of the caller's. The zero value is empty. It has no lock.
type Queue struct {
	asked   []uint64 // the reads that the question under way is for
	waiting []uint64 // those that came since
	seq     uint64   // of the question under way, 0 when there is none
	last    uint64   // of any question: answers to those of an earlier leadership are answers to nothing
}

// Empty tells whether no read is under way.
func (q *Queue) Empty() bool { return len(q.asked) == 0 && len(q.waiting) == 0 }

// Add queues a read.
func (q *Queue) Add(ctx uint64) { q.waiting = append(q.waiting, ctx) }

// Ask begins the next question, and returns what goes with it, nil if one is under way or there is nothing to ask.
func (q *Queue) Ask() []byte {
	if q.seq != 0 || len(q.waiting) == 0 {
		return nil
	}
	q.asked, q.waiting = q.waiting, q.asked[:0]
	q.last++
	q.seq = q.last
	return binary.BigEndian.AppendUint64(nil, q.seq)
}

// Answer takes the confirmation of a question and hands over the reads that it is for.
func (q *Queue) Answer(question []byte, each func(ctx uint64)) {
	if q.seq == 0 || len(question) != 8 || binary.BigEndian.Uint64(question) != q.seq {
		return
	}
	for _, ctx := range q.asked {
		each(ctx)
	}
	q.asked, q.seq = q.asked[:0], 0
}

// Fail hands over all reads: there will be no answer.
func (q *Queue) Fail(each func(ctx uint64)) {
	for _, list := range [2][]uint64{q.asked, q.waiting} {
		for _, ctx := range list {
			each(ctx)
		}
	}
	q.asked, q.waiting, q.seq = q.asked[:0], q.waiting[:0], 0
}
