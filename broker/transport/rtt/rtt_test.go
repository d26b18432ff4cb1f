package rtt

import (
	"math/rand/v2"
	"testing"
	"time"
)

// pair is two nodes with clocks of their own, and what is on its way between them.
type pair struct {
	meters [2]*Meter
	skew   [2]int64
	now    int64
}

func (p *pair) say(i int) (sent, echo, held uint64) { return p.meters[i].Say(p.now + p.skew[i]) }
func (p *pair) hear(i int, sent, echo, held uint64) time.Duration {
	return p.meters[i].Hear(sent, echo, held, p.now+p.skew[i])
}
func (p *pair) pass(d time.Duration)           { p.now += int64(d) }
func (p *pair) beat(from int, d time.Duration) { p.overlap(from, d, func() {}) }

// overlap sends a heartbeat that arrives after d, while something else happens.
func (p *pair) overlap(from int, d time.Duration, meanwhile func()) {
	sent, echo, held := p.say(from)
	at := p.now + int64(d)
	meanwhile()
	p.now = max(p.now, at)
	p.hear(1-from, sent, echo, held)
}

func newPair() *pair {
	return &pair{meters: [2]*Meter{New(rand.Uint64()), New(rand.Uint64())}, skew: [2]int64{1, 1 << 40}}
}

// Whatever the clocks say, how long the heartbeats lie apart and which way is the longer one: the round trip is the sum.
func TestRoundTrip(t *testing.T) {
	const there, back = 30 * time.Millisecond, 70 * time.Millisecond
	p := newPair()
	for range 100 {
		p.beat(0, there)
		p.pass(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
		p.beat(1, back)
		p.pass(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
	}
	for i, m := range p.meters {
		e := m.Estimate()
		if e.Smoothed != there+back || e.Least != there+back || e.Last != there+back || e.Samples < 99 {
			t.Errorf("side %d: %+v, want 100ms throughout", i, e)
		}
	}
}

// A heartbeat that crosses another is no trouble: each answers what was there when it was sent.
func TestCrossing(t *testing.T) {
	p := newPair()
	p.beat(0, 50*time.Millisecond)
	p.beat(1, 50*time.Millisecond)
	p.overlap(0, 50*time.Millisecond, func() {
		sent, echo, held := p.say(1)
		p.pass(50 * time.Millisecond)
		p.hear(0, sent, echo, held)
	})
	for i, m := range p.meters {
		if e := m.Estimate(); e.Last != 100*time.Millisecond || e.Samples == 0 {
			t.Errorf("side %d: %+v", i, e)
		}
	}
}

// What an earlier process said, whose clock began elsewhere, comes back to its successor and is not believed.
func TestRestart(t *testing.T) {
	p := newPair()
	p.beat(0, time.Millisecond)
	p.meters[0] = New(rand.Uint64())
	p.beat(1, time.Millisecond)
	if e := p.meters[0].Estimate(); e.Samples != 0 {
		t.Errorf("a new process measured %+v by what the old one had sent", e)
	}
	p.beat(0, time.Millisecond)
	p.beat(1, time.Millisecond)
	if e := p.meters[0].Estimate(); e.Samples != 1 || e.Smoothed != 2*time.Millisecond {
		t.Errorf("then %+v", e)
	}
}

func TestSmoothing(t *testing.T) {
	var e Estimate
	for range 50 {
		e.Add(80 * time.Millisecond)
	}
	if e.Smoothed != 80*time.Millisecond || e.Deviation > time.Microsecond {
		t.Fatalf("a steady round trip is %+v", e)
	}
	e.Add(160 * time.Millisecond)
	if e.Smoothed != 90*time.Millisecond || e.Deviation < 19*time.Millisecond || e.Last != 160*time.Millisecond || e.Least != 80*time.Millisecond {
		t.Errorf("one of twice the length makes %+v, want an eighth of the way and a fourth of the difference", e)
	}
	for range 50 {
		e.Add(160 * time.Millisecond)
	}
	if e.Smoothed < 159*time.Millisecond {
		t.Errorf("after 50 it is still %v", e.Smoothed)
	}
}

func TestStretch(t *testing.T) {
	const tick, election = 10 * time.Millisecond, time.Second
	for trip, want := range map[time.Duration]time.Duration{0: tick, time.Millisecond: tick, 210 * time.Millisecond: tick,
		212 * time.Millisecond: tick, 213 * time.Millisecond: 10100 * time.Microsecond, 300 * time.Millisecond: 14200 * time.Microsecond, time.Second: 47500 * time.Microsecond,
		time.Minute: 100 * time.Millisecond} {
		if got := Stretch(tick, election, trip); got != want {
			t.Errorf("a round trip of %v makes a tick of %v, want %v", trip, got, want)
		}
	}
}

// A peer tells for how long it has heard nothing, and only this process believes it: what an earlier one said, it cannot answer for.
func TestDeaf(t *testing.T) {
	p := newPair()
	deaf := func() time.Duration {
		sent, echo, held := p.say(1)
		p.pass(30 * time.Millisecond)
		return p.hear(0, sent, echo, held)
	}
	if d := deaf(); d != 0 {
		t.Errorf("deaf for %v before it heard anything", d)
	}
	p.beat(0, 10*time.Millisecond)
	p.pass(700 * time.Millisecond)
	if d := deaf(); d != 700*time.Millisecond {
		t.Errorf("deaf for %v, want 700ms", d)
	}
	p.pass(time.Second)
	p.meters[0] = New(rand.Uint64())
	if d := deaf(); d != 0 {
		t.Errorf("a new process is told of %v", d)
	}
}

// A heartbeat costs no memory.
func TestAllocs(t *testing.T) {
	m := New(1)
	if n := testing.AllocsPerRun(100, func() {
		sent, _, _ := m.Say(5)
		m.Hear(sent, sent, 0, 7)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
