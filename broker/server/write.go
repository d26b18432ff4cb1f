package server

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"
)

// Replies leave in the order of the requests. The list of a connection's requests is the queue: its completed
// head is what may be sent. Whoever finds it completed and nobody writing becomes the writer and tries the socket
// without blocking, one writev for all of it. That is the whole cost of a reply as long as the client reads. What the
// socket does not take is handed, with the role, to a goroutine that may block; it ends when the list's head is not
// complete any more. So a slow client stalls nobody, and an idle connection has one goroutine.

const (
	maxIovecs    = 32        // replies in one write attempt
	maxAttempt   = 1 << 20   // bytes in one write attempt
	maxRounds    = 8         // attempts of one completing goroutine, which has better things to do
	writerBuffer = 32 << 10  // what the writer goroutine gathers of small replies
	writerChunk  = 256 << 10 // what it writes of a large one at a time; WriteTimeout is for each
)

// outward is the scratch memory of a connection's sending side.
type outward struct {
	iov     [maxIovecs]syscall.Iovec
	n       int // of iov
	attempt func(fd uintptr) bool
	taken   int           // result of attempt
	errno   syscall.Errno // result of attempt
}

// newAttempt makes the closure once, so that an attempt allocates nothing.
func (c *Conn) newAttempt() {
	o := &c.out
	o.attempt = func(fd uintptr) bool {
		for {
			n, _, e := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&o.iov)), uintptr(o.n))
			switch e {
			case 0:
				o.taken, o.errno = int(n), 0
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				o.taken, o.errno = 0, 0
			default:
				o.taken, o.errno = 0, e
			}
			return true // never wait for the socket
		}
	}
}

// gather points iov at the completed head of the list, and returns its size. Needs mu and writing.
func (c *Conn) gather() (size int, some bool) {
	if c.headOff != 0 {
		panic(fmt.Sprintf("server: a direct write behind %d bytes of a reply whose rest is the writer goroutine's", c.headOff))
	}
	o := &c.out
	o.n = 0
	for r := c.head; r != nil && r.done && o.n < maxIovecs && size < maxAttempt; r = r.next {
		some = true
		if r.Mute > 0 { // not only once it is sent: the client may be quicker than we are
			c.mute(r.Mute)
		}
		if n := len(r.Buf); n > 0 {
			o.iov[o.n].Base = &r.Buf[0]
			o.iov[o.n].SetLen(n)
			o.n++
			size += n
		}
	}
	return size, some
}

// flush sends what is complete, or leaves it to who is writing already. It is called with mu held and releases it.
func (c *Conn) flush() {
	if c.writing || c.head == nil || !c.head.done {
		c.mu.Unlock()
		return
	}
	if c.closed {
		dropped := c.pop(all)
		c.mu.Unlock()
		c.recycle(dropped, 0)
		return
	}
	c.writing = true
	if c.raw == nil {
		c.mu.Unlock()
		c.startWriter()
		return
	}
	for round := 0; ; round++ {
		size, some := c.gather()
		if !some || c.closed {
			c.release()
			return
		}
		c.mu.Unlock()
		if round == maxRounds {
			c.startWriter()
			return
		}
		taken, ok := c.try(size)
		now := c.server.cfg.Now()
		c.lastActive.Store(now)
		c.mu.Lock()
		sent := c.pop(taken)
		if ok && taken == size && (c.head == nil || !c.head.done) {
			c.release()
			c.recycle(sent, now)
			return
		}
		c.mu.Unlock()
		c.recycle(sent, now)
		switch {
		case !ok:
			c.close(CauseClient)
		case taken < size:
			c.startWriter()
			return
		}
		c.mu.Lock()
	}
}

// try makes one attempt at sending what gather found. ok is false when the connection is broken.
func (c *Conn) try(size int) (taken int, ok bool) {
	if size == 0 {
		return 0, true
	}
	o := &c.out
	err := c.raw.Write(o.attempt)
	clear(o.iov[:o.n]) // or the replies stay reachable
	ctr := &c.server.Counters
	ctr.Writes.Add(1)
	if err != nil || o.errno != 0 {
		return 0, false
	}
	ctr.BytesOut.Add(uint64(o.taken))
	if o.taken < size {
		ctr.ShortWrites.Add(1)
	}
	return o.taken, true
}

// release gives the writing role up. Needs mu, releases it.
func (c *Conn) release() {
	c.writing = false
	var dropped *Request
	if c.closed {
		dropped = c.pop(all)
	}
	c.room.Signal()
	c.mu.Unlock()
	c.recycle(dropped, 0)
}

func (c *Conn) startWriter() {
	c.server.Counters.WriterStarts.Add(1)
	go c.write()
}

var writerBuffers = sync.Pool{New: func() any { return new([writerBuffer]byte) }}

// write sends, waiting for the client, until nothing is complete. It has the writing role.
func (c *Conn) write() {
	buf := writerBuffers.Get().(*[writerBuffer]byte)
	defer writerBuffers.Put(buf)
	for {
		c.mu.Lock()
		if c.head == nil || !c.head.done || c.closed {
			c.release()
			return
		}
		chunk := c.chunk(buf)
		c.mu.Unlock()
		var n int
		var err error
		if len(chunk) > 0 {
			c.blockedSince.Store(c.server.cfg.Now())
			n, err = c.nc.Write(chunk)
			c.blockedSince.Store(0)
			c.server.Counters.WriterWrites.Add(1)
			c.server.Counters.BytesOut.Add(uint64(n))
		}
		now := c.server.cfg.Now()
		c.lastActive.Store(now)
		c.mu.Lock()
		sent := c.pop(n)
		c.mu.Unlock()
		c.recycle(sent, now)
		if err != nil {
			c.close(CauseClient)
		}
	}
}

// chunk returns the next bytes to send: a piece of a large reply, or small ones copied together, so that a TLS
// connection does not send a record for each. Needs mu and writing.
func (c *Conn) chunk(buf *[writerBuffer]byte) []byte {
	if c.head.Mute > 0 { // as in gather
		c.mute(c.head.Mute)
	}
	first := c.head.Buf[c.headOff:]
	if len(first) >= writerBuffer {
		return first[:min(len(first), writerChunk)]
	}
	n := copy(buf[:], first)
	for r := c.head.next; r != nil && r.done && n+len(r.Buf) <= writerBuffer; r = r.next {
		if r.Mute > 0 {
			c.mute(r.Mute)
		}
		n += copy(buf[n:], r.Buf)
	}
	return buf[:n]
}
