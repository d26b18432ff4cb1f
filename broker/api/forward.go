package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	end     func(forwardReply) // called once
}

type forwardReply struct {
	code     int16
	base     id.Offset
	logStart id.Offset
	message  string
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
func (h *Handler) forward(g id.GroupID, items []*forwardItem) []forwardReply {
	replies := make([]forwardReply, len(items))
	from := 0 // those before are done
	rest := func(code int16, message string) []forwardReply {
		for i := from; i < len(items); i++ {
			replies[i] = forwardReply{code: code, base: -1, logStart: -1, message: message}
		}
		return replies
	}
	ctx, until := patient(items), time.Now().Add(holdFor)
	for {
		to, ok := h.awaitLeader(ctx, g, items[from].after)
		if !ok || to == h.cfg.Self { // whose producer sends it again, here
			return rest(codeNotLeader, "")
		}
		answer, err := h.cfg.Forward(ctx, to, encodeForward(g, items[from:]))
		if err == nil {
			if err = decodeForwardReplies(answer, replies[from:]); err == nil {
				for from < len(items) && replies[from].code == 0 {
					from++
				}
				// What was not proposed is tried again, unless it is behind something of which that is not known.
				if from == len(items) || replies[from].code != codeNotLeader {
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

// A forwarded call, little-endian. The answer has, for each batch in order, its code 2, base offset 8, log start 8, and a message with
// its length in two bytes.
//
//	offset  size  field
//	0       1     version, 1
//	1       8     group
//	9       4     number of batches
//	13      ...   each: how long its producer waits, in ms, 4; length 4; bytes
const (
	forwardVersion = 1
	forwardHead    = 13
	forwardEach    = 8
	replyEach      = 20
)

func encodeForward(g id.GroupID, items []*forwardItem) []byte {
	le := binary.LittleEndian
	size := forwardHead
	for _, it := range items {
		size += forwardEach + len(it.records)
	}
	b := append(make([]byte, 0, size), forwardVersion)
	b = le.AppendUint64(b, uint64(g))
	b = le.AppendUint32(b, uint32(len(items)))
	for _, it := range items {
		ms := int64(1)
		if at, ok := it.ctx.Deadline(); ok {
			ms = max(1, min(time.Until(at).Milliseconds(), 1<<31-1))
		}
		b = le.AppendUint32(b, uint32(ms))
		b = le.AppendUint32(b, uint32(len(it.records)))
		b = append(b, it.records...)
	}
	return b
}

// forwardedBatch is one that another node forwards. Its bytes are the call's.
type forwardedBatch struct {
	waitMs  int32
	records []byte
}

var errForward = errors.New("a forwarded produce that cannot be read")

func decodeForward(b []byte) (g id.GroupID, batches []forwardedBatch, err error) {
	le := binary.LittleEndian
	if len(b) < forwardHead || b[0] != forwardVersion {
		return 0, nil, errForward
	}
	g = id.GroupID(le.Uint64(b[1:]))
	n := int64(le.Uint32(b[9:]))
	b = b[forwardHead:]
	if n == 0 || n > int64(len(b)/forwardEach) {
		return 0, nil, errForward
	}
	for range n {
		if len(b) < forwardEach || uint64(le.Uint32(b[4:])) > uint64(len(b)-forwardEach) {
			return 0, nil, errForward
		}
		end := forwardEach + int(le.Uint32(b[4:]))
		batches = append(batches, forwardedBatch{int32(le.Uint32(b) & (1<<31 - 1)), b[forwardEach:end]})
		b = b[end:]
	}
	if len(b) > 0 {
		return 0, nil, errForward
	}
	return g, batches, nil
}

func appendForwardReply(b []byte, r forwardReply) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(r.code))
	b = le.AppendUint64(b, uint64(r.base))
	b = le.AppendUint64(b, uint64(r.logStart))
	message := r.message[:min(len(r.message), 1<<10)]
	b = le.AppendUint16(b, uint16(len(message)))
	return append(b, message...)
}

func decodeForwardReplies(b []byte, replies []forwardReply) error {
	le := binary.LittleEndian
	for i := range replies {
		if len(b) < replyEach || int(le.Uint16(b[18:])) > len(b)-replyEach {
			return errForward
		}
		end := replyEach + int(le.Uint16(b[18:]))
		replies[i] = forwardReply{int16(le.Uint16(b)), id.Offset(le.Uint64(b[2:])), id.Offset(le.Uint64(b[10:])), string(b[replyEach:end])}
		b = b[end:]
	}
	if len(b) > 0 {
		return errForward
	}
	return nil
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
	g, batches, err := decodeForward(question)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", from, err)
	}
	if !h.enter() {
		return refuseAll(len(batches), codeNotLeader, ""), nil
	}
	defer h.waits.Done()
	t, number := h.cfg.Cluster.Catalog().Group(g)
	p, missing := h.locate(t, number)
	switch {
	case missing != 0:
		return refuseAll(len(batches), codeNotLeader, ""), nil // it is not led here, whatever it is
	case h.cfg.Writable() != nil:
		return refuseAll(len(batches), codeStorageError, ""), nil
	}
	f := &forwarded{done: make(chan struct{})}
	f.pending.Store(1)
	acks, replies := make([]partition.Ack, len(batches)), make([]forwardReply, len(batches))
	for i, b := range batches {
		ack := &acks[i]
		ack.Owner, ack.Part = f, i
		ack.Deadline = h.cfg.Now() + int64(b.waitMs)*1e6
		f.pending.Add(1)
		h.pending.Add(1)
		if err := h.propose(p, t, bytes.Clone(b.records), ack); err != nil {
			replies[i].code, replies[i].message = code(err), err.Error()
			f.pending.Add(-1)
			h.pending.Add(-1)
			if replies[i].code == codeNotLeader { // nothing behind it may be proposed before it
				for j := i; j < len(batches); j++ {
					replies[j].code = codeNotLeader
				}
				break
			}
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
		case r.code != 0:
			r.base, r.logStart = -1, -1
		case ack.Err != nil:
			r.code, r.base, r.logStart, r.message = code(ack.Err), -1, -1, ack.Err.Error()
		default:
			r.base, r.logStart = ack.Base, ack.LogStart
		}
		answer = appendForwardReply(answer, *r)
	}
	return answer, nil
}

func refuseAll(n int, code int16, message string) (b []byte) {
	for range n {
		b = appendForwardReply(b, forwardReply{code: code, base: -1, logStart: -1, message: message})
	}
	return b
}
