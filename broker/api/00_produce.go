package api

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"ackline/broker/api/origin"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/partition"
	"ackline/broker/server"
	"ackline/broker/stage"
)

// produceCall is a Produce request under way. It is the request's Scratch, so its memory is used again.
type produceCall struct {
	request *server.Request
	req     kwire.ProduceRequest
	topics  []produceTopic
	parts   []producePart
	told    kwire.StageTimes
	acks    []partition.Ack // one per part, never moved while pending
	// pending counts the acks that are out, and one for the goroutine that still hands out.
	pending atomic.Int32
}

// produceTopic is one topic of a request; its partitions follow one another in parts.
type produceTopic struct {
	name       []byte
	partitions int
}

type producePart struct {
	number  int32
	code    int16
	message string
	held    bool // until somebody was known to lead
}

// produce proposes every batch of a request. The reply goes out when the last of them is decided; the WAL is driven by
// Flush, once the connection has no further complete request.
func (h *Handler) produce(r *server.Request) {
	c, _ := r.Scratch.(*produceCall)
	if c == nil {
		c = new(produceCall)
		r.Scratch = c
	}
	c.request = r
	if err := c.req.Parse(r.Header); err != nil {
		r.Abort()
		return
	}
	n := c.req.Partitions
	c.topics = c.topics[:0]
	c.parts = resize(c.parts, n)
	c.acks = resize(c.acks, n)
	c.pending.Store(1)
	r.Clock.Mark(stage.Decode)
	refusal := int16(0)
	switch {
	case c.req.Acks < -1 || c.req.Acks > 1:
		refusal = codeInvalidRequiredAcks
	case c.req.TransactionalID != nil:
		refusal = codeTransactionalNotAuthorized
	case h.cfg.Writable() != nil:
		refusal = codeStorageError
	}
	i := 0
	for topic, number, records, ok := c.req.Next(); ok; topic, number, records, ok = c.req.Next() {
		c.place(topic, i, number)
		if refusal != 0 {
			c.parts[i].code = refusal
		} else {
			h.produceOne(c, i, topic, number, records)
		}
		i++
	}
	r.Clock.Mark(stage.Propose)
	if c.settle() {
		h.answer(c).Reply()
	}
}

// place notes which topic a part belongs to. A topic's name is a slice of the frame, so its address tells one topic of the
// request from the next.
func (c *produceCall) place(topic []byte, i int, number int32) {
	if n := len(c.topics); n == 0 || unsafe.SliceData(c.topics[n-1].name) != unsafe.SliceData(topic) {
		c.topics = append(c.topics, produceTopic{name: topic})
	}
	c.topics[len(c.topics)-1].partitions++
	c.parts[i].number = number
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

func (h *Handler) produceOne(c *produceCall, i int, topic []byte, number int32, records []byte) {
	part := &c.parts[i]
	t := h.cfg.Cluster.Catalog().Topic(topic)
	p, missing := h.locate(t, number)
	if missing != 0 {
		if part.code = missing; missing == codeNotLeader {
			h.detour(c, i, t, number, records, nil)
		}
		return
	}
	var ack *partition.Ack
	if c.req.Acks != 0 {
		ack = &c.acks[i]
		ack.Owner, ack.Part = c, i
		ack.Deadline = c.request.Clock[stage.Read] + int64(c.req.TimeoutMs)*1e6
		c.pending.Add(1)
		h.pending.Add(1)
	}
	err := h.propose(p, t, records, ack)
	if err == nil {
		if h.cfg.Origins != nil {
			h.cfg.Origins.Add(t.Partitions[number].Group, origin.Of(c.request.Header.ClientID), len(records))
		}
		return // and the part is whoever delivers the ack's
	}
	if part.code, part.message = code(err), err.Error(); part.code == codeNotLeader {
		h.detour(c, i, t, number, records, err)
	}
	if ack != nil {
		c.pending.Add(-1)
		h.pending.Add(-1)
	}
}

// propose checks a batch and proposes it. With an error it was not proposed, and the ack, if there is one, will not be delivered.
func (h *Handler) propose(p *partition.Partition, t *meta.Topic, records []byte, ack *partition.Ack) error {
	if limit := int(t.Settings.MaxMessageBytes); len(records) > limit {
		return &kwire.BatchError{Code: codeMessageTooLarge, Reason: "the batch is larger than the topic's max.message.bytes"}
	}
	// What topics have by default is more than a small ring takes.
	if limit := int(h.cfg.Limits.MaxMessageBytes); limit > 0 && len(records) > limit {
		return &kwire.BatchError{Code: codeMessageTooLarge,
			Reason: fmt.Sprintf("the batch has %d bytes; this node's wal.batch_bytes allow %d", len(records), limit)}
	}
	info, err := kwire.ParseBatch(records)
	if err != nil {
		return err
	}
	err = p.Append(records, info, t.Settings.SegmentBytes, ack)
	if ack != nil && (errors.Is(err, partition.ErrOutOfOrder) || errors.Is(err, partition.ErrFenced)) {
		err = p.Refuse(err, ack)
	}
	if err != nil {
		return err
	}
	h.Counters.ProduceRecords.Add(uint64(info.Count))
	h.Counters.ProduceBytes.Add(uint64(len(records)))
	return nil
}

// settle takes one from pending and tells whether the request is decided.
func (c *produceCall) settle() bool { return c.pending.Add(-1) == 0 }

var corkers = sync.Pool{New: func() any { return new(server.Corker) }}

// Deliver takes finished acks from partitions. Requests that they complete are answered, one write per connection.
func (h *Handler) Deliver(head *partition.Ack) {
	k := corkers.Get().(*server.Corker)
	settled := int64(0)
	for a := head; a != nil; settled++ {
		next := a.Next // the ack's memory is used again once its request is answered
		c, own := a.Owner.(*produceCall)
		if !own {
			a.Owner.(*forwarded).settle()
			a = next
			continue
		}
		if a.Err != nil {
			c.parts[a.Part].code, c.parts[a.Part].message = code(a.Err), a.Err.Error()
		}
		if c.settle() {
			k.Complete(h.answer(c))
		}
		a = next
	}
	k.Flush()
	h.pending.Add(-settled)
	corkers.Put(k)
}

// throttle tells how long the client is to wait, in milliseconds, and has its connection muted for as long: it may not listen,
// and with acks=0 it hears nothing.
func (h *Handler) throttle(r *server.Request) int32 {
	if h.cfg.ThrottleMs == nil {
		return 0
	}
	ms := h.cfg.ThrottleMs()
	if ms > 0 {
		r.Mute = time.Duration(ms) * time.Millisecond
		h.Counters.ProduceThrottle.Observe(r.Mute.Nanoseconds())
	}
	return ms
}

// answer encodes the reply of a decided request.
func (h *Handler) answer(c *produceCall) *server.Request {
	r := c.request
	c.request = nil
	throttleMs := h.throttle(r)
	if c.req.Acks == 0 {
		r.Buf = r.Buf[:0]
		return r
	}
	var e kwire.ProduceResponse
	e.Begin(r.Buf[:0], r.Header, len(c.topics))
	i, hints := 0, []kwire.Endpoint(nil)
	var last *partition.Ack // the one that the request waited for
	for _, t := range c.topics {
		e.Topic(t.name, t.partitions)
		for range t.partitions {
			part, ack := &c.parts[i], &c.acks[i]
			out := kwire.ProducePartition{Partition: part.number, Code: part.code, Base: -1, AppendTime: -1, LogStart: -1,
				Message: part.message, LeaderID: -1, LeaderEpoch: -1}
			if part.code == 0 {
				out.Base, out.LogStart = int64(ack.Base), int64(ack.LogStart)
				if ack.Committed > 0 && (last == nil || ack.Committed > last.Committed) { // else another node's
					last = ack
				}
			} else {
				h.Counters.ProduceErrors.Add(part.code)
			}
			if part.code == codeNotLeader {
				hints = h.hint(&out, t.name, part.held, hints)
			}
			e.Partition(out)
			i++
		}
	}
	if last != nil {
		r.Clock[stage.Queue], r.Clock[stage.Sync], r.Clock[stage.Quorum] = last.Collected, last.Synced, last.Committed
	}
	var told *kwire.StageTimes
	if c.req.AsksStages {
		c.told = stageTimes(&r.Clock)
		told = &c.told
	}
	r.Buf = e.End(throttleMs, hints, told)
	return r
}

// stageTimes is what a client is told that asks for it. A batch that was collected before the request was there is an older one:
// others made the quorum before this node's disk had the request's own.
func stageTimes(c *stage.Clock) kwire.StageTimes {
	t := kwire.StageTimes{Decode: c.Since(stage.Decode), Propose: c.Since(stage.Propose), Queue: -1, Sync: -1, Quorum: c.Since(stage.Quorum),
		Encode: stage.Now() - c[stage.Read]}
	if c[stage.Queue] >= c[stage.Decode] {
		t.Queue, t.Sync = c.Since(stage.Queue), c.Since(stage.Sync)
	}
	return t
}

// hint names who leads instead. What was held may be for this node by now.
func (h *Handler) hint(out *kwire.ProducePartition, topic []byte, held bool, hints []kwire.Endpoint) []kwire.Endpoint {
	l, at, ok := h.successor(h.cfg.Cluster.Catalog().Topic(topic), out.Partition, held)
	if !ok {
		return hints
	}
	out.LeaderID, out.LeaderEpoch = int32(l.Node), int32(l.Term)
	return append(hints, at)
}
