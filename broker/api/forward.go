package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ackline/broker/api/forward"
	"ackline/broker/id"
	"ackline/broker/partition"
)

// A forwarded batch is proposed by the node that leads its partition exactly as if its producer had sent it there: it is checked
// there, deduplicated there, and answered when a quorum has it. If what became of it cannot be told, because the connection or
// that node was lost meanwhile, the producer hears so (REQUEST_TIMED_OUT), and an idempotent one sends it again.
//
// Calls between nodes overtake each other, and a producer's batches must not. So of each partition one call is under way at a
// time, with everything that came while the last one was.

// forwards are the partitions that batches are forwarded for.
type forwards struct {
	mu     sync.Mutex // guards queues
	queues map[id.GroupID]*forwardQueue
}

type forwardQueue struct{ waiting []*forwardItem } // in a map while its goroutine runs

type forwardItem struct {
	ctx     context.Context
	after   id.Term // see awaitLeader
	records []byte
	end     func(forward.Reply) // called once
}

// forwardBytes bounds the batches of one call; one may exceed it.
const forwardBytes = 1 << 20

// push has a batch forwarded to whoever leads g, behind those that were pushed before.
func (f *forwards) push(h *Handler, g id.GroupID, item *forwardItem) {
	f.mu.Lock()
	if f.queues == nil {
		f.queues = map[id.GroupID]*forwardQueue{}
	}
	q := f.queues[g]
	first := q == nil
	if first {
		q = new(forwardQueue)
		f.queues[g] = q
	}
	q.waiting = append(q.waiting, item)
	f.mu.Unlock()
	if first {
		h.async(func() { f.drain(h, g, q) })
	}
}

// drain forwards what waits for a partition until nothing does.
func (f *forwards) drain(h *Handler, g id.GroupID, q *forwardQueue) {
	for {
		f.mu.Lock()
		n, size := 0, 0
		for n < len(q.waiting) && (n == 0 || size+len(q.waiting[n].records) <= forwardBytes) {
			size += len(q.waiting[n].records)
			n++
		}
		items := q.waiting[:n]
		q.waiting = q.waiting[n:]
		if n == 0 {
			delete(f.queues, g)
		}
		f.mu.Unlock()
		if n == 0 {
			return
		}
		for i, r := range h.forward(g, items) {
			items[i].end(r)
		}
	}
}

// forward returns what became of each item. Where nothing was done, because that node does not lead or cannot be asked, it tries
// again, but not for long.
func (h *Handler) forward(g id.GroupID, items []*forwardItem) []forward.Reply {
	replies := make([]forward.Reply, len(items))
	from := 0 // those before are done
	rest := func(code int16, message string) []forward.Reply {
		for i := from; i < len(items); i++ {
			replies[i] = forward.Reply{Code: code, Base: -1, LogStart: -1, Message: message}
		}
		return replies
	}
	ctx, until := patient(items), time.Now().Add(holdFor)
	for {
		to, ok := h.awaitLeader(ctx, g, items[from].after)
		if !ok || to == h.cfg.Self { // whose producer sends it again, here
			return rest(codeNotLeader, "")
		}
		answer, err := h.cfg.Forward(ctx, to, forward.Call(g, batches(items[from:])))
		if err == nil {
			if err = forward.ParseReplies(answer, replies[from:]); err == nil {
				for from < len(items) && replies[from].Code == 0 {
					from++
				}
				// What was not proposed is tried again, unless it is behind something of which that is not known.
				if from == len(items) || replies[from].Code != codeNotLeader {
					return replies
				}
			}
		}
		var notDone interface{ NotDone() bool }
		if err != nil && !(errors.As(err, &notDone) && notDone.NotDone()) {
			return rest(codeRequestTimedOut, "forwarding it to the partition's leader: "+err.Error())
		}
		if time.Now().After(until) {
			return rest(codeNotLeader, "") // its producer may have more luck
		}
		timer := time.NewTimer(holdPoll) // it is about to lead, or its successor to be known
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return rest(codeNotLeader, "")
		}
	}
}

// patient is the context of whoever waits longest: each batch has its own time-out where it is proposed.
func patient(items []*forwardItem) context.Context {
	longest := items[0].ctx
	for _, it := range items[1:] {
		at, ok := it.ctx.Deadline()
		if most, bounded := longest.Deadline(); bounded && (!ok || at.After(most)) {
			longest = it.ctx
		}
	}
	return longest
}

// batches are what a call says of items.
func batches(items []*forwardItem) []forward.Batch {
	out := make([]forward.Batch, len(items))
	for i, it := range items {
		ms := int64(1)
		if at, ok := it.ctx.Deadline(); ok {
			ms = max(1, min(time.Until(at).Milliseconds(), 1<<31-1))
		}
		out[i] = forward.Batch{WaitMs: int32(ms), Records: it.records}
	}
	return out
}

// forwarded is a call under way at the node that leads: it owns the acks of its batches.
type forwarded struct {
	pending atomic.Int64
	done    chan struct{}
}

func (f *forwarded) settle() {
	if f.pending.Add(-1) == 0 {
		close(f.done)
	}
}

var errStopping = errors.New("the node stops; what it was given may have been written")

// Forwarded carries out a call of another node's: every batch of it is proposed, in order, and the answer says what became of each.
func (h *Handler) Forwarded(ctx context.Context, from id.NodeID, question []byte) ([]byte, error) {
	g, batches, err := forward.ParseCall(question)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", from, err)
	}
	if !h.enter() {
		return forward.Refused(len(batches), codeNotLeader), nil
	}
	defer h.waits.Done()
	t, number := h.cfg.Cluster.Catalog().Group(g)
	p, missing := h.locate(t, number)
	switch {
	case missing != 0:
		return forward.Refused(len(batches), codeNotLeader), nil // it is not led here, whatever it is
	case h.cfg.Writable() != nil:
		return forward.Refused(len(batches), codeStorageError), nil
	}
	f := &forwarded{done: make(chan struct{})}
	f.pending.Store(1)
	acks, replies := make([]partition.Ack, len(batches)), make([]forward.Reply, len(batches))
	for i, b := range batches {
		ack := &acks[i]
		ack.Owner, ack.Part = f, i
		ack.Deadline = h.cfg.Now() + int64(b.WaitMs)*1e6
		f.pending.Add(1)
		h.pending.Add(1)
		if err := h.propose(p, t, bytes.Clone(b.Records), ack); err != nil {
			replies[i].Code, replies[i].Message = code(err), err.Error()
			f.pending.Add(-1)
			h.pending.Add(-1)
			if replies[i].Code == codeNotLeader { // nothing behind it may be proposed before it
				for j := i; j < len(batches); j++ {
					replies[j].Code = codeNotLeader
				}
				break
			}
		} else {
			h.cfg.Origins.Add(g, []byte(h.placeOf(from)), len(b.Records))
		}
	}
	h.cfg.Drive()
	f.settle()
	select {
	case <-f.done: // every ack is delivered, at the latest when it has expired
	case <-h.ctx.Done():
		return nil, errStopping
	}
	answer := []byte(nil)
	for i := range replies {
		r := &replies[i]
		switch ack := &acks[i]; {
		case r.Code != 0:
			r.Base, r.LogStart = -1, -1
		case ack.Err != nil:
			r.Code, r.Base, r.LogStart, r.Message = code(ack.Err), -1, -1, ack.Err.Error()
		default:
			r.Base, r.LogStart = ack.Base, ack.LogStart
		}
		answer = r.Append(answer)
	}
	return answer, nil
}
