// Package transport is the links between the nodes of a cluster, which carry the raft messages of thousands of groups. The
// problem is that everything in a cluster meets here: a message that waits for another class of message turns load into
// elections; one that overtakes another of its class makes raft probe; a peer that does not read must not stop those who
// send to others; a node that is dead, or replaced, or two nodes that believe to be one, must be told from one that is
// slow; and the goroutine that acknowledges a client's record sends from here.
//
// # Connections
//
// For each peer and class (frame.Class) there is one connection in each direction, made by who sends. So there is
// nothing to agree on about who dials, a message's order is the order of one connection, and each side finds out by its
// own dial whether the other lives. The price is that TCP's acknowledgements do not ride on data of the other direction.
// On an accepted connection only the answer to the handshake, the answers to calls, and a
// snapshot's result, go back.
//
//	control    elections, leases, heartbeats: small, and never behind data
//	bulk       entries and what answers them
//	call       what nodes ask each other beside raft (package call)
//	snapshot   one connection per snapshot, on demand, rate-limited
//
// A handshake (frame/hello.go) makes sure that both mean the same cluster, node and format. A newer connection takes the
// older's place, whose reader ends first, so that what was sent earlier is never handled later: it may be lost, not late.
//
// # Sending
//
// Enqueue, with locks held, and Flush or FlushAll, without them; package link has the rest. Send is both.
//
// # Receiving
//
// A connection's reader calls the Handler with all messages of one read, on its own goroutine.
//
// # Who is alive
//
// Every interval each node sends each peer one heartbeat, which stands for those of all groups. Package detect decides;
// Callbacks hear of it, one after the other, from one goroutine that holds nothing.
//
// # Goroutines
//
// Per outgoing connection one that dials, and then waits for its end; per incoming one its reader; one more per
// connection while a peer reads too slowly, or always when sending over TLS and for calls; per call that is answered one;
// per snapshot one on the receiving side and
// two on the sending one; for the node one that accepts, one for heartbeats, one for callbacks. None per group, and no
// timer either.
//
// # Locks
//
// Transport.mu before watch.mu; table.mu before a link's mu; otherwise these and all others are leaves. Neither the Handler
// nor a callback is called, and nothing is read or written, with one of them held. So what says that it may be called with
// locks held may be called under a group's.
package transport

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/call"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
	"ackline/broker/transport/pace"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/snapshot"
)

// GroupMessage is a raft message and the group that it is for.
type GroupMessage = frame.GroupMessage

// Handler takes what peers send. Each method is called on the goroutine of the connection, which reads on when it returns;
// different connections call at the same time. None may call Close.
type Handler interface {
	// Messages gets everything that one read brought, in order. The slice is valid during the call; entries and their
	// data may be kept, and must not be changed.
	Messages(from id.NodeID, ms []GroupMessage)
	// Heartbeat gets a heartbeat and when it was read, by Config.Now. It is valid during the call.
	Heartbeat(from id.NodeID, who frame.Identity, h *frame.Heartbeat, at int64)
	// Snapshot gets a MsgSnap and the data that belongs to it. r ends with io.EOF only if all of the data came and its
	// checksum is right; until then none of it may be believed. What Snapshot returns is what the sender is told, unless
	// the connection ends first: then the sender has failed, although the snapshot may be taken.
	Snapshot(from id.NodeID, m GroupMessage, r io.Reader) error
}

// Callbacks tell what happens to peers and links, in order, one at a time. Any may be nil. They may take any lock, and
// call anything but Close.
type Callbacks struct {
	PeerUp   func(peer id.NodeID, who frame.Identity)
	PeerDown func(peer id.NodeID, who frame.Identity, reason detect.Reason)
	// NewIncarnation: what the peer stored under the old one is gone. A PeerDown has gone before if the old one was up.
	NewIncarnation func(peer id.NodeID, old, now frame.Identity)
	// LinkLost: a connection to the peer ended, or none could be made, and any message of the class that was on its way
	// may be lost. After a loss of class bulk raft must be told for every group that has a replica there
	// (ReportUnreachable).
	LinkLost func(peer id.NodeID, class frame.Class)
	// Unreachable: messages of class bulk for these replicas were dropped before they were sent.
	Unreachable func(peer id.NodeID, lost []link.Lost)
	// Refused: a handshake with the peer was refused by either side, once until the reason changes or it succeeds. The
	// error is a *frame.RefusedError. peer is what the other side claims to be.
	Refused func(peer id.NodeID, err error)
}

// Transport is one node's links.
type Transport struct {
	cfg     Config
	handler Handler
	calls   Callbacks

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine

	mu      sync.Mutex // guards the rest of this group; peers may be read without it
	peers   atomic.Pointer[map[id.NodeID]*peer]
	started bool
	closed  bool
	ln      net.Listener

	watch    watch
	leaders  table
	kinds    map[call.Kind]call.Handler // not changed after Start
	refusals refusals
	door     chan struct{} // a token per handshake that a stranger may be at
	snapOut  chan struct{} // a token per snapshot that is sent
	snapIn   chan struct{} // and taken
	bucketMu sync.Mutex    // guards bucket
	bucket   pace.Bucket
	keysMu   sync.Mutex   // guards keysSaid
	keysSaid secure.State // what was logged last about the files of cfg.TLS
	counters counters
}

// New checks the configuration. Nothing runs before Start.
func New(cfg Config, h Handler, calls Callbacks) (*Transport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	t := &Transport{cfg: cfg, handler: h, calls: calls, door: make(chan struct{}, cfg.MaxHandshakes),
		snapOut: make(chan struct{}, cfg.MaxSnapshotsOut), snapIn: make(chan struct{}, cfg.MaxSnapshotsIn)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.peers.Store(&map[id.NodeID]*peer{})
	t.watch = watch{det: detect.New(cfg.DeadAfter), now: cfg.Now, calls: calls, kick: make(chan struct{}, 1)}
	t.leaders = table{all: map[id.GroupID]frame.Leader{}}
	t.refusals.last = map[source]string{}
	t.bucket = pace.Bucket{Rate: cfg.SnapshotRate, Burst: int64(snapshot.ChunkBytes(cfg.SnapshotRate))}
	return t, nil
}

// Start accepts peers from ln, which Close closes, and dials those that were added.
func (t *Transport) Start(ln net.Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.closed {
		panic("transport: started twice, or after Close")
	}
	t.started, t.ln = true, ln
	t.run(func() { t.accept(ln) })
	t.run(t.beat)
	t.run(t.herald)
	for _, p := range *t.peers.Load() {
		t.startPeer(p)
	}
}

// run starts a goroutine that Close waits for.
func (t *Transport) run(f func()) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		f()
	}()
}

// Close ends every connection, and returns when no goroutine is left. What was enqueued and not sent is lost. It must not
// be called by the Handler or a callback, nor with a lock held that they take.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed = true
	ln := t.ln
	t.mu.Unlock()
	t.cancel()
	if ln != nil {
		ln.Close()
	}
	for _, p := range *t.peers.Load() {
		p.close()
	}
	t.wg.Wait()
}

// AddPeer makes a node known, whose address is HOST:PORT. For one that is known it is SetAddr.
func (t *Transport) AddPeer(n id.NodeID, addr string) {
	if n == t.cfg.Node {
		panic(fmt.Sprintf("transport: node %d is added as its own peer", n))
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	if known := t.peer(n); known != nil {
		t.mu.Unlock()
		known.setAddr(addr)
		return
	}
	p := t.newPeer(n, addr)
	next := maps.Clone(*t.peers.Load())
	next[n] = p
	t.watch.do(func(d *detect.Detector, _ int64) { d.Add(n) })
	t.peers.Store(&next)
	if t.started {
		t.startPeer(p)
	}
	t.mu.Unlock()
}

// SetAddr changes a peer's address. Its connections are made anew if it differs.
func (t *Transport) SetAddr(n id.NodeID, addr string) {
	if p := t.peer(n); p != nil {
		p.setAddr(addr)
	}
}

// RemovePeer ends the connections with a node and forgets it, without callbacks about it. Its goroutines may run for a
// moment longer.
func (t *Transport) RemovePeer(n id.NodeID) {
	t.mu.Lock()
	p := t.peer(n)
	if p == nil {
		t.mu.Unlock()
		return
	}
	next := maps.Clone(*t.peers.Load())
	delete(next, n)
	t.peers.Store(&next)
	t.watch.do(func(d *detect.Detector, _ int64) { d.Remove(n) })
	t.mu.Unlock()
	p.close()
}

func (t *Transport) peer(n id.NodeID) *peer { return (*t.peers.Load())[n] }

// Connected tells whether there is a control connection to a node now. One that was alive and is not connected has just died, most
// likely, and will be told of as dead as soon as that is certain. A node is connected with itself; a nil Transport is one's that is alone.
func (t *Transport) Connected(n id.NodeID) bool {
	if t == nil || n == t.cfg.Node {
		return true
	}
	p := t.peer(n)
	return p != nil && p.links[frame.Control].Connected()
}

// Farthest is the longest round trip to a node that is connected, 0 if none was measured. It may be called with locks held.
func (t *Transport) Farthest() (trip time.Duration) {
	if t == nil {
		return 0
	}
	for _, p := range *t.peers.Load() {
		if p.links[frame.Control].Connected() {
			trip = max(trip, p.rtt.Estimate().Smoothed)
		}
	}
	return trip
}

// Enqueue takes messages for a node. It is cheap, never waits, and may be called with locks held; they are sent by the
// next Flush. A message that cannot be sent is dropped, and Callbacks.Unreachable hears of it.
func (t *Transport) Enqueue(to id.NodeID, g id.GroupID, ms []pb.Message) {
	p := t.peer(to)
	if p == nil {
		t.counters.unroutable.Add(uint64(len(ms)))
		return
	}
	for i := 0; i < len(ms); {
		c, ok := frame.ClassOf(ms[i].Type)
		if !ok {
			panic(fmt.Sprintf("transport: group %d: %v does not leave its node", g, ms[i].Type))
		}
		j := i + 1
		for ; j < len(ms); j++ {
			if next, _ := frame.ClassOf(ms[j].Type); next != c {
				break
			}
		}
		p.links[c].Enqueue(g, ms[i:j])
		i = j
	}
}

// Flush sends what is enqueued for a node, as far as its sockets take it without waiting. Call it without locks.
func (t *Transport) Flush(to id.NodeID) {
	if p := t.peer(to); p != nil {
		p.flush()
	}
}

// FlushAll is Flush for every node.
func (t *Transport) FlushAll() {
	for _, p := range *t.peers.Load() {
		p.flush()
	}
}

// Send is Enqueue and Flush: two system calls at most, which do not wait, with whatever locks the caller holds.
func (t *Transport) Send(to id.NodeID, g id.GroupID, ms []pb.Message) {
	t.Enqueue(to, g, ms)
	t.Flush(to)
}
