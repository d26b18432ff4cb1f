package server

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"syscall"
	"unsafe"

	"ackline/broker/kwire"
	"ackline/broker/stage"
)

// One read takes the rest of the frame that is arriving and, behind it, up to ReadBufferBytes of the frames that
// follow (readv), so that pipelined small requests share a system call and large ones are not copied. Each frame then
// gets an allocation of its own, because its bytes outlive the request: raft's entries refer to them.
//
// A length that a client claims is not memory that it gets. A frame that is all here, and one of up to plainFrame
// bytes while memory is plentiful, is allocated at once (those are the cases to be fast in); any other doubles as its
// bytes arrive. The read buffer is given back before waiting for the socket, so that a silent connection holds none.

const (
	plainFrame   = 1 << 20  // a frame of this size is not suspicious, while less than half of the budget is taken
	minChunk     = 4 << 10  // the first piece of any other
	progressStep = 64 << 10 // FrameTimeout is for each
	minFrame     = 8        // key, version and correlation id
)

// reader is the state of a connection's reader goroutine; nobody else touches it.
type reader struct {
	c *Conn

	length  [kwire.FrameLengthBytes]byte // of the next frame, as far as it is here
	lengthN int
	frame   []byte // the frame that is arriving, or its first piece; nil: none
	fill    int    // bytes of frame that are here
	want    int    // what frame will grow to
	cost    int64  // taken from the budget for frame
	grew    bool   // and it may be overdrawn

	began    int64 // what partialSince was set to
	progress int   // bytes of frame since then
	now      int64 // when the last read returned
	served   uint64

	buf     *readBuffer // nil while it is not needed
	attempt func(fd uintptr) bool
	iov     [2]syscall.Iovec
	got     int           // result of attempt
	errno   syscall.Errno // result of attempt
	muted   bool          // result of attempt: nothing was read, because nothing may be
}

type readBuffer struct{ b []byte }

func newReadBuffers(size int) *sync.Pool {
	return &sync.Pool{New: func() any { return &readBuffer{make([]byte, size)} }}
}

// run reads until the connection ends, and returns why.
func (r *reader) run() Cause {
	defer r.drop()
	for {
		r.flush()
		n, err := r.receive()
		if err != nil {
			if r.c.ending.Load() {
				return CauseShutdown // or whatever close was called with
			}
			return CauseClient
		}
		if r.c.muted() && !r.sitOut() { // since we began to read; the bytes wait in the read buffer
			return CauseShutdown
		}
		r.now = r.c.server.cfg.Now()
		r.c.lastActive.Store(r.now)
		r.c.server.Counters.BytesIn.Add(uint64(n))
		direct := min(n, len(r.frame)-r.fill)
		r.fill += direct
		r.progress += n
		cause, ok := r.consume(r.buf.b[:n-direct])
		r.release()
		if !ok {
			return cause
		}
		r.stamp()
	}
}

// receive waits for bytes: first for frame, then for buf, which it gets.
func (r *reader) receive() (int, error) {
	if r.c.raw == nil {
		r.acquire()
		if rest := r.frame[r.fill:]; len(rest) > 0 {
			return r.c.nc.Read(rest)
		}
		return r.c.nc.Read(r.buf.b)
	}
	for again := true; again; again = r.muted {
		if err := r.c.raw.Read(r.attempt); err != nil {
			return 0, err
		}
		if r.muted && !r.sitOut() {
			return 0, errEnding
		}
	}
	switch {
	case r.errno != 0:
		return 0, error(r.errno)
	case r.got == 0:
		return 0, io.EOF
	}
	return r.got, nil
}

var errEnding = errors.New("server: the connection ends")

// newAttempt makes the closure once, so that a read allocates nothing.
func (r *reader) newAttempt() {
	r.attempt = func(fd uintptr) bool {
		if r.muted = r.c.muted(); r.muted {
			return true
		}
		r.acquire()
		iov := r.iov[:0]
		if rest := r.frame[r.fill:]; len(rest) > 0 {
			iov = append(iov, syscall.Iovec{Base: &rest[0]})
			iov[0].SetLen(len(rest))
		}
		iov = append(iov, syscall.Iovec{Base: &r.buf.b[0]})
		iov[len(iov)-1].SetLen(len(r.buf.b))
		for {
			n, _, e := syscall.Syscall(syscall.SYS_READV, fd, uintptr(unsafe.Pointer(&r.iov)), uintptr(len(iov)))
			if e == syscall.EINTR {
				continue
			}
			r.iov = [2]syscall.Iovec{}
			r.got, r.errno = int(n), e
			if e == syscall.EAGAIN {
				r.release()
				return false // wait until it is readable and come again
			}
			return true
		}
	}
}

func (r *reader) acquire() {
	if r.buf == nil {
		r.buf = r.c.server.buffers.Get().(*readBuffer)
	}
}

func (r *reader) release() {
	if r.buf != nil {
		r.c.server.buffers.Put(r.buf)
		r.buf = nil
	}
}

// flush tells the handler that nothing more has arrived.
func (r *reader) flush() {
	if r.served > 0 {
		r.c.server.Counters.Requests.Add(r.served)
		r.served = 0
		r.c.server.handler.Flush(r.c)
	}
}

// consume takes the bytes that arrived and serves what is complete. It is false when the connection should end.
func (r *reader) consume(data []byte) (Cause, bool) {
	for {
		if r.frame != nil {
			n := copy(r.frame[r.fill:], data)
			r.fill += n
			data = data[n:]
			switch {
			case r.fill < len(r.frame):
				return 0, true
			case len(r.frame) < r.want:
				if !r.grow() {
					return CauseShutdown, false
				}
			default:
				if cause, ok := r.serve(); !ok {
					return cause, false
				}
			}
			continue
		}
		if len(data) == 0 {
			return 0, true
		}
		if r.lengthN == 0 {
			r.began, r.progress = r.now, 0
		}
		n := copy(r.length[r.lengthN:], data)
		r.lengthN += n
		data = data[n:]
		if r.lengthN < len(r.length) {
			return 0, true
		}
		r.lengthN = 0
		length := int(int32(binary.BigEndian.Uint32(r.length[:])))
		if length < minFrame || length > r.c.server.cfg.MaxFrameBytes {
			return CauseFrame, false
		}
		if !r.begin(length, len(data)) {
			return CauseShutdown, false
		}
	}
}

// begin allocates a frame of which so many bytes are here, or the first piece of it. False: the connection ends.
func (r *reader) begin(length, here int) bool {
	b := &r.c.server.budget
	size := length
	switch plain := b.used.Load()+plainFrame <= b.limit/2; {
	case here >= length:
	case !plain:
		size = min(length, max(here, minChunk))
	default:
		size = min(length, plainFrame)
	}
	if !r.take(int64(size)+requestOverhead, false) {
		return false
	}
	r.frame, r.fill, r.want = make([]byte, size), 0, length
	return true
}

// grow doubles a frame whose first piece is full. False: the connection ends.
func (r *reader) grow() bool {
	size := min(r.want, 2*len(r.frame))
	if !r.take(int64(size-len(r.frame)), true) {
		return false
	}
	frame := make([]byte, size)
	copy(frame, r.frame)
	r.frame = frame
	return true
}

// take waits for memory if it has to. False: the connection ends.
func (r *reader) take(n int64, growing bool) bool {
	b := &r.c.server.budget
	if !b.tryTake(n) {
		r.c.server.Counters.MemoryWaits.Add(1)
		r.flush()                  // what we wait for may wait for this
		r.c.partialSince.Store(0)  // the client is not to blame
		r.grew = r.grew || growing // even if the wait ends early
		if !b.take(r.c.taker, n, growing, r.c.ending.Load) {
			return false
		}
		r.resume()
		r.c.partialSince.Store(r.now)
	}
	r.cost += n
	return true
}

// resume begins the time of the frame that is arriving anew: the reader has waited for something that its client is not to
// blame for.
func (r *reader) resume() {
	r.now = r.c.server.cfg.Now()
	r.began, r.progress = r.now, 0
}

// serve hands the complete frame to the handler. False: the connection ends.
func (r *reader) serve() (Cause, bool) {
	frame, cost := r.frame, r.cost
	r.frame, r.fill, r.want, r.cost = nil, 0, 0, 0
	r.undraw()
	if r.c.partialSince.Load() != 0 {
		r.c.partialSince.Store(0) // from here on it is the handler's time
	}
	h, err := kwire.ParseHeader(frame)
	var unsupported *kwire.VersionError
	if err != nil {
		var cause Cause
		if unsupported, cause = excuse(h, err); unsupported == nil {
			r.c.server.budget.give(cost)
			return cause, false
		}
	}
	q := requests.Get().(*Request)
	q.Conn, q.Header, q.Unsupported, q.cost = r.c, h, unsupported, cost
	q.Clock[stage.Read] = r.now
	if !r.c.push(q) {
		r.c.recycle(q, 0)
		return CauseShutdown, false
	}
	r.served++
	r.c.server.handler.Serve(q)
	return CauseShutdown, !r.c.ending.Load()
}

// excuse returns the error of a header if the request is served all the same, else why the connection ends.
func excuse(h kwire.Header, err error) (*kwire.VersionError, Cause) {
	var version *kwire.VersionError
	switch {
	case !errors.As(err, &version):
		return nil, CauseHeader
	case h.Key != kwire.KeyApiVersions:
		return nil, CauseVersion
	}
	return version, 0
}

// stamp tells the sweeper since when a frame is arriving.
func (r *reader) stamp() {
	var since int64
	if r.frame != nil || r.lengthN > 0 {
		if r.progress >= progressStep {
			r.began, r.progress = r.now, 0
		}
		since = r.began
	}
	if r.c.partialSince.Load() != since {
		r.c.partialSince.Store(since)
	}
}

func (r *reader) undraw() {
	if r.grew {
		r.grew = false
		r.c.server.budget.complete(r.c.taker)
	}
}

// drop gives back what a frame that did not complete has taken.
func (r *reader) drop() {
	r.flush()
	r.release()
	r.c.server.budget.give(r.cost)
	r.frame, r.fill, r.cost = nil, 0, 0
	r.undraw()
	r.c.partialSince.Store(0)
}
