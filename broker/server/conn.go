package server

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one client's connection.
//
// Two goroutines of its own may run for it: the reader, always, and a writer while replies do not fit the socket
// (write.go). Everyone else meets it in complete and flush. mu is a leaf: nothing is called with it held, neither the
// handler nor the kernel, so requests may be completed under the caller's own locks (flush not: it writes).
type Conn struct {
	ID uint64 // counts up from 1 in each server
	// Scratch is the handler's, for what it knows about this client; only the reader's goroutine (Serve, Flush) may
	// touch it.
	Scratch any

	server *Server
	nc     net.Conn
	raw    syscall.RawConn // nil if nc is not a plain socket: replies then always go through the writer goroutine
	read   reader          // the reader goroutine's
	taker  *taker

	mu         sync.Mutex
	room       sync.Cond // on mu: outstanding or queued went down, or the connection ends
	head, tail *Request  // owned by mu: every request without its reply sent, in order
	n          int       // owned by mu: length of that list
	queued     int       // owned by mu: bytes of completed replies in it
	corker     *Corker   // owned by mu: has us in its list
	answered   bool      // owned by mu: the client was sent something
	closed     bool      // owned by mu: nc is closed, or is about to be
	readDone   bool      // owned by mu: the reader has ended and waits for the last reply
	cause      Cause     // owned by mu: why it ends, once closed or readDone
	// writing is owned by mu. Who set it owns the socket's sending side, headOff, out, and the Buf of the completed
	// requests at the head of the list; nobody else takes requests off the list. It is handed from a completing
	// goroutine to the writer goroutine.
	writing bool
	headOff int     // owned by whoever set writing: how much of head.Buf is sent
	out     outward // likewise

	// What the sweeper looks at; written by the reader and by whoever set writing.
	lastActive   atomic.Int64 // when something was last read or sent
	partialSince atomic.Int64 // when the frame that is arriving began, or its last 64 KiB; 0: none is
	blockedSince atomic.Int64 // when the write began that the client's slowness holds up; 0: none
	ending       atomic.Bool  // closed, or shutting down: the reader should end

	mutedUntil atomic.Int64 // nothing is read before; 0: now. Raised with mu held, set to 0 by the reader
}

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr is the address that the client connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Close closes the connection at once. Requests that are being handled are completed as ever; their replies are
// dropped.
func (c *Conn) Close() { c.close(CauseHandler) }

// Flush sends the replies that are complete and in order. It never waits for the client.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.flush()
}

// push appends a request at the end of the order. It waits while the connection has too many requests, or replies,
// outstanding, and returns false if the connection ends instead. Reader only.
func (c *Conn) push(r *Request) bool {
	c.mu.Lock()
	if c.full() && !c.ending.Load() {
		c.mu.Unlock()
		c.server.Counters.PipelineWaits.Add(1)
		c.read.flush() // what we wait for may wait for this
		c.mu.Lock()
		for c.full() && !c.ending.Load() {
			c.room.Wait()
		}
		c.read.resume()
	}
	defer c.mu.Unlock()
	if c.ending.Load() {
		return false
	}
	if c.tail == nil {
		c.head = r
	} else {
		c.tail.next = r
	}
	c.tail = r
	c.n++
	return true
}

// full needs mu.
func (c *Conn) full() bool {
	return c.n >= c.server.cfg.MaxPipeline || c.queued > c.server.cfg.MaxQueuedReplyBytes
}

// complete marks a request and says whether there is something to flush. Needs mu.
func (c *Conn) complete(r *Request) (ready bool) {
	if r.done {
		panic("server: a request was completed twice")
	}
	r.done = true
	c.queued += len(r.Buf)
	return c.head.done && !c.writing
}

// pop takes the completed requests off the head of the list whose bytes are among the next n, and returns them
// linked. Needs mu and writing (or a closed connection on which nobody writes, with n = all).
func (c *Conn) pop(n int) (first *Request) {
	c.answered = c.answered || n > 0
	var last *Request
	for r := c.head; r != nil && r.done; r = c.head {
		left := len(r.Buf) - c.headOff
		if left > n {
			c.headOff += n
			break
		}
		n -= left
		c.headOff = 0
		c.queued -= len(r.Buf)
		c.n--
		if r.Mute > 0 {
			c.mute(r.Mute)
		}
		if c.head = r.next; c.head == nil {
			c.tail = nil
		}
		r.next = nil
		if last == nil {
			first = r
		} else {
			last.next = r
		}
		last = r
	}
	if first != nil {
		c.room.Signal() // only the reader waits
	}
	return first
}

const all = int(^uint(0) >> 1)

// close ends the connection now. Who calls it twice is ignored.
func (c *Conn) close(cause Cause) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	if !c.readDone {
		c.cause = cause
	}
	reset := c.unheard(cause)
	var dropped *Request
	if !c.writing {
		dropped = c.pop(all)
	}
	c.endReading()
	c.mu.Unlock()
	switch {
	case reset:
		abort(c.nc)
	case c.raw == nil:
		go c.nc.Close() // TLS says goodbye, and may have to wait for the client with it
	default:
		c.nc.Close()
	}
	c.recycle(dropped, 0)
}

// endReading wakes the reader wherever it waits inside of us. Needs mu.
func (c *Conn) endReading() {
	c.ending.Store(true)
	c.room.Signal()
	c.taker.nudge()
}

// shutDown ends the reading. The reader sees to the rest.
func (c *Conn) shutDown() {
	c.mu.Lock()
	c.endReading()
	c.mu.Unlock()
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// finish is the reader's end: it waits until every request has its reply, or until someone closes the connection,
// and closes it.
func (c *Conn) finish(cause Cause) {
	c.mu.Lock()
	if !c.closed {
		c.readDone, c.cause = true, cause
	}
	for c.writing || !c.closed && c.head != nil {
		c.room.Wait()
	}
	closed := c.closed
	cause = c.cause
	reset := c.unheard(cause)
	c.mu.Unlock()
	if !closed && !reset && cause != CauseClient {
		c.linger()
	}
	c.close(cause)
	c.server.Counters.Ended[cause].Add(1)
}

// unheard tells whether the connection is to end with a reset: this server goes away, and has not answered once. Clients take an
// end of file there for a server that speaks something else (TLS, SASL, an older version), and give up; after a reset they try
// again. Needs mu.
func (c *Conn) unheard(cause Cause) bool { return cause == CauseShutdown && !c.answered }

// abort closes a connection with a reset.
func abort(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	nc.Close()
}

// Closing a socket whose receive buffer holds unread requests resets the connection, and the reset may overtake the
// last replies. So when it is us who ends a connection, we say so (FIN) and read on for a moment.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || c.raw == nil || half.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	buf := writerBuffers.Get().(*[writerBuffer]byte)
	defer writerBuffers.Put(buf)
	for total := 0; total < lingerBytes; {
		n, err := c.nc.Read(buf[:])
		if err != nil {
			return
		}
		total += n
	}
}
