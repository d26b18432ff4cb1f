package link

import (
	"net"
	"syscall"
	"time"
	"unsafe"
)

const (
	maxPieces   = 64        // of one write
	maxAttempt  = 1 << 20   // bytes that a flushing goroutine sends before it hands over: it has better things to do
	writerChunk = 256 << 10 // what the writer goroutine sends at once; WriteTimeout is for each
	tlsChunk    = 32 << 10  // what it gathers of small pieces for a TLS connection, which makes a record of each write
	keepBytes   = 1 << 20   // of memory that a batch keeps
)

// outward is the scratch memory of the sending side.
type outward struct {
	pieces  [maxPieces][]byte
	iov     [maxPieces]syscall.Iovec
	n       int // of iov
	attempt func(fd uintptr) bool
	taken   int           // result of attempt
	errno   syscall.Errno // result of attempt
	scratch []byte        // for TLS
}

// newAttempt makes the closure once, so that an attempt allocates nothing.
func (l *Link) newAttempt() {
	o := &l.outward
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

// Dirty tells, without a lock, whether Flush may have something to do.
func (l *Link) Dirty() bool { return l.dirty.Load() }

// Flush sends what is enqueued, or leaves it to who is writing already. It never waits for the peer.
func (l *Link) Flush() {
	if !l.dirty.Load() {
		return
	}
	l.mu.Lock()
	if l.writing || l.conn == nil || l.gather.Left() == 0 {
		// Who writes looks again before it gives up writing; a connection is attached with a flush.
		l.mu.Unlock()
		return
	}
	l.writing = true
	nc, raw := l.conn, l.raw
	for budget := maxAttempt; ; {
		l.swap()
		l.mu.Unlock()
		if raw == nil || budget <= 0 {
			l.startWriter(nc)
			return
		}
		l.out.Seal()
		sent, ok := l.try(raw, budget)
		budget -= sent
		l.mu.Lock()
		l.Counters.QueueBytes.Add(-int64(sent))
		switch {
		case !ok:
			l.release(nc, true)
			return
		case l.out.Left() > 0:
			l.mu.Unlock()
			l.startWriter(nc)
			return
		case l.conn != nc || l.gather.Left() == 0:
			l.release(nc, false)
			return
		}
	}
}

// swap makes what was enqueued what is written. Needs mu and writing, and nothing left in out.
func (l *Link) swap() {
	l.out.Reset(keepBytes)
	l.gather, l.out = l.out, l.gather
	l.dirty.Store(false)
	l.passed.Frames += uint64(l.out.Frames())
}

// try sends of out what the socket takes, and about budget at most. ok is false when the connection is broken.
func (l *Link) try(raw syscall.RawConn, budget int) (sent int, ok bool) {
	o := &l.outward
	for l.out.Left() > 0 && sent < budget {
		size := l.point(budget - sent)
		err := raw.Write(o.attempt)
		clear(o.iov[:o.n]) // or the entries stay reachable
		l.Counters.InlineWrites.Add(1)
		if err != nil || o.errno != 0 {
			return sent, false
		}
		l.Counters.Bytes.Add(uint64(o.taken))
		l.out.Advance(o.taken)
		sent += o.taken
		if o.taken < size {
			l.Counters.ShortWrites.Add(1)
			break
		}
	}
	return sent, true
}

// point points iov at the next pieces of out, and returns their size.
func (l *Link) point(maxBytes int) (size int) {
	o := &l.outward
	pieces := l.out.Next(o.pieces[:0], maxBytes)
	for i, p := range pieces {
		o.iov[i].Base = &p[0]
		o.iov[i].SetLen(len(p))
		size += len(p)
	}
	o.n = len(pieces)
	clear(pieces)
	return size
}

// release gives the writing role up. What is left in out is lost with its connection. Needs mu, releases it.
func (l *Link) release(nc net.Conn, broken bool) {
	if left := l.out.Left(); left > 0 {
		l.Counters.QueueBytes.Add(-int64(left))
		l.Counters.Dropped.Add(uint64(l.out.Messages())) // some of them may have got through
	}
	l.out.Reset(keepBytes)
	l.writing = false
	l.idle.Broadcast()
	l.mu.Unlock()
	if broken {
		Abort(nc) // its reader sees the end, and detaches
	}
}

func (l *Link) startWriter(nc net.Conn) {
	l.Counters.WriterStarts.Add(1)
	go l.write(nc)
}

// write sends, waiting for the peer, until nothing is left. It has the writing role.
func (l *Link) write(nc net.Conn) {
	for {
		l.out.Seal()
		for l.out.Left() > 0 {
			nc.SetWriteDeadline(time.Now().Add(l.cfg.WriteTimeout))
			n, err := l.writeSome(nc)
			l.out.Advance(n)
			l.Counters.WriterWrites.Add(1)
			l.Counters.Bytes.Add(uint64(n))
			l.Counters.QueueBytes.Add(-int64(n))
			if err != nil {
				l.mu.Lock()
				l.release(nc, true)
				return
			}
		}
		nc.SetWriteDeadline(time.Time{}) // or the next attempt without waiting would fail
		l.mu.Lock()
		if l.conn != nc || l.gather.Left() == 0 {
			l.release(nc, false)
			return
		}
		l.swap()
		l.mu.Unlock()
	}
}

func (l *Link) writeSome(nc net.Conn) (int, error) {
	pieces := l.out.Next(l.outward.pieces[:0], writerChunk)
	defer clear(l.outward.pieces[:])
	if _, plain := nc.(syscall.Conn); plain {
		bufs := net.Buffers(pieces)
		n, err := bufs.WriteTo(nc)
		return int(n), err
	}
	if len(pieces[0]) >= tlsChunk {
		return nc.Write(pieces[0])
	}
	b := l.outward.scratch[:0]
	for _, p := range pieces {
		if len(b)+len(p) > tlsChunk && len(b) > 0 {
			break
		}
		b = append(b, p...)
	}
	l.outward.scratch = b[:0]
	return nc.Write(b)
}
