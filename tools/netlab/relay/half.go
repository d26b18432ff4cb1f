// Package relay puts distance between programs that talk over TCP on one machine, without any privilege: whoever wants to reach a peer
// connects to a relay instead, which passes on what it reads, later.
//
// A wire is one direction between two hosts; all connections between them share it, and so its bandwidth and its cuts. A forward is
// an address at which a host finds another. A connection through it begins with a handshake along the wires, as TCP's own does, so that the
// first byte comes after one and a half round trips and not half of one:
//
//	dialer ──▶ forward ═══ there: open ═══▶ dials the target
//	           reads   ◀══ back: opened ═══ reads
//	           ═══════════ data ══════════▶ writes
//
// What this cannot show: the kernel on this machine says "connected" before the handshake has crossed, and acknowledges bytes that are
// still under way, so that a sender does not see TCP's own window and its retransmissions. A lost packet is a chunk that comes a
// retransmission later, and holds up what is behind it.
package relay

import (
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"ackline/tools/netlab/wire"
)

// chunk is what goes through a wire: a step in the life of a connection.
type chunk struct {
	to   *half
	what step
	data []byte
}

// A chunk weighs on the wire what its packets would: up to segmentBytes in each, and the headers of IP and TCP.
const (
	segmentBytes = 1460
	headerBytes  = 40
)

func weight(dataBytes int) int {
	return dataBytes + headerBytes*max(1, (dataBytes+segmentBytes-1)/segmentBytes)
}

// Wire is one direction between two hosts. All connections between them share it.
type Wire = wire.Wire[chunk]

// send puts a step on its way to the other half.
func (h *half) send(what step, data []byte) {
	h.out.Send(weight(len(data)), chunk{to: h.peer, what: what, data: data})
}

// step is what a chunk tells the end that it comes to.
type step int

const (
	open   step = iota // dial the target
	opened             // the target has answered: begin to read
	data               // write this
	fin                // there is no more
	reset              // the other end is gone
)

// pair is one connection: two halves, of which each reads from a socket and sends what it read to the other.
type pair struct {
	forward *Forward
	dialer  half // reads what the dialer writes
	target  half // reads what the target writes
}

// half is one end of a connection. What the other half read is written to this end's socket.
type half struct {
	pair *pair
	peer *half
	out  *Wire // what is read here leaves by it

	mu      sync.Mutex   // guards what follows; of two halves' never both are held
	conn    *net.TCPConn // nil until dialled
	waiting [][]byte     // what the socket did not take at once
	writing bool         // somebody writes what waits
	noMore  bool         // fin came: half-close when everything is written
	closed  bool
	ended   int // directions that are through: both, and the connection is

	flow room
}

// room bounds what one half has on the wire. Its lock may be taken under either half's.
type room struct {
	mu     sync.Mutex
	freed  sync.Cond // uses mu
	flying int       // bytes that were read here and not yet written by the peer
	closed bool
}

// enter waits until less than most bytes are under way. False: the connection is closed.
func (r *room) enter(most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.flying >= most && !r.closed {
		r.freed.Wait()
	}
	return !r.closed
}

// add changes how much is under way.
func (r *room) add(n int) {
	r.mu.Lock()
	r.flying += n
	r.mu.Unlock()
	r.freed.Signal()
}

func (r *room) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.freed.Broadcast()
}

func newPair(f *Forward, conn *net.TCPConn) *pair {
	p := &pair{forward: f}
	p.dialer = half{pair: p, peer: &p.target, out: f.there, conn: conn}
	p.target = half{pair: p, peer: &p.dialer, out: f.back}
	for _, h := range []*half{&p.dialer, &p.target} {
		h.flow.freed.L = &h.flow.mu
	}
	return p
}

// deliver does what a chunk says. It runs on the wire's goroutine and never waits: for the socket neither, whose reader may be slow, while
// other connections share the wire.
func (h *half) deliver(c chunk) {
	switch c.what {
	case open:
		go h.dial()
	case opened:
		go h.read()
	case data:
		h.write(c.data)
	case fin:
		h.finish()
	case reset:
		h.abort()
	}
}

// dial connects to the target, and tells the other side.
func (h *half) dial() {
	conn, err := h.pair.forward.dial()
	if err != nil {
		h.send(reset, nil)
		h.abort()
		return
	}
	h.mu.Lock()
	h.conn = conn
	gone := h.closed
	h.mu.Unlock()
	if gone {
		_ = conn.Close() // the other side is gone: nobody will read it
		return
	}
	h.send(opened, nil)
	h.read()
}

// readBytes is the most that is read at once, and so the most that one chunk has.
const readBytes = 64 << 10

// socketBytes is how much the kernel keeps of what has not been read. Its default, megabytes, would be a queue before a link with a limit
// that no router has.
const socketBytes = 256 << 10

// read sends what comes from the socket until there is no more.
func (h *half) read() {
	_ = h.conn.SetReadBuffer(socketBytes) // or it stays as it was
	buf := make([]byte, readBytes)
	for {
		if !h.flow.enter(h.out.Room()) {
			return
		}
		n, err := h.conn.Read(buf)
		if n > 0 {
			h.flow.add(n)
			h.send(data, append([]byte(nil), buf[:n]...))
		}
		switch {
		case errors.Is(err, io.EOF):
			h.send(fin, nil)
			h.end()
			return
		case err != nil:
			h.send(reset, nil)
			h.abort()
			return
		}
	}
}

// write gives the socket what it takes at once; the rest waits for a goroutine of its own.
func (h *half) write(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if !h.writing {
		n, err := try(h.conn, b)
		if err != nil {
			h.lost()
			return
		}
		h.peer.flow.add(-n)
		if b = b[n:]; len(b) == 0 {
			return
		}
		h.writing = true
		go h.writeRest()
	}
	h.waiting = append(h.waiting, b)
}

// try writes without waiting.
func try(conn *net.TCPConn, b []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var wrote error
	err = raw.Write(func(fd uintptr) bool {
		n, wrote = unix.Write(int(fd), b)
		return true
	})
	if errors.Is(wrote, unix.EAGAIN) || errors.Is(wrote, unix.EINTR) {
		n, wrote = 0, nil
	}
	return max(n, 0), errors.Join(err, wrote)
}

// writeRest writes what waits, and what comes to it meanwhile.
func (h *half) writeRest() {
	for {
		h.mu.Lock()
		if h.closed || len(h.waiting) == 0 {
			h.writing = false
			if h.noMore && !h.closed {
				h.closeWrite()
			}
			h.mu.Unlock()
			return
		}
		b := h.waiting[0]
		h.waiting = h.waiting[1:]
		h.mu.Unlock()
		_, err := h.conn.Write(b)
		h.peer.flow.add(-len(b))
		if err != nil {
			h.mu.Lock()
			h.writing = false
			h.lost()
			h.mu.Unlock()
			return
		}
	}
}

// lost is a write that failed: this end is gone, and the other will hear of it. Needs mu.
func (h *half) lost() {
	h.send(reset, nil)
	h.close()
}

// finish half-closes this end when everything has been written.
func (h *half) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noMore = true
	if !h.writing && !h.closed {
		h.closeWrite()
	}
}

// closeWrite needs mu.
func (h *half) closeWrite() {
	_ = h.conn.CloseWrite() // an end that is gone needs no half-close
	h.through()
}

// end notes that this end has nothing more to read.
func (h *half) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.through()
}

// through counts directions; after the second the socket is closed. Needs mu.
func (h *half) through() {
	if h.ended++; h.ended == 2 {
		h.close()
	}
}

// abort closes this end so that its program gets an error, not an end.
func (h *half) abort() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil && !h.closed {
		_ = h.conn.SetLinger(0)
	}
	h.close()
}

// close needs mu.
func (h *half) close() {
	if h.closed {
		return
	}
	h.closed = true
	if h.conn != nil {
		_ = h.conn.Close() // what was to be written has been, or cannot be
	}
	h.flow.close()
	h.pair.forward.forget(h)
}
