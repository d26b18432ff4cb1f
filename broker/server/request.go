package server

import (
	"sync"
	"time"

	"ackline/broker/kwire"
	"ackline/broker/stage"
)

// Handler carries requests out.
type Handler interface {
	// Serve takes a request. It is called on the connection's reader goroutine, in the order of the requests; the next
	// request of this connection is not looked at before it returns, so what has to wait must wait elsewhere. The
	// request must be completed exactly once, from any goroutine, now or later (Reply, Discard, Abort, Complete, or
	// a Corker); after that it must not be touched.
	Serve(r *Request)
	// Flush is called on the same goroutine after one or more Serve calls, when no further complete request has
	// arrived on this connection (or the reader has to wait for memory or for replies to be read). It is where work
	// that Serve gathered is started: everything that one read brought goes together.
	Flush(c *Conn)
}

// Request is one request of a client and its reply.
type Request struct {
	Conn   *Conn
	Header kwire.Header // Body included; its bytes are this request's own and are left to the garbage collector
	// Unsupported is set in one case: an ApiVersions request whose version is not served. Its body is not to be
	// read, and its answer is in version 0. Other requests of that kind never get here.
	Unsupported *kwire.VersionError
	Clock       stage.Clock // the server marks Read and Reply
	// Buf is the reply: a whole frame with its length. It is empty at Serve but may have room (r.Buf =
	// kwire.AppendResponse(r.Buf, …)); another slice may be put here and becomes the server's. Empty at completion: no
	// reply is sent.
	Buf []byte
	// Mute is for how long the connection is not read once the reply was sent, or without one once its turn came. Set it
	// before completion; zero is not at all.
	Mute time.Duration
	// Scratch is the handler's. It keeps its value when the Request is used again, for any connection, so that
	// what it points to can be reused too.
	Scratch any

	next *Request // owned by Conn.mu
	done bool     // owned by Conn.mu
	cost int64    // bytes of the budget; the completing goroutine's, then the sending one's
}

// Costs that the budget counts beside a frame's own bytes.
const (
	requestOverhead = 1 << 10 // a Request with a small reply
	smallReply      = 4 << 10 // larger replies are counted, and their buffers not kept
)

var requests = sync.Pool{New: func() any { return new(Request) }}

// Reply completes the request and sends what can be sent of its connection's replies, without ever waiting for the
// client.
func (r *Request) Reply() {
	c := r.Conn
	r.charge()
	c.mu.Lock()
	c.complete(r)
	c.flush()
}

// Discard completes the request without a reply: acks=0. Replies behind it may go then.
func (r *Request) Discard() {
	r.Buf = r.Buf[:0]
	r.Reply()
}

// Abort closes the connection, because this request makes no sense, and completes the request. Replies that were
// not sent yet are dropped.
func (r *Request) Abort() {
	r.Conn.close(CauseHandler)
	r.Discard()
}

// Complete completes the request. It returns its connection if that should be flushed: its replies then go with the
// next Flush of it (by anyone), at the latest. Between the two more requests may be completed; that is what a Corker
// is for.
func (r *Request) Complete() *Conn {
	c := r.Conn
	r.charge()
	c.mu.Lock()
	ready := c.complete(r)
	c.mu.Unlock()
	if ready {
		return c
	}
	return nil
}

// charge counts a large reply.
func (r *Request) charge() {
	if n := len(r.Buf); n > smallReply {
		r.cost += int64(n)
		r.Conn.server.budget.force(int64(n))
	}
}

// Corker gathers completed requests of many connections, so that each connection costs one write: complete them all
// through one Corker, then Flush it. It allocates only while it grows. A Corker belongs to one goroutine at a time;
// the zero value is ready.
type Corker struct {
	conns []*Conn
}

// Complete completes a request. Its reply goes with the next Flush, or earlier.
func (k *Corker) Complete(r *Request) {
	c := r.Conn
	r.charge()
	c.mu.Lock()
	if c.complete(r) && c.corker != k {
		// The mark keeps a connection from being listed twice. When two Corkers take turns at one connection it is
		// listed more often, which costs a lock.
		c.corker = k
		k.conns = append(k.conns, c)
	}
	c.mu.Unlock()
}

// Flush sends what was completed.
func (k *Corker) Flush() {
	for i, c := range k.conns {
		k.conns[i] = nil
		c.mu.Lock()
		if c.corker == k {
			c.corker = nil
		}
		c.flush()
	}
	k.conns = k.conns[:0]
}

// recycle gives back requests that are linked by next.
func (c *Conn) recycle(r *Request, sent int64) {
	var cost int64
	var n uint64
	for r != nil {
		next := r.next
		cost += r.cost
		n++
		if sent != 0 {
			if r.Clock[stage.Propose] != 0 && c.server.cfg.Stages != nil {
				r.Clock[stage.Reply] = sent
				c.server.cfg.Stages.Observe(&r.Clock)
			}
		}
		buf, scratch := r.Buf[:0], r.Scratch
		if cap(buf) > smallReply {
			buf = nil
		}
		*r = Request{Buf: buf, Scratch: scratch}
		requests.Put(r)
		r = next
	}
	if n > 0 {
		c.server.budget.give(cost)
		if sent != 0 {
			c.server.Counters.Replies.Add(n)
		}
	}
}
