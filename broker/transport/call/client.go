package call

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
)

// chunk is what is written at once: WriteTimeout is for each.
const chunk = 256 << 10

// Client asks one peer. Safe for concurrent use; Attach, Receive and Detach are for the one goroutine that keeps the
// connection.
type Client struct {
	cfg Config

	mu       sync.Mutex // guards the rest; a leaf
	more     sync.Cond  // on mu, for the writer: queue or conn has changed
	idle     sync.Cond  // on mu: the writer has ended
	conn     net.Conn   // nil: none
	expected bool       // requests wait although conn is nil
	closed   bool
	writing  bool // the writer runs
	last     uint64
	open     map[uint64]*request // without an answer
	queue    []*request          // of these, not handed to the writer
	queued   int                 // bytes of queue
}

// request is a call under way.
type request struct {
	number uint64
	wire   []byte      // until it is sent; owned by who has it in its queue or batch
	sent   bool        // some of it may have left; guarded by Client.mu
	done   chan result // capacity 1
}

type result struct {
	reply frame.Reply
	err   *Error
}

// NewClient returns a client without a connection; requests wait for the first.
func NewClient(cfg Config) *Client {
	c := &Client{cfg: cfg, expected: true, open: map[uint64]*request{}}
	c.more.L, c.idle.L = &c.mu, &c.mu
	return c
}

// Call sends a request and waits for the answer. The error is an *Error or, if the other side's Handler failed, a
// *RemoteError. payload must not change before Call returns, and may be kept until it is sent.
func (c *Client) Call(ctx context.Context, k Kind, payload []byte) ([]byte, error) {
	fail := func(unknown bool, err error) ([]byte, error) {
		return nil, &Error{Peer: c.cfg.Peer, Kind: k, Unknown: unknown, Err: err}
	}
	if len(payload) > c.cfg.MaxPayload {
		return fail(false, fmt.Errorf("%w: %d bytes, %d are possible", ErrTooLarge, len(payload), c.cfg.MaxPayload))
	}
	if err := ctx.Err(); err != nil {
		return fail(false, err)
	}
	q := frame.Request{What: uint16(k), Payload: payload}
	if end, ok := ctx.Deadline(); ok {
		q.Wait = max(time.Until(end), time.Millisecond)
	}
	r, err := c.enqueue(&q)
	if err != nil {
		return fail(false, err)
	}
	var got result
	select {
	case got = <-r.done:
	case <-ctx.Done():
		if sent, ended := c.giveUp(r); !ended {
			return fail(sent, ctx.Err())
		}
		got = <-r.done
	}
	switch {
	case got.err != nil:
		return fail(got.err.Unknown, got.err.Err)
	case got.reply.Verdict == frame.Answered:
		return got.reply.Payload, nil
	case got.reply.Verdict == frame.Declined:
		return fail(false, fmt.Errorf("%w: %s", ErrDeclined, got.reply.Words()))
	case got.reply.Verdict == frame.NoSuch:
		return fail(false, fmt.Errorf("%w: %s", ErrNoSuch, got.reply.Words()))
	}
	return nil, &RemoteError{Peer: c.cfg.Peer, Text: got.reply.Words()}
}

// enqueue gives a request its number and leaves it to the writer.
func (c *Client) enqueue(q *frame.Request) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case c.conn == nil && !c.expected:
		return nil, ErrNoLink
	case len(c.open) >= c.cfg.MaxCalls || c.queued > 0 && c.queued+len(q.Payload) > c.cfg.QueueBytes:
		return nil, ErrBusy
	}
	c.last++
	q.Number = c.last
	r := &request{number: q.Number, wire: q.Frame(), done: make(chan result, 1)}
	c.open[r.number] = r
	c.queue = append(c.queue, r)
	c.queued += len(r.wire)
	c.more.Signal()
	return r, nil
}

// giveUp forgets a request for which nobody waits any more. ended: it has its result.
func (c *Client) giveUp(r *request) (sent, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.open[r.number]; !here {
		return false, true
	}
	delete(c.open, r.number)
	for i, q := range c.queue {
		if q == r {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			c.queued -= len(r.wire)
			break
		}
	}
	return r.sent, false
}

// Attach gives the client a connection. It is false if the client was closed meanwhile. Receive and Detach must follow.
func (c *Client) Attach(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.conn != nil || c.writing {
		panic("call: a connection is attached before the last one was detached")
	}
	c.conn, c.writing = nc, true
	go c.write(nc)
	return true
}

// write sends what is queued until the connection is detached or breaks.
func (c *Client) write(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.idle.Broadcast()
	defer func() { c.writing = false }()
	for {
		for len(c.queue) == 0 && c.conn == nc {
			c.more.Wait()
		}
		if c.conn != nc {
			return
		}
		batch := c.take()
		c.mu.Unlock()
		done, err := writeAll(nc, batch, c.cfg.WriteTimeout)
		if err != nil {
			link.Abort(nc) // Receive ends, and Detach follows
		}
		c.mu.Lock()
		for _, r := range batch[done:] {
			r.sent = false // the frame did not leave as a whole, and a part of one is nothing
		}
		for _, r := range batch {
			r.wire = nil // it may take long until there is an answer
		}
		if err != nil {
			return
		}
	}
}

// take hands the writer what fits one write, and at least one request. Needs mu.
func (c *Client) take() (batch []*request) {
	size := 0
	for len(batch) < len(c.queue) {
		r := c.queue[len(batch)]
		if len(batch) > 0 && size+len(r.wire) > chunk {
			break
		}
		size += len(r.wire)
		r.sent = true
		batch = append(batch, r)
	}
	c.queue = c.queue[len(batch):]
	c.queued -= size
	return batch
}

// writeAll sends whole requests. It returns how many were taken completely.
func writeAll(nc net.Conn, batch []*request, timeout time.Duration) (done int, err error) {
	buf, n := batch[0].wire, 0
	if len(batch) > 1 {
		buf = make([]byte, 0, chunk)
		for _, r := range batch {
			buf = append(buf, r.wire...)
		}
	}
	for n < len(buf) && err == nil {
		nc.SetWriteDeadline(time.Now().Add(timeout))
		var m int
		m, err = nc.Write(buf[n:min(len(buf), n+chunk)])
		n += m
	}
	for ; done < len(batch) && n >= len(batch[done].wire); done++ {
		n -= len(batch[done].wire)
	}
	return done, err
}

// Receive takes answers until the connection ends.
func (c *Client) Receive(nc net.Conn) error {
	st := frame.NewStream(c.cfg.ReadBytes, c.cfg.maxBody())
	for {
		n, err := nc.Read(st.Room())
		if n > 0 {
			if bad := st.Take(n, c.answer); bad != nil {
				return bad
			}
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
}

// answer ends the call that a reply is for. One that was given up is passed over.
func (c *Client) answer(h frame.Header, body []byte) error {
	if h.Kind != frame.KindReply {
		return fmt.Errorf("%w: %v where a reply belongs", frame.ErrFormat, h.Kind)
	}
	reply, err := frame.DecodeReply(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply.Number > c.last {
		return fmt.Errorf("%w: a reply to request %d, the last is %d", frame.ErrFormat, reply.Number, c.last)
	}
	if r := c.open[reply.Number]; r != nil {
		delete(c.open, reply.Number)
		reply.Payload = append([]byte(nil), reply.Payload...)
		r.done <- result{reply: reply}
	}
	return nil
}

// Detach takes the connection away and closes it, and ends the calls that went over it. Those that were not sent fail as
// such; what comes now waits for the next connection. It returns when nobody writes any more.
func (c *Client) Detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if nc := c.conn; nc != nil {
		link.Abort(nc)
		c.conn = nil
		c.more.Broadcast()
	}
	c.expected = !c.closed
	for c.writing {
		c.idle.Wait()
	}
	c.failAll(ErrLost)
}

// Expect says whether requests are to wait for a connection that is being made. If not, those that wait fail.
func (c *Client) Expect(on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = on && !c.closed
	if c.conn == nil && !c.expected {
		c.failAll(ErrNoLink)
	}
	return false // nobody but the callers needs to know
}

// failAll ends every call. Needs mu, and no writer.
func (c *Client) failAll(why error) {
	for n, r := range c.open {
		r.done <- result{err: &Error{Unknown: r.sent, Err: why}}
		delete(c.open, n)
	}
	c.queue, c.queued = nil, 0
}

// Break closes the connection, if there is one, so that Receive ends.
func (c *Client) Break() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		link.Abort(c.conn)
	}
}

// Close is the end: calls fail from now on. Detach must still be called if a connection is attached.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.expected = true, false
	if c.conn != nil {
		link.Abort(c.conn)
	} else if !c.writing {
		c.failAll(ErrClosed)
	}
}

// Connected tells whether a connection is attached.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}
