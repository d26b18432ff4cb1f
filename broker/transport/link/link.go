// Package link sends what one node has for another over one connection, in order, from goroutines that must not wait.
// Raft's messages are made with a group's lock held, by the goroutine on which a client's acknowledgement depends: a peer
// that reads slowly, or not at all, must cost them nothing, and a goroutine that would have to be woken for every message
// costs as much as a sync.
//
// So Enqueue only appends to a batch, and Flush, called when the locks are released, tries the socket without blocking if
// nobody else is at it: one system call carries what several groups enqueued meanwhile. What the socket does not take is
// handed, with the role of writing, to a goroutine that may wait; it ends when nothing is left. TLS needs writes that may
// wait, so there it is always that goroutine.
//
// The queue is bounded. A message that does not fit is dropped, and so is everything when the connection ends: raft
// recovers from loss, never from another order. For whom a message was dropped is remembered until TakeLost; what a
// connection takes with it when it ends may concern everyone, so that whoever calls Detach must tell everyone.
//
// While no connection is attached, messages wait only if one is on its way: after Expect, and after Detach.
//
// mu is a leaf: nothing is written with it held, and it may be taken under a group's lock.
package link

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// Config bounds a link.
type Config struct {
	QueueBytes   int           // that may wait; a message beyond it is dropped
	MaxBody      int           // of one frame
	MinRef       int           // an entry's data of so many bytes is not copied, but sent from where it lies
	WriteTimeout time.Duration // for each 256 KiB, when the socket does not take it at once; then the connection is closed
	// Notify is called, with the caller's locks held, when TakeLost has something to give. It must not block. Nil: nobody
	// needs to know, since raft repeats what goes over this link.
	Notify func()
}

// Lost is a replica for which messages were dropped.
type Lost struct {
	Group   id.GroupID
	Replica id.ReplicaID
	Types   uint32 // a bit 1<<type for each raftpb.MessageType that was dropped
}

// Has tells whether a message of the type was dropped.
func (l Lost) Has(t pb.MessageType) bool { return l.Types>>uint(t)&1 != 0 }

// lostKey is one of a number that groups bound.
type lostKey struct {
	group   id.GroupID
	replica id.ReplicaID
}

// Passed counts what went through a link, on the way of every request: under a lock that is held there anyway.
type Passed struct {
	Frames   uint64
	Messages uint64 // enqueued; less those dropped they were sent
}

// Passed returns what went through until now.
func (l *Link) Passed() Passed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// Counters count what a link did. They only go up, but for QueueBytes.
type Counters struct {
	Connects   atomic.Uint64
	Bytes      atomic.Uint64 // taken by the kernel
	Dropped    atomic.Uint64 // messages: the queue was full, nobody was connected, or the connection ended
	Oversized  atomic.Uint64 // of those dropped: no frame can hold them, so they will never arrive
	QueueBytes atomic.Int64

	InlineWrites atomic.Uint64 // attempts of those who flushed
	ShortWrites  atomic.Uint64 // those that did not take everything
	WriterStarts atomic.Uint64 // hand-overs to a goroutine: short writes, and every flush under TLS
	WriterWrites atomic.Uint64 // writes of that goroutine
}

// Link is one connection's sending side, across reconnects. Safe for concurrent use.
type Link struct {
	Counters Counters

	cfg   Config
	dirty atomic.Bool // gather may hold something that nobody is about to send

	mu   sync.Mutex
	idle sync.Cond // on mu: writing was given up
	// mu owns everything down to writing.
	conn     net.Conn        // nil: none
	raw      syscall.RawConn // nil: conn takes only writes that may wait
	expected bool            // Enqueue keeps messages although conn is nil
	closed   bool
	gather   *frame.Batch // what was enqueued
	passed   Passed
	lost     map[lostKey]uint32
	// writing is owned by mu. Who set it owns out, the socket's sending side and what stands in outward; it is handed from
	// a flushing goroutine to the writer goroutine.
	writing bool
	out     *frame.Batch
	outward
}

// New returns a link without a connection.
func New(cfg Config) *Link {
	l := &Link{cfg: cfg, gather: frame.NewBatch(cfg.MaxBody, cfg.MinRef), out: frame.NewBatch(cfg.MaxBody, cfg.MinRef),
		lost: map[lostKey]uint32{}}
	l.idle.L = &l.mu
	l.newAttempt()
	return l
}

// Enqueue appends messages of one group. It does no I/O and never waits: Flush sends. It may be called with locks held.
func (l *Link) Enqueue(g id.GroupID, ms []pb.Message) {
	l.mu.Lock()
	missing := false
	for i := range ms {
		missing = !l.add(g, &ms[i]) || missing
	}
	l.mu.Unlock()
	if missing {
		l.cfg.Notify()
	}
}

// add needs mu. It is false when the message was dropped and somebody must be told.
func (l *Link) add(g id.GroupID, m *pb.Message) bool {
	queued := l.Counters.QueueBytes.Load()
	if (l.conn != nil || l.expected) && queued+int64(frame.MessageBytes(m)) <= int64(l.cfg.QueueBytes) {
		n, err := l.gather.Message(g, m)
		if err == nil {
			l.passed.Messages++
			l.Counters.QueueBytes.Add(int64(n))
			l.dirty.Store(true)
			return true
		}
		l.Counters.Oversized.Add(1)
	}
	l.Counters.Dropped.Add(1)
	if l.closed || l.cfg.Notify == nil {
		return true
	}
	l.lost[lostKey{g, id.ReplicaID(m.To)}] |= 1 << uint(m.Type)
	return false
}

// Heartbeat enqueues a heartbeat. It is false, and nothing was enqueued, when there is no connection or the peer does not
// read: then heartbeats would only pile up.
func (l *Link) Heartbeat(h *frame.Heartbeat) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.Counters.QueueBytes.Load() > int64(l.cfg.QueueBytes/2) {
		return false
	}
	l.Counters.QueueBytes.Add(int64(l.gather.Heartbeat(h)))
	l.dirty.Store(true)
	return true
}

// TakeLost returns for whom messages were dropped by Enqueue since it was called last.
func (l *Link) TakeLost() []Lost {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lost) == 0 {
		return nil
	}
	out := make([]Lost, 0, len(l.lost))
	for k, types := range l.lost {
		out = append(out, Lost{k.group, k.replica, types})
	}
	clear(l.lost)
	return out
}

// Expect says whether messages are to wait for a connection that is being made. When they are not, those that wait are
// dropped; it is true if there were any.
func (l *Link) Expect(on bool) (dropped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected = on && !l.closed
	return l.conn == nil && !l.expected && l.drop()
}

// Attach gives the link a connection, and sends what waits. It is false if the link was closed meanwhile. The caller reads
// from the connection to learn of its end, and then calls Detach.
func (l *Link) Attach(nc net.Conn) bool {
	var raw syscall.RawConn
	switch plain := nc.(type) {
	case *net.TCPConn:
		raw, _ = plain.SyscallConn()
	case *net.UnixConn:
		raw, _ = plain.SyscallConn()
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	if l.conn != nil || l.writing {
		l.mu.Unlock()
		panic("link: a connection is attached before the last one was detached")
	}
	l.conn, l.raw = nc, raw
	l.mu.Unlock()
	l.Counters.Connects.Add(1)
	l.dirty.Store(true)
	l.Flush()
	return true
}

// Break closes the connection, if there is one, so that its reader ends and detaches it.
func (l *Link) Break() {
	l.mu.Lock()
	nc := l.conn
	l.mu.Unlock()
	if nc != nil {
		Abort(nc)
	}
}

// Detach takes the connection away and closes it. What was queued is dropped; what comes now waits for the next
// connection. It returns when nobody writes any more.
func (l *Link) Detach() {
	l.mu.Lock()
	if nc := l.conn; nc != nil {
		Abort(nc)
		l.conn, l.raw = nil, nil
		l.drop()
	}
	l.expected = !l.closed
	for l.writing {
		l.idle.Wait()
	}
	l.mu.Unlock()
}

// Close is the end: messages are dropped silently from now on. Detach must still be called if a connection is attached.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed, l.expected = true, false
	l.drop()
	clear(l.lost)
	l.mu.Unlock()
	l.Break()
}

// drop empties gather. It is true if a message was in it. Needs mu.
func (l *Link) drop() bool {
	n := l.gather.Messages()
	l.Counters.Dropped.Add(uint64(n))
	l.Counters.QueueBytes.Add(-int64(l.gather.Left()))
	l.gather.Reset(keepBytes)
	return n > 0
}

// Connected tells whether a connection is attached.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// Abort closes a connection without the goodbye of TLS, which may have to wait for the other side.
func Abort(nc net.Conn) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	nc.Close()
}
