package transport

import (
	"math"
	"sync"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/rtt"
)

// maxReads bounds the reads that wait for one peer's next heartbeat.
const maxReads = 1 << 16

// table is what heartbeats carry: whom this node's groups have as leader here, as far as each peer has not heard it.
type table struct {
	mu  sync.Mutex // guards all of it, and every peer's pending
	all map[id.GroupID]frame.Leader
	h   frame.Heartbeat // scratch
}

// pending is what a peer is still to be told. Nothing is kept for one that is not connected: it hears all when it is.
type pending struct {
	connected bool
	leaders   map[id.GroupID]frame.Leader
	reads     []frame.Read
}

// connected tells that the control connection to a peer begins or has ended.
func (a *table) connected(p *peer, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.pending = pending{connected: yes}
	if yes {
		p.pending.leaders = make(map[id.GroupID]frame.Leader, len(a.all))
		for g, l := range a.all {
			p.pending.leaders[g] = l
		}
	}
}

// Announce tells every peer, with its next heartbeat, that a replica of this node leads a group, and every peer that is
// connected later. It is soft state: the highest term wins. May be called with locks held.
func (t *Transport) Announce(l frame.Leader) {
	a := &t.leaders
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[l.Group] = l
	for _, p := range *t.peers.Load() {
		if p.pending.connected {
			p.pending.leaders[l.Group] = l
		}
	}
}

// Withdraw ends announcing a group: its replica here does not lead any more. Nobody is told; its next leader does that.
func (t *Transport) Withdraw(g id.GroupID) {
	a := &t.leaders
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, g)
	for _, p := range *t.peers.Load() {
		delete(p.pending.leaders, g)
	}
}

// Ask adds reads, questions or answers, to the next heartbeat to a node; Beat sends it at once. They are lost if the
// connection is, so whoever asks must ask again. It is false, and nothing was added, if the node is not connected or too
// many wait. May be called with locks held.
func (t *Transport) Ask(to id.NodeID, reads ...frame.Read) bool {
	p := t.peer(to)
	if p == nil {
		return false
	}
	a := &t.leaders
	a.mu.Lock()
	defer a.mu.Unlock()
	if !p.pending.connected || len(p.pending.reads)+len(reads) > maxReads {
		return false
	}
	p.pending.reads = append(p.pending.reads, reads...)
	return true
}

// Beat sends a node a heartbeat now, as many as it takes to carry what is pending. It never waits; call it without locks.
func (t *Transport) Beat(to id.NodeID) {
	if p := t.peer(to); p != nil {
		t.beatPeer(p)
	}
}

func (t *Transport) beatPeer(p *peer) {
	l := p.links[frame.Control]
	for more := true; more; {
		more = t.leaders.send(p, func(h *frame.Heartbeat) bool {
			if h.Sent, h.Echo, h.Held = p.rtt.Say(t.cfg.Now()); p.busy.Load() {
				h.Held = 0 // the peer is not to blame for what waits to be read
			}
			return l.Heartbeat(h)
		})
	}
	l.Flush()
}

// send makes a heartbeat of what is pending and calls emit for it, which is false if it cannot take it. more says that not
// all had room.
func (a *table) send(p *peer, emit func(*frame.Heartbeat) bool) (more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h, q := &a.h, &p.pending
	reads := min(len(q.reads), frame.MaxBeatItems)
	h.Leaders, h.Reads = h.Leaders[:0], q.reads[:reads]
	for _, l := range q.leaders {
		if len(h.Leaders)+reads == frame.MaxBeatItems {
			break
		}
		h.Leaders = append(h.Leaders, l)
	}
	if !emit(h) {
		return false
	}
	for _, l := range h.Leaders {
		delete(q.leaders, l.Group)
	}
	if q.reads = q.reads[reads:]; len(q.reads) == 0 {
		q.reads = nil
	}
	return len(q.leaders)+len(q.reads) > 0
}

// beat sends heartbeats and looks for silent peers, until Close.
func (t *Transport) beat() {
	tick := time.NewTicker(t.cfg.HeartbeatInterval)
	defer tick.Stop()
	silent := time.NewTimer(math.MaxInt64)
	defer silent.Stop()
	for {
		select {
		case <-tick.C:
			silent.Reset(t.look())
			for _, p := range *t.peers.Load() {
				t.beatPeer(p)
			}
		case <-silent.C: // between two ticks, so that nobody is dead a tick late
			silent.Reset(t.look())
		case <-t.ctx.Done():
			return
		}
	}
}

// look finds silent peers, and says in how long to look again.
func (t *Transport) look() (again time.Duration) {
	peers := *t.peers.Load()
	events := t.watch.do(func(d *detect.Detector, now int64) {
		for n, p := range peers {
			d.Patient(n, rtt.Silence*p.rtt.Estimate().Smoothed)
			if p.busy.Load() {
				d.Excuse(n, now)
			}
		}
		again = time.Duration(d.Tick(now) - now)
	})
	for _, e := range events {
		if p := peers[e.Peer]; p != nil && e.Kind == detect.Down {
			p.hangUp()
		}
	}
	return again
}
