package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/call"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
	"ackline/broker/transport/pace"
	"ackline/broker/transport/rtt"
)

// peer is another node: where it is, and the connections with it.
type peer struct {
	t      *Transport
	id     id.NodeID
	ctx    context.Context // ends with Close and RemovePeer
	cancel context.CancelFunc

	links  [frame.Links]*link.Link      // to it, by class
	calls  *call.Client                 // to it
	serves *call.Server                 // it
	wake   [frame.Lasting]chan struct{} // ends a keeper's wait
	in     [frame.Lasting]slot          // from it
	busy   atomic.Bool                  // the reader of its control connection is in the handler: heartbeats may wait behind it

	mu      sync.Mutex // guards the next three
	addr    string
	dialled [frame.Lasting + 1]string // what addr was when each class was last dialled
	said    [frame.Lasting]string     // the last that was told about why there is no connection; "" when there is one

	pending pending // guarded by table.mu
	rtt     *rtt.Meter
}

func (t *Transport) newPeer(n id.NodeID, addr string) *peer {
	p := &peer{t: t, id: n, addr: addr, rtt: rtt.New(t.cfg.Identity.Boot)}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	for c := range p.links {
		cfg := link.Config{QueueBytes: t.cfg.ControlQueueBytes, MaxBody: t.cfg.MaxFrameBytes, MinRef: t.cfg.MinRefBytes,
			WriteTimeout: t.cfg.WriteTimeout}
		if frame.Class(c) == frame.Bulk {
			cfg.QueueBytes, cfg.Notify = t.cfg.BulkQueueBytes, t.watch.nudge
		}
		p.links[c] = link.New(cfg)
		p.links[c].Expect(true)
	}
	p.calls, p.serves = t.newCalls(n)
	for c := range p.wake {
		p.wake[c] = make(chan struct{}, 1)
		p.in[c].ended.L = &p.in[c].mu
	}
	return p
}

// line is the sending side of a lasting connection, across reconnects: a link.Link or a call.Client.
type line interface {
	Expect(on bool) (dropped bool)
	Attach(nc net.Conn) bool
	Detach()
	Break()
	Close()
	Connected() bool
}

func (p *peer) line(c frame.Class) line {
	if c == frame.Call {
		return p.calls
	}
	return p.links[c]
}

func (t *Transport) startPeer(p *peer) {
	for c := range frame.Class(frame.Lasting) {
		t.run(func() { t.keep(p, c) })
	}
}

func (p *peer) close() {
	p.cancel()
	for c := range p.in {
		p.line(frame.Class(c)).Close()
		p.in[c].abort()
	}
}

func (p *peer) flush() {
	for _, l := range p.links {
		l.Flush()
	}
}

func (p *peer) setAddr(addr string) {
	p.mu.Lock()
	changed := p.addr != addr
	p.addr = addr
	p.mu.Unlock()
	if changed {
		for c := range frame.Class(frame.Lasting) {
			p.dialNow(c)
			p.line(c).Break()
		}
	}
}

// dialling notes which address a class is dialled at.
func (p *peer) dialling(c frame.Class) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialled[c] = p.addr
	return p.addr
}

// attached notes that a class is connected. It tells whether the address has changed since that was dialled.
func (p *peer) attached(c frame.Class) (moved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said[c] = ""
	return p.dialled[c] != p.addr
}

// dialNow ends the wait for the next dial, or skips the next one.
func (p *peer) dialNow(c frame.Class) {
	if p.line(c).Connected() {
		return
	}
	select {
	case p.wake[c] <- struct{}{}:
	default:
	}
}

// hangUp ends the connections with a process that is gone, or cannot be heard. If it lives, new ones are made: sooner than
// TCP finds out by itself that an old one is of use again.
func (p *peer) hangUp() {
	for c := range p.in {
		p.line(frame.Class(c)).Break()
		p.in[c].abort()
	}
}

// dyingDials is how often a peer is dialled anew, soon, when the dial behind a connection that lasted was reset: a process that dies
// may close its connections before it closes what it listens on.
const dyingDials = 3

// keep keeps one connection to a peer: it dials, waits for the connection's end and dials again, until the peer goes. The
// first dial after a connection that lasted is made at once: that it is refused is how death is found.
func (t *Transport) keep(p *peer, c frame.Class) {
	l := p.line(c)
	backoff := pace.NewBackoff(t.cfg.RedialMin, t.cfg.RedialMax, t.cfg.Seed, uint64(p.id)<<8|uint64(c))
	for dying := 0; p.ctx.Err() == nil; {
		lasted, err := t.connect(p, c)
		if p.ctx.Err() != nil {
			return
		}
		t.tell(p, c, err)
		if lasted >= t.cfg.RedialMax {
			backoff.Reset()
			dying = dyingDials
			continue
		}
		if l.Expect(false) {
			t.watch.lost(p.id, c)
		}
		pause := t.cfg.RedialMin / 10
		if dying--; dying < 0 || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			dying, pause = 0, backoff.Next()
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-p.wake[c]:
		case <-p.ctx.Done():
		}
		wait.Stop()
	}
}

// tell logs why a connection ended or could not be made, once until that changes, and once for all classes.
func (t *Transport) tell(p *peer, c frame.Class, err error) {
	g := gist(err)
	p.mu.Lock()
	known := slices.Contains(p.said[:], g)
	p.said[c] = g
	p.mu.Unlock()
	if known {
		return
	}
	var refused *frame.RefusedError
	if errors.As(err, &refused) {
		t.watch.refused(p.id, refused)
	}
	t.cfg.Log.Warn("no connection to a node", "node", p.id, "class", c, "why", err)
}

// connect makes a connection and stays until it ends. lasted is how long it was usable; 0: not at all.
func (t *Transport) connect(p *peer, c frame.Class) (lasted time.Duration, err error) {
	nc, who, done, err := t.dial(p, c)
	if err != nil {
		if c == frame.Control && errors.Is(err, syscall.ECONNREFUSED) {
			t.watch.do(func(d *detect.Detector, now int64) { d.Refused(p.id, now) })
		}
		return 0, err
	}
	defer done()
	if c == frame.Control {
		s := t.watch.open(p.id, who, detect.Out)
		if s == 0 {
			return 0, errReplaced
		}
		defer t.watch.closed(p.id, detect.Out, s)
		t.leaders.connected(p, true)
		defer t.leaders.connected(p, false)
	}
	l := p.line(c)
	if !l.Attach(nc) {
		return 0, net.ErrClosed
	}
	select {
	case <-p.wake[c]: // it has served its purpose
	default:
	}
	if p.attached(c) {
		l.Break() // setAddr came too early to find the connection
	}
	if c == frame.Control {
		t.cfg.Log.Info("connected to a node", "node", p.id, "address", nc.RemoteAddr())
	}
	began := t.cfg.Now()
	if c == frame.Call {
		err = p.calls.Receive(nc)
	} else {
		err = untilEnd(nc)
	}
	l.Detach()
	if p.ctx.Err() == nil && c != frame.Call { // who calls is told by the call
		t.watch.lost(p.id, c)
	}
	return max(time.Duration(t.cfg.Now()-began), 1), err
}

var errReplaced = errors.New("another process has taken the node's place meanwhile")

// untilEnd waits for the end of a connection on which nothing is to come.
func untilEnd(nc net.Conn) error {
	var b [1]byte
	n, err := nc.Read(b[:])
	if n > 0 {
		return fmt.Errorf("%w: the peer sends on a connection that is for receiving", frame.ErrFormat)
	}
	return fmt.Errorf("the connection ended: %w", err)
}

// dial makes a connection up to and including the handshake. done must be called at its end.
func (t *Transport) dial(p *peer, c frame.Class) (nc net.Conn, who frame.Identity, done func(), err error) {
	sock, err := t.dialAddr(p, c)
	if err != nil {
		return nil, who, nil, err
	}
	stop := context.AfterFunc(p.ctx, func() { sock.Close() })
	done = func() {
		stop()
		sock.Close()
	}
	t.setOptions(sock)
	nc, w, err := t.introduce(sock, p, c)
	if err == nil {
		if refused := t.meet(p, w.Identity); refused != nil {
			err = refused
		}
	}
	if err != nil {
		done()
		return nil, who, nil, err
	}
	t.widen(sock, p, c)
	return nc, w.Identity, done, nil
}

// dialAddr connects to the first of a peer's addresses that answers.
func (t *Transport) dialAddr(p *peer, c frame.Class) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, t.cfg.DialTimeout)
	defer cancel()
	addr := p.dialling(c)
	t.counters.dials.Add(1)
	addrs, err := t.cfg.Resolve(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("transport: resolve %s: %w", addr, err)
	}
	err = fmt.Errorf("transport: %s has no address", addr)
	for _, a := range addrs {
		var nc net.Conn
		if nc, err = t.cfg.Dial(ctx, a); err == nil {
			return nc, nil
		}
	}
	return nil, err
}

// meet compares the process behind a handshake with what is known of its node.
func (t *Transport) meet(p *peer, who frame.Identity) *frame.RefusedError {
	if t.cfg.Admit != nil {
		if err := t.cfg.Admit(p.id, who); err != nil {
			return t.notAdmitted(err)
		}
	}
	var changed bool
	var err error
	t.watch.do(func(d *detect.Detector, now int64) { changed, err = d.Meet(p.id, who, now) })
	if err != nil {
		return t.refusal(frame.DuplicateNode, err.Error())
	}
	if changed {
		p.hangUp()
	}
	return nil
}

func (t *Transport) refusal(r frame.Reason, text string) *frame.RefusedError {
	return &frame.RefusedError{Reason: r, Text: text, By: t.cfg.Node}
}

// notAdmitted is what Admit says: a *frame.RefusedError has its own reason.
func (t *Transport) notAdmitted(err error) *frame.RefusedError {
	var refused *frame.RefusedError
	if errors.As(err, &refused) {
		return t.refusal(refused.Reason, refused.Text)
	}
	return t.refusal(frame.NotAdmitted, err.Error())
}

// gist is what of an error stays the same when nothing has changed: its text may name a local port.
func gist(err error) string {
	var refused *frame.RefusedError
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &refused) && refused.Reason == frame.BadCertificate:
		return refused.Error() // what is wrong with it may change, and the text does not otherwise
	case errors.As(err, &refused):
		return refused.Reason.String()
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return fmt.Sprint("resolving ", dns.Name, dns.IsNotFound, dns.IsTimeout)
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// slot is the one connection of a class from a peer, and the one that is to take its place.
type slot struct {
	mu     sync.Mutex // guards the rest
	ended  sync.Cond  // on mu: cur or next has changed
	cur    net.Conn   // is being read
	next   net.Conn   // waits for the reader of cur to end
	issued uint64     // tickets
	newest uint64     // that was used
}

// ticket gives a connection its place in the order in which they were made. It must be drawn before the welcome is sent:
// only then does the peer send, and only after that it makes the next connection.
func (s *slot) ticket() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	return s.issued
}

// claim ends the connection that is there and waits for its reader, so that what it had read is handled first. It is false
// if a newer connection came before or meanwhile. If it is true, leave must be called when nothing is read any more.
func (s *slot) claim(nc net.Conn, ticket uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ticket < s.newest {
		return false
	}
	s.newest = ticket
	for _, old := range []net.Conn{s.cur, s.next} {
		if old != nil {
			link.Abort(old)
		}
	}
	s.next = nc
	s.ended.Broadcast()
	for s.cur != nil && s.next == nc {
		s.ended.Wait()
	}
	if s.next != nc {
		return false
	}
	s.cur, s.next = nc, nil
	return true
}

func (s *slot) leave() {
	s.mu.Lock()
	s.cur = nil
	s.ended.Broadcast()
	s.mu.Unlock()
}

// abort ends the connection that is there, and the one that waits.
func (s *slot) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, nc := range []net.Conn{s.cur, s.next} {
		if nc != nil {
			link.Abort(nc)
		}
	}
}
