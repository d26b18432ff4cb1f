// Package detect decides which of a cluster's nodes are alive. The problem is that a process that died, one that hangs, a
// network that is cut and a node that was started again under the same id look alike for a while, that groups of a dead
// leader wait for the answer, and that a wrong answer costs elections.
//
// The Detector does no I/O and reads no clock: it is told what happened and when, and returns what follows from it. What
// it goes by:
//
//	death            both control connections with the peer are closed, ours and the one from it, and a redial was
//	                 refused: the machine answers, the process is gone. Takes as long as a redial.
//	silent death     no heartbeat for the time-out: the machine is gone, or hangs, or cannot be reached.
//	deafness         the peer's heartbeats say that it has not heard this node for as long. A cut in one direction is no better than one
//	                 in both: a leader that hears no answers commits nothing. It is dead to this node as this one is to it, at the same time.
//	another process  a process with the peer's node id, and another incarnation or boot, opens a connection: the one that
//	                 was known is dead. Unless that one was heard from within the time-out and still has a connection:
//	                 then there are two of them, and the newcomer is refused.
//	life             a heartbeat.
//
// A process that slept (it was stopped, or had no processor) finds heartbeats missing that wait in its sockets. So a
// time-out does not count across a gap between two looks at the clock: all peers get a new one. The same holds for one
// peer while its connection is not read (Excuse).
package detect

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// Reason is why a peer counts as dead.
type Reason uint8

// The reasons.
const (
	Refused   Reason = iota // its connections are closed and a redial was refused
	Silent                  // no heartbeat within the time-out
	Restarted               // another process of the same incarnation took its place
	Reborn                  // another incarnation did: what it stored is gone
)

var reasonNames = [...]string{"refused", "silent", "restarted", "reborn"}

func (r Reason) String() string { return reasonNames[r] }

// Direction is which of the two control connections with a peer.
type Direction uint8

// The directions.
const (
	In  Direction = iota // it dialled
	Out                  // we did
)

// Kind is what an event tells.
type Kind uint8

// The kinds of event.
const (
	Up             Kind = iota // the first heartbeat after death, or at all
	Down                       // see Reason
	NewIncarnation             // see Old and Identity; a Down has gone before if the old one was up
)

// Event is something that others must be told.
type Event struct {
	Peer     id.NodeID
	Kind     Kind
	Reason   Reason         // of Down
	Identity frame.Identity // who is up, or down, or new
	Old      frame.Identity // of NewIncarnation: who it was before
	Silence  time.Duration  // of Down: since the last heartbeat
}

// DuplicateError says that two live processes claim one node id.
type DuplicateError struct {
	Peer       id.NodeID
	Known, New frame.Identity
	Silence    time.Duration // since the known one was heard from
}

func (e *DuplicateError) Error() string {
	what := "another data directory"
	if e.Known.Incarnation == e.New.Incarnation {
		what = "a copy of the data directory, or was restarted just now"
	}
	return fmt.Sprintf("another process with node id %d was heard from %v ago, on %s (incarnation %#x, this one has %#x): stop one "+
		"of them, or give it another id", e.Peer, e.Silence.Round(time.Millisecond), what, e.Known.Incarnation, e.New.Incarnation)
}

// Line is one control connection that a peer was met on. Lines are never used again; 0 is none.
type Line uint64

// Detector is the state of all peers. Not safe for concurrent use. Times are nanoseconds of a monotonic clock.
type Detector struct {
	timeout  int64
	peers    map[id.NodeID]*peer
	order    []id.NodeID // of peers, ascending: the same events come in the same order
	last     Line
	lastTick int64 // 0: none yet
	events   []Event
}

type peer struct {
	known   frame.Identity // zero: never met
	up      bool
	open    [2]Line // by direction: the newest open connection with known
	refused bool    // the last dial was, and none has succeeded since
	heard   int64   // when both heard the other last, as far as this node knows, or when known was first met
	patient int64   // how long it may be silent, if that is more than the time-out
}

// New returns a detector without peers. timeout is how long a peer may be silent; it should be several intervals of the
// heartbeat.
func New(timeout time.Duration) *Detector {
	return &Detector{timeout: int64(timeout), peers: map[id.NodeID]*peer{}}
}

// Add makes a peer known. It counts as dead, without an event, until its first heartbeat.
func (d *Detector) Add(n id.NodeID) {
	if d.peers[n] == nil {
		d.peers[n] = &peer{}
		d.order = append(d.order, n)
		slices.Sort(d.order)
	}
}

// Remove forgets a peer, without an event.
func (d *Detector) Remove(n id.NodeID) {
	delete(d.peers, n)
	d.order = slices.DeleteFunc(d.order, func(o id.NodeID) bool { return o == n })
}

// Take returns what happened since it was called last, in order.
func (d *Detector) Take() []Event {
	es := d.events
	d.events = nil
	return es
}

// Meet tells that a handshake showed who a peer's process is. changed says that another process was known before, whose
// connections are worth nothing any more. The error is a *DuplicateError: the connection must be refused.
func (d *Detector) Meet(n id.NodeID, who frame.Identity, now int64) (changed bool, err error) {
	p := d.peers[n]
	if p == nil || p.known == who {
		return false, nil
	}
	old := p.known
	if old != (frame.Identity{}) {
		if silence := now - p.heard; silence < d.timeout && p.open != [2]Line{} {
			return false, &DuplicateError{n, old, who, time.Duration(silence)}
		}
		reason := Restarted
		if old.Incarnation != who.Incarnation {
			reason = Reborn
		}
		d.down(n, p, reason, now)
		changed = true
		if reason == Reborn {
			d.events = append(d.events, Event{Peer: n, Kind: NewIncarnation, Identity: who, Old: old})
		}
	}
	*p = peer{known: who, heard: now}
	return changed, nil
}

// Known tells whether a process is the one that was last met.
func (d *Detector) Known(n id.NodeID, who frame.Identity) bool {
	p := d.peers[n]
	return p != nil && p.known == who
}

// Open tells that a control connection with a process that was met is open. It returns 0 if another process has replaced
// that one since: the connection is worth nothing.
func (d *Detector) Open(n id.NodeID, who frame.Identity, dir Direction) Line {
	if !d.Known(n, who) {
		return 0
	}
	d.last++
	p := d.peers[n]
	p.open[dir], p.refused = d.last, false
	return d.last
}

// Closed tells that such a connection has ended.
func (d *Detector) Closed(n id.NodeID, dir Direction, s Line, now int64) {
	if p := d.peers[n]; p != nil && p.open[dir] == s {
		p.open[dir] = 0
		d.judge(n, p, now)
	}
}

// Refused tells that the peer's machine refused a dial: nobody listens.
func (d *Detector) Refused(n id.NodeID, now int64) {
	if p := d.peers[n]; p != nil {
		p.refused = true
		d.judge(n, p, now)
	}
}

// Heartbeat tells that a heartbeat came on a connection from the peer, which has been deaf to this node for so long.
func (d *Detector) Heartbeat(n id.NodeID, s Line, now int64, deaf time.Duration) {
	p := d.peers[n]
	if p == nil || p.open[In] != s {
		return // from a process that another has replaced
	}
	p.heard = max(p.heard, now-int64(deaf))
	if !p.up && int64(deaf) <= d.limit(p) {
		p.up = true
		d.events = append(d.events, Event{Peer: n, Kind: Up, Identity: p.known})
	}
}

// Excuse tells that what a peer sends is not being read at the moment, because this node is busy with what it sent before:
// the silence is not the peer's.
func (d *Detector) Excuse(n id.NodeID, now int64) {
	if p := d.peers[n]; p != nil && p.up {
		p.heard = max(p.heard, now)
	}
}

// Patient lets a peer be silent for so long, if that is more than the time-out: it is far away, and what is lost on the way there is
// sent again late.
func (d *Detector) Patient(n id.NodeID, silence time.Duration) {
	if p := d.peers[n]; p != nil {
		p.patient = int64(silence)
	}
}

func (d *Detector) limit(p *peer) int64 { return max(d.timeout, p.patient) }

// Tick looks for silent peers. Call it about once per interval of the heartbeat, and when it says: next is when a peer will have been silent
// for too long, if nothing is heard of it till then; the largest number if none is up.
func (d *Detector) Tick(now int64) (next int64) {
	gap := now - d.lastTick
	slept := d.lastTick != 0 && gap > d.timeout/2
	d.lastTick, next = now, math.MaxInt64
	for _, n := range d.order {
		p := d.peers[n]
		switch {
		case !p.up:
		case slept:
			p.heard = max(p.heard, now)
		case now-p.heard > d.limit(p):
			d.down(n, p, Silent, now)
		}
		if p.up {
			next = min(next, p.heard+d.limit(p)+1)
		}
	}
	return next
}

func (d *Detector) judge(n id.NodeID, p *peer, now int64) {
	if p.refused && p.open == [2]Line{} {
		d.down(n, p, Refused, now)
	}
}

func (d *Detector) down(n id.NodeID, p *peer, r Reason, now int64) {
	if p.up {
		p.up = false
		d.events = append(d.events, Event{Peer: n, Kind: Down, Reason: r, Identity: p.known, Silence: time.Duration(now - p.heard)})
	}
}

// IsUp tells whether a peer is alive.
func (d *Detector) IsUp(n id.NodeID) bool { p := d.peers[n]; return p != nil && p.up }
