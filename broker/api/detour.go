package api

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ackline/broker/api/forward"
	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/replica"
)

// A produce whose partition is not led here takes a detour, if that is better for its producer than an error. While nobody is
// known to lead, since leadership is being handed over or the leader has died, it is held: told to look elsewhere, the client
// would ask for metadata that names nobody, and pause. Once a leader is known it is told which, in the same answer (KIP-951),
// or the batch is forwarded there if that is configured.
//
// What was held is never proposed here, even if this node comes to lead: a later batch of the same producer may have been by then.

const (
	// holdFor is how long a request is held at most: an election takes tens of milliseconds.
	holdFor = 500 * time.Millisecond
	// holdPoll is how often a held request looks whether a leader is known: nothing wakes it when a peer announces itself.
	holdPoll = 5 * time.Millisecond
	// maxDetours bounds the produces that are on a detour.
	maxDetours = 1024
)

// detours counts those that are under way, and forwards those that are to go elsewhere.
type detours struct {
	n       atomic.Int64
	forward forwards
}

// detour takes over part i of a request, whose code says that it is not led here, unless nothing is to be gained. why is the error of
// proposing it; nil if it was not even tried.
func (h *Handler) detour(c *produceCall, i int, t *meta.Topic, number int32, records []byte, why error) {
	if c.req.Acks == 0 || h.ctx.Err() != nil {
		return
	}
	g := t.Partitions[number].Group
	l, ok := h.cfg.Hosts.Leader(g)
	if ok && l.Node != h.cfg.Self && h.cfg.Forward == nil {
		return // the answer says who
	}
	var after id.Term // a leadership of this node's that is being handed over is not waited for
	if errors.Is(why, replica.ErrMoving) {
		after = l.Term
	}
	if h.detours.n.Add(1) > maxDetours {
		h.detours.n.Add(-1)
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, time.Duration(c.req.TimeoutMs)*time.Millisecond)
	c.pending.Add(1)
	end := func(r forward.Reply) {
		cancel()
		h.detours.n.Add(-1)
		part, ack := &c.parts[i], &c.acks[i]
		part.code, part.message, part.held, ack.Base, ack.LogStart = r.Code, r.Message, true, r.Base, r.LogStart
		if c.settle() {
			h.answer(c).Reply()
		}
	}
	if h.cfg.Forward != nil {
		h.Counters.ProduceForwarded.Add(1)
		h.detours.forward.push(h, g, &forwardItem{ctx, after, records, end}) // now, in the order in which they came
		return
	}
	h.Counters.ProduceHeld.Add(1)
	h.async(func() {
		h.awaitLeader(ctx, g, after)
		end(forward.Reply{Code: codeNotLeader}) // the answer says who leads, if anybody is known to
	})
}

const (
	// redirectQuiet is for how long no produce has come when Redirect takes it that all producers have gone where they were sent.
	redirectQuiet = 100 * time.Millisecond
	// redirectFor bounds Redirect: a client may not look at what an answer says.
	redirectFor = time.Second
)

// Redirect returns once the producers of a node that has handed over all it led have been told who leads now: none is held, and none
// has come for a while. One whose connection was closed instead would have to find that out by itself, franz-go in seconds.
func (h *Handler) Redirect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, redirectFor)
	defer cancel()
	tick := time.NewTicker(redirectQuiet / 10)
	defer tick.Stop()
	seen, since := h.Counters.Requests[kwire.KeyProduce].Load(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if n := h.Counters.Requests[kwire.KeyProduce].Load(); n != seen || h.detours.n.Load() > 0 {
			seen, since = n, time.Now()
		} else if time.Since(since) >= redirectQuiet {
			return
		}
	}
}

// awaitLeader returns the node that leads a group, once it is known: another, or this one in a later term than after. This one too,
// since who was held while it was elected would be held for nothing.
func (h *Handler) awaitLeader(ctx context.Context, g id.GroupID, after id.Term) (node id.NodeID, ok bool) {
	ok = h.hold(ctx, func() bool {
		l, known := h.cfg.Hosts.Leader(g)
		node = l.Node
		return known && (node != h.cfg.Self || l.Term > after)
	})
	return node, ok
}

// hold returns when something is so, or after holdFor with false. It is something that another leader changes.
func (h *Handler) hold(ctx context.Context, so func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, holdFor)
	defer cancel()
	tick := time.NewTicker(holdPoll)
	defer tick.Stop()
	for {
		changed := h.cfg.Hosts.Changed()
		if so() {
			return true
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
