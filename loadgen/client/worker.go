package client

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ackline/loadgen/client/kcode"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/pace"
	"ackline/loadgen/secure"
)

// wireWorker is one thread's connections. With a single request in flight on a single connection (alone) it reads with a
// blocking system call: the reply wakes this very thread. Otherwise it waits in an epoll of its own.
type wireWorker struct {
	wire   *Wire
	conns  []*conn
	alone  bool
	epfd   int // -1 when alone
	events [64]unix.EpollEvent

	keyed    *keyed // nil unless keys choose the partitions
	room     int    // sum of the connections' free
	inflight int
	down     int // connections without a socket
	turn     int
	pending  []*conn // have something to flush
	lastTick int64
	tickNS   int64 // between two looks at time-outs and connections that are down
	fatal    error
	acked    func(*Op) // the caller's callback of the Wait in progress
	count    func(*Op) // counts and passes on; made once, so that Wait allocates nothing
}

func newWireWorker(w *Wire, conns []*conn) (*wireWorker, error) {
	ww := &wireWorker{wire: w, conns: conns, epfd: -1, pending: make([]*conn, 0, len(conns)),
		alone: len(conns) == 1 && conns[0].window == 1 && !w.cfg.Resend, tickNS: tickNS, down: len(conns)}
	if w.cfg.Resend {
		ww.tickNS = lookEvery.Nanoseconds()
	}
	ww.count = func(op *Op) {
		ww.inflight--
		if op.Err != nil && !passes(op.Err) {
			ww.fatal = op.Err
		}
		ww.acked(op)
	}
	if !ww.alone {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("epoll_create1: %w", err)
		}
		ww.epfd = fd
		if _, err := ww.epoll(0); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("%w (Linux 5.11 or newer is needed for waits that are finer than a millisecond)", err)
		}
	}
	return ww, nil
}

func (w *wireWorker) Room() int {
	if w.keyed != nil {
		return w.keyed.room()
	}
	return w.room
}

func (w *wireWorker) InFlight() int { return w.inflight }

// setFree says how many operations c takes now.
func (w *wireWorker) setFree(c *conn) {
	n := 0
	if c.fd >= 0 && c.broken == nil && !c.reroute {
		n = c.window - c.inFlight()
	}
	w.room += n - c.free
	c.free = n
}

// next is the connection that takes the next operation; nil: none does now.
func (w *wireWorker) next() *conn {
	if w.keyed != nil {
		return w.keyed.choose()
	}
	for range w.conns {
		c := w.conns[w.turn%len(w.conns)]
		if c.free > 0 {
			return c
		}
		w.turn++
	}
	return nil
}

func (w *wireWorker) Submit(intended, ready int64) {
	c := w.next()
	if w.keyed != nil && w.keyed.taken(c, intended, ready) {
		w.inflight++
		return
	}
	if c == nil || c.free == 0 {
		panic(fmt.Sprintf("client: submit with room for %d operations", w.room))
	}
	w.turn++
	c.submit(intended, ready)
	w.inflight++
	w.setFree(c)
	if !c.queued {
		c.queued = true
		w.pending = append(w.pending, c)
	}
}

func (w *wireWorker) Prepare() {
	if c := w.next(); c != nil && c.free > 0 {
		c.prepare()
	}
}

func (w *wireWorker) Flush() {
	for _, c := range w.pending {
		c.queued = false
		if !c.flush() && !w.alone && !c.writable {
			w.watch(c, true)
		}
		if c.broken != nil {
			w.setFree(c)
		}
	}
	w.pending = w.pending[:0]
}

// watch tells epoll whether to report room to write.
func (w *wireWorker) watch(c *conn, writable bool) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.index(c))}
	if writable {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		panic(fmt.Sprintf("client: epoll_ctl on descriptor %d: %v", c.fd, err))
	}
	c.writable = writable
}

func (w *wireWorker) index(c *conn) int {
	for i := range w.conns {
		if w.conns[i] == c {
			return i
		}
	}
	panic("client: a connection of another worker")
}

func (w *wireWorker) Wait(until int64, done func(*Op)) error {
	w.acked = done
	now := pace.Now()
	if now-w.lastTick >= w.tickNS || w.down > 0 {
		w.lastTick = now
		if err := w.tick(now); err != nil {
			return err
		}
	}
	until = min(until, now+w.tickNS)
	if w.wire.cfg.Acks == AcksNone && w.settle() {
		until = now
	}
	if w.keyed != nil && w.keyed.giveBack(w.count) {
		until = now
	}
	if w.down > 0 {
		until = min(until, now+2_000_000) // look soon whether a connection is back
	}
	if w.alone {
		w.waitAlone(until)
	} else if err := w.waitEpoll(until, now); err != nil {
		return err
	}
	for _, c := range w.conns {
		if c.broken != nil || (c.reroute && c.inFlight() == 0) {
			w.giveUp(c, c.broken)
		}
	}
	return w.fatal
}

// settle hands over what the sockets took, where that is all the answer there is.
func (w *wireWorker) settle() (any bool) {
	for _, c := range w.conns {
		if c.settle(w.count) > 0 {
			any = true
			w.setFree(c)
		}
	}
	return any
}

// waitAlone reads the one reply on this thread.
func (w *wireWorker) waitAlone(until int64) {
	c := w.conns[0]
	if c.fd < 0 {
		sleepUntil(until)
		return
	}
	if c.broken != nil {
		return
	}
	wait := c.inFlight() > 0 // else nothing can come but the end of the connection
	if wait && !c.flush() {
		sock.AwaitWritable(c.fd, time.Duration(tickNS))
		return
	}
	if c.mute {
		wait = false // nothing is answered
	}
	n, err := c.recv(c.in[c.inLen:], wait)
	w.took(c, n, err)
}

// took handles the outcome of a read.
func (w *wireWorker) took(c *conn, n int, err error) {
	if err != nil {
		c.broken = err
	} else if n > 0 {
		c.receive(n, pace.Now(), w.count)
	}
	w.setFree(c)
}

func (w *wireWorker) waitEpoll(until, now int64) error {
	n, err := w.epoll(until - now)
	if err != nil {
		return err
	}
	for _, ev := range w.events[:n] {
		c := w.conns[ev.Fd]
		if c.fd < 0 || c.broken != nil {
			continue
		}
		if ev.Events&unix.EPOLLOUT != 0 && c.flush() && c.broken == nil {
			w.watch(c, false)
		}
		if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			continue
		}
		for more := true; more && c.broken == nil; {
			space := len(c.in) - c.inLen
			got, err := c.recv(c.in[c.inLen:], false)
			w.took(c, got, err)
			more = got == space || got > 0 && c.sealed != nil
		}
	}
	return nil
}

// epoll waits for at most ns nanoseconds; without telling the scheduler when that is not at all.
func (w *wireWorker) epoll(ns int64) (int, error) {
	ts := unix.NsecToTimespec(max(ns, 0))
	var n uintptr
	var errno unix.Errno
	if ns <= 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(w.epfd), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(w.epfd), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

// giveUp closes a connection, fails what is in flight on it and leaves it to be restored.
func (w *wireWorker) giveUp(c *conn, err error) {
	if err == nil {
		err = errors.New("the partition moved")
	}
	if c.resend && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrAbandoned) {
		c.lose(pace.Now())
	} else {
		c.fail(err, pace.Now(), w.count)
	}
	w.down++
	w.setFree(c)
}

// tick notices requests without an answer and restores connections.
func (w *wireWorker) tick(now int64) error {
	for _, c := range w.conns {
		if c.fd >= 0 {
			if c.overdue(now, w.wire.cfg.Timeout) {
				c.broken = ErrTimeout
			} else if c.resend && c.broken == nil {
				if err := w.suspect(c, now); err != nil {
					return err
				}
			}
			continue
		}
		if c.dialing == nil {
			if now < c.retryAt {
				continue
			}
			c.dialing = make(chan dialed, 1)
			go w.wire.restore(c.assigned, noNode, c.dialing)
			continue
		}
		select {
		case d := <-c.dialing:
			c.dialing = nil
			if d.err != nil {
				c.retryAt = now + reconnectEvery.Nanoseconds()
				if secure.Refused(d.err) {
					return d.err
				}
				if now-c.downSince > w.wire.cfg.Timeout.Nanoseconds() {
					return fmt.Errorf("no connection for %v: %w", w.wire.cfg.Timeout, d.err)
				}
				continue
			}
			if err := w.attach(c, d); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// suspect looks for another leader while the one that there is says nothing, and goes over to it when there is one.
func (w *wireWorker) suspect(c *conn, now int64) error {
	if c.dialing == nil {
		if now >= c.retryAt && c.silent(now, SuspectAfter) {
			c.dialing = make(chan dialed, 1)
			go w.wire.restore(c.assigned, c.node, c.dialing) // that one may be beyond a cut, where a connection takes its time-out
		}
		return nil
	}
	select {
	case d := <-c.dialing:
		c.dialing = nil
		c.retryAt = now + reconnectEvery.Nanoseconds()
		if d.err == nil { // else the one that is silent may yet answer
			w.giveUp(c, nil)
			return w.attach(c, d)
		}
	default:
	}
	return nil
}

// attach puts a fresh socket into service.
func (w *wireWorker) attach(c *conn, d dialed) error {
	if w.alone {
		if err := sock.MakeBlocking(d.fd, time.Duration(tickNS)); err != nil {
			unix.Close(d.fd)
			return err
		}
	} else {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.index(c))}
		if err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_ADD, d.fd, &ev); err != nil {
			unix.Close(d.fd)
			return fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	c.fd, c.sealed, c.node, c.downSince, c.since = d.fd, d.sealed, d.node, 0, pace.Now()
	c.codec.route(d.partitions)
	if d.who != nil {
		c.codec.(*shapedCodec).identify(d.who)
	}
	w.down--
	if c.inFlight() > 0 && !c.flush() && !w.alone { // again, what the connection before had no answer for
		w.watch(c, true)
	}
	w.setFree(c)
	return nil
}

func (w *wireWorker) Abandon(done func(*Op)) {
	w.acked = done
	for _, c := range w.conns {
		if c.inFlight() > 0 {
			w.giveUp(c, ErrAbandoned)
		}
	}
	if w.keyed != nil {
		w.keyed.giveBack(w.count)
	}
}

// close releases descriptors; an attempt to connect that is still under way is waited for.
func (w *wireWorker) close() {
	for _, c := range w.conns {
		if c.dialing != nil {
			if d := <-c.dialing; d.err == nil {
				unix.Close(d.fd)
			}
		}
		if c.fd >= 0 {
			unix.Close(c.fd)
			c.fd = -1
		}
		if s, ok := c.codec.(*shapedCodec); ok {
			s.close()
		}
	}
	if w.epfd >= 0 {
		unix.Close(w.epfd)
	}
}

func sleepUntil(t int64) {
	if d := t - pace.Now(); d > 0 {
		time.Sleep(time.Duration(d))
	}
}

// passes reports whether the cause of err may go away by itself.
func passes(err error) bool {
	k, ok := errors.AsType[*kcode.Error](err)
	return ok && k.Err.Retriable || !ok && !secure.Refused(err)
}
