package run

import (
	"fmt"
	"sync"

	"ackline/loadgen/client"
	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
)

// join brings together, for each record, the producer's times and the time at which the consumer had it in hand. Either may come
// first: a record is often in the consumer's hand before the producer has read its acknowledgement. Whoever comes second
// records. Both are on one clock.
type join struct {
	payloads *frame.Payloads
	streams  []joinStream
}

type joinStream struct {
	mu    sync.Mutex // guards the rest; held for tens of nanoseconds by the stream's worker or by the consumer
	slots []joinSlot // a ring by sequence number
	e2e   *hist.Hist // sent → in hand
	wait  *hist.Hist // acknowledged → in hand, 0 when it was in hand first
	early int64
	lost  int64 // one half was overwritten before the other came
}

// joinSlot is one half of a record.
type joinSlot struct {
	seq      uint64 // plus one; 0: empty
	consumed bool   // which half this is
	measured bool
	a, b     int64 // sent and acked, or in hand
}

// joinSlots bounds how far consumer and producer may be apart before records go uncounted.
const joinSlots = 1 << 14

func newJoin(p *frame.Payloads, streams int) *join {
	j := &join{payloads: p, streams: make([]joinStream, streams)}
	for i := range j.streams {
		j.streams[i].slots = make([]joinSlot, joinSlots)
	}
	j.reset()
	return j
}

// reset begins a slice.
func (j *join) reset() {
	for i := range j.streams {
		s := &j.streams[i]
		s.mu.Lock()
		s.e2e, s.wait, s.early, s.lost = hist.NewLatency(), hist.NewDelay(), 0, 0
		clear(s.slots)
		s.mu.Unlock()
	}
}

// acked is called by the worker that owns the stream.
func (j *join) acked(op *client.Op, measured bool) {
	s := &j.streams[op.Stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.slots[op.Seq%joinSlots]
	if slot.seq == op.Seq+1 && slot.consumed {
		if measured {
			s.record(op.Sent, op.Acked, slot.a)
		}
		slot.seq = 0
		return
	}
	if slot.seq != 0 && slot.measured {
		s.lost++
	}
	*slot = joinSlot{seq: op.Seq + 1, measured: measured, a: op.Sent, b: op.Acked}
}

// consumed is called by the consumer with every record.
func (j *join) consumed(value []byte, inHand int64) {
	stream, seq, ours := j.payloads.Peek(value)
	if !ours || int(stream) >= len(j.streams) {
		return
	}
	s := &j.streams[stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.slots[seq%joinSlots]
	if slot.seq == seq+1 && !slot.consumed {
		if slot.measured {
			s.record(slot.a, slot.b, inHand)
		}
		slot.seq = 0
		return
	}
	if slot.seq != 0 && slot.measured {
		s.lost++
	}
	*slot = joinSlot{seq: seq + 1, consumed: true, a: inHand}
}

func (s *joinStream) record(sent, acked, inHand int64) {
	if inHand < sent {
		panic(fmt.Sprintf("run: a record was in hand at %d ns and sent at %d ns", inHand, sent))
	}
	s.e2e.Record(inHand - sent)
	if inHand < acked {
		s.early++
	}
	s.wait.Record(max(inHand-acked, 0))
}

// sum merges the streams. unread is how many measured records were acknowledged and are still waiting for the consumer.
func (j *join) sum() (e2e, wait *hist.Hist, early, unread int64) {
	e2e, wait = hist.NewLatency(), hist.NewDelay()
	for i := range j.streams {
		s := &j.streams[i]
		s.mu.Lock()
		e2e.Merge(s.e2e)
		wait.Merge(s.wait)
		early += s.early
		unread += s.lost
		for _, slot := range s.slots {
			if slot.seq != 0 && slot.measured && !slot.consumed {
				unread++
			}
		}
		s.mu.Unlock()
	}
	return e2e, wait, early, unread
}
