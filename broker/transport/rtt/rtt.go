// Package rtt measures how long a message takes to another node and back. The problem is to do so without a message, a timer or a
// system call of its own, and without trusting two clocks to agree: heartbeats go in both directions anyway, at times of their own.
//
// So each heartbeat carries when it was sent, by the sender's clock, and returns to its receiver what that one's newest heartbeat
// said, moved on by how long it has been here since. What is left between that and the receiver's clock is the way there and back:
//
//	A  ──sent a──▶  B  takes it at b
//	A  ◀──echo a+(b'−b)──  B  sends its own heartbeat at b'
//	at a' it is there: the round trip is a' − (a + b' − b)
//
// It is measured where heartbeats are handled, so it includes what a busy reader adds: it is what raft's small messages see.
package rtt

import (
	"sync"
	"time"
)

// Longest is the longest round trip that is believed. What looks longer answers another process: clocks begin anywhere.
const Longest = time.Minute

// Patience is how many round trips whoever waits for an answer waits at least, before it takes the other for dead: a segment that is
// lost is sent again after little more than two, and the second time after four.
const Patience = 5

// Stretch returns how long a tick must be for so many ticks as make a time-out to be Patience times a round trip; it is tick where
// that is enough, and ten times as long at most. What is counted in ticks, heartbeats and leases too, stretches alike.
func Stretch(tick, timeout, trip time.Duration) time.Duration {
	if need := Patience * trip; need > timeout {
		stretched := time.Duration(float64(tick) * float64(need) / float64(timeout))
		return min((stretched + time.Millisecond - 1).Truncate(time.Millisecond), 10*tick)
	}
	return tick
}

// Estimate is what was measured of one pair of nodes. The zero value: nothing yet.
type Estimate struct {
	// Smoothed and Deviation are RFC 6298's SRTT and RTTVAR: each sample moves the first by an eighth and the second by a fourth.
	Smoothed, Deviation time.Duration
	// Least is the shortest sample since the process started, Last the newest.
	Least, Last time.Duration
	Samples     uint64
}

// Add takes a sample.
func (e *Estimate) Add(d time.Duration) {
	if e.Samples++; e.Samples == 1 {
		*e = Estimate{d, d / 2, d, d, 1}
		return
	}
	e.Deviation += ((d - e.Smoothed).Abs() - e.Deviation) / 4
	e.Smoothed += (d - e.Smoothed) / 8
	e.Least, e.Last = min(e.Least, d), d
}

// Meter is one node's side of a pair. Safe for concurrent use.
type Meter struct {
	origin uint64

	mu    sync.Mutex // guards the rest
	sent  uint64     // what the peer's newest heartbeat said, 0: none was heard
	taken int64      // when
	est   Estimate
}

// New returns a meter that has measured nothing. origin is added to this node's clock in what it says. If it is a random number of
// the process, the echo of what an earlier one said is too far off to be believed.
func New(origin uint64) *Meter { return &Meter{origin: origin} }

// Say returns what a heartbeat that is sent now is to carry. now is nanoseconds of a monotonic clock.
func (m *Meter) Say(now int64) (sent, echo uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sent != 0 {
		echo = m.sent + uint64(now-m.taken)
	}
	return m.origin + uint64(now), echo
}

// Hear takes what a heartbeat carried that is handled now.
func (m *Meter) Hear(sent, echo uint64, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent, m.taken = sent, now
	if d := m.origin + uint64(now) - echo; echo != 0 && d <= uint64(Longest) {
		m.est.Add(time.Duration(d))
	}
}

// Estimate returns what was measured so far.
func (m *Meter) Estimate() Estimate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.est
}
