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
	"sync"
	"time"

	"ackline/loadgen/pace"
	"ackline/tools/netlab/line"
)

// Wire is one direction between two hosts.
type Wire struct {
	alarm *alarm
	done  chan struct{}

	mu     sync.Mutex // guards what is below; held for no I/O
	line   *line.Line[chunk]
	wakeNS int64 // what the alarm is set to
	closed bool
}

// chunk is what goes through a wire: a step in the life of a connection.
type chunk struct {
	to   *half
	what step
	data []byte
}

// headerBytes is what a chunk weighs on the wire besides its data: the headers of IP and TCP, of a packet.
const headerBytes = 40

// NewWire starts a wire. The seed decides about jitter and loss.
func NewWire(q line.Quality, seed uint64) (*Wire, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	w := &Wire{alarm: a, done: make(chan struct{}), line: line.New[chunk](q, seed)}
	go w.run()
	return w, nil
}

// Set changes what happens to what is sent from now on.
func (w *Wire) Set(q line.Quality) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Set(q)
}

// Hold stops the wire: what comes waits in it.
func (w *Wire) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Hold()
}

// Release lets a wire that was held go on, with what waits in it.
func (w *Wire) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Release(pace.Now())
	w.arm()
}

// Close stops the wire for good. What is under way is lost.
func (w *Wire) Close() {
	w.mu.Lock()
	was := w.closed
	w.closed = true
	w.mu.Unlock()
	if !was {
		_ = w.alarm.close() // a timer has nothing to lose
	}
	<-w.done
}

// send puts a chunk on its way.
func (w *Wire) send(c chunk) {
	now := pace.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	empty := w.line.Len() == 0
	w.line.In(now, len(c.data)+headerBytes, c)
	if empty {
		w.arm()
	}
}

// arm sets the alarm to the next deadline. Needs mu.
func (w *Wire) arm() {
	if deadline, ok := w.line.Next(); ok && !w.closed {
		w.wakeNS = w.alarm.set(deadline)
	}
}

// run delivers what is due. Order holds, so there is nothing that could be due before what the alarm is set to.
func (w *Wire) run() {
	defer close(w.done)
	for w.alarm.wait() {
		w.mu.Lock()
		w.alarm.pace.Woke(w.wakeNS, pace.Now())
		deadline, ok := w.line.Next()
		w.mu.Unlock()
		if !ok || deadline-pace.Now() > 2*spinNS { // held meanwhile, or put off
			w.rearm()
			continue
		}
		for pace.Now() < deadline {
		}
		for {
			w.mu.Lock()
			c, ok := w.line.Out(pace.Now())
			w.mu.Unlock()
			if !ok {
				break
			}
			c.to.deliver(c)
		}
		w.rearm()
	}
}

func (w *Wire) rearm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arm()
}

// most is how many bytes of a connection may be on this wire: what fits into it and a queue before it. A wire without a limit takes what
// fits into TCP's greatest usual window.
func (w *Wire) most() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.line.Quality()
	if q.BytesPerSecond == 0 {
		return mostBytes
	}
	inside := q.BytesPerSecond * (time.Duration(q.DelayNS + q.JitterNS)).Seconds()
	return int(min(inside+queueBytes, mostBytes))
}

const (
	mostBytes  = 16 << 20
	queueBytes = 256 << 10
)
