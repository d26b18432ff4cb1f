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
	"math"
	"sync"
	"time"
)

// Longest is the longest round trip that is believed. What looks longer answers another process: clocks begin anywhere.
const Longest = time.Minute

// Patience is how many round trips a group waits for its leader at least before it elects another. The usual five are an upper bound to
// users, who wait as long; what is measured here is a little more than the network's own round trip, so it is a little less.
const Patience = 4.75

// Silence is how many round trips a node may be silent at least before it is taken for dead. A heartbeat that is lost is sent again when
// three have come behind it, or after little more than two round trips. It is less than Patience: when a leader's node is dead, those who
// survive stand one after the other, instead of each when its own time is over.
const Silence = 4

// Stretch returns how long a tick must be for so many ticks as make a time-out to be Patience times a round trip; it is tick where
// that is enough, and ten times as long at most. What is counted in ticks, heartbeats and leases too, stretches alike, by steps of so small
// a part of a tick as nobody notices, or it would be a new one with each sample.
func Stretch(tick, timeout, trip time.Duration) time.Duration {
	if need := Patience * float64(trip); need > float64(timeout) {
		stretched := time.Duration(float64(tick) * need / float64(timeout))
		return min(max(stretched.Truncate(tick/step), tick), 10*tick)
	}
	return tick
}

// step is what part of a tick ticks are stretched by.
const step = 100

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

// Say returns what a heartbeat that is sent now is to carry: besides what is returned to the peer, how long nothing was heard of it. now is
// nanoseconds of a monotonic clock.
func (m *Meter) Say(now int64) (sent, echo, held uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sent != 0 {
		held = uint64(now - m.taken)
		echo = m.sent + held
	}
	return m.origin + uint64(now), echo, held
}

// Hear takes what a heartbeat carried that is handled now, and returns for how long the peer has not heard this process; 0 if it never has.
func (m *Meter) Hear(sent, echo, held uint64, now int64) (deaf time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent, m.taken = sent, now
	if d := m.origin + uint64(now) - echo; echo != 0 && d <= uint64(Longest) {
		m.est.Add(time.Duration(d))
		deaf = time.Duration(min(held, math.MaxInt64))
	}
	return deaf
}

// Estimate returns what was measured so far.
func (m *Meter) Estimate() Estimate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.est
}
