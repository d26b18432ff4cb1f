package detect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// transcript runs lines of "MS VERB ARGS", each followed by what is expected of it behind "->": events, and what the verb
// returned. Processes are named a1, a2 (the same data directory, started twice) and b1. Connections are named by the test.
//
//	10 meet a1             a handshake with peer 2
//	10 open in s           a control connection opens, to be called s; with the process of the last meet
//	20 close in s
//	30 refused
//	40 beat s [MS]         a heartbeat; the peer has been deaf for MS milliseconds
//	50 tick [next]         with next it returns when to tick again
type transcript struct {
	t     *testing.T
	d     *Detector
	who   frame.Identity
	lines map[string]Line
}

const peerID id.NodeID = 2

func process(name string) frame.Identity {
	return frame.Identity{Incarnation: id.Incarnation(name[0]), Boot: uint64(name[1] - '0')}
}

func name(i frame.Identity) string {
	if i == (frame.Identity{}) {
		return "nobody"
	}
	return fmt.Sprintf("%c%d", rune(i.Incarnation), i.Boot)
}

func (s *transcript) line(text string) {
	s.t.Helper()
	call, want, _ := strings.Cut(text, "->")
	var ms int64
	var verb, a, b string
	fmt.Sscan(call, &ms, &verb, &a, &b)
	now := ms * int64(time.Millisecond)
	var got []string
	direction := map[string]Direction{"in": In, "out": Out}[a]
	switch verb {
	case "meet":
		s.who = process(a)
		changed, err := s.d.Meet(peerID, s.who, now)
		var dup *DuplicateError
		switch {
		case errors.As(err, &dup):
			got = append(got, fmt.Sprintf("duplicate of %s after %dms", name(dup.Known), dup.Silence.Milliseconds()))
		case err != nil:
			got = append(got, err.Error())
		case changed:
			got = append(got, "changed")
		}
	case "open":
		if s.lines[b] = s.d.Open(peerID, s.who, direction); s.lines[b] == 0 {
			got = append(got, "replaced")
		}
	case "close":
		s.d.Closed(peerID, direction, s.lines[b], now)
	case "refused":
		s.d.Refused(peerID, now)
	case "beat":
		deaf, _ := strconv.Atoi(b)
		s.d.Heartbeat(peerID, s.lines[a], now, time.Duration(deaf)*time.Millisecond)
	case "busy":
		s.d.Excuse(peerID, now)
	case "tick":
		next := s.d.Tick(now)
		if a == "next" {
			got = append(got, fmt.Sprintf("at %v", time.Duration(next)))
		}
	case "add":
		s.d.Add(peerID)
	case "remove":
		s.d.Remove(peerID)
	default:
		s.t.Fatalf("no verb in %q", text)
	}
	for _, e := range s.d.Take() {
		switch e.Kind {
		case Up:
			got = append(got, "up "+name(e.Identity))
		case Down:
			got = append(got, fmt.Sprintf("down %s %v after %dms", name(e.Identity), e.Reason, e.Silence.Milliseconds()))
		case NewIncarnation:
			got = append(got, fmt.Sprintf("new %s was %s", name(e.Identity), name(e.Old)))
		}
	}
	if g := strings.Join(got, ", "); g != strings.TrimSpace(want) {
		s.t.Errorf("%s: got %q, want %q", strings.TrimSpace(call), g, strings.TrimSpace(want))
	}
}

const alive = `
		0 add
		0 meet a1
		0 open in i
		0 open out o
		100 beat i -> up a1
	`

// run runs transcripts. The time-out is 1 s in all of them.
func run(t *testing.T, transcripts map[string]string) {
	for name, text := range transcripts {
		t.Run(name, func(t *testing.T) {
			s := &transcript{t: t, d: New(time.Second), lines: map[string]Line{}}
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); line != "" {
					s.line(line)
				}
			}
		})
	}
}

func TestDeathAndLife(t *testing.T) {
	run(t, map[string]string{
		"up on the first heartbeat, once": alive + `
			200 beat i
			300 tick
			300 beat i`,
		"death: closed and refused": alive + `
			200 beat i
			210 close out o
			211 close in i
			212 refused -> down a1 refused after 12ms
			220 refused`,
		"death: the redial is refused before the last close is seen": alive + `
			210 close out o
			211 refused
			212 close in i -> down a1 refused after 112ms`,
		"refused, but it still speaks: its listener is gone, it is not": alive + `
			210 close out o
			211 refused
			220 beat i
			300 refused`,
		"closed, and the redial succeeds": alive + `
			210 close out o
			211 close in i
			212 open out o2
			213 close out o2
			214 open out o3
			300 open in i2
			310 beat i2`,
		"a refusal of before the connection does not count": `
			0 add
			10 refused
			20 meet a1
			20 open out o
			20 open in i
			30 beat i -> up a1
			40 close out o
			40 close in i
			50 refused -> down a1 refused after 20ms`,
		"never seen is not an event": `
			0 add
			10 refused
			500 tick
			1000 tick
			5000 tick`,
		"silent death, and back": alive + `
			500 tick
			900 tick
			1100 tick
			1101 tick -> down a1 silent after 1001ms
			1400 tick
			1500 beat i -> up a1`,
		"a heartbeat in time is enough": alive + `
			500 tick
			900 tick
			1099 beat i
			1300 tick
			1700 tick
			2098 tick
			2100 tick -> down a1 silent after 1001ms`,
		"who hears nothing is as dead as who says nothing, and at the same time": alive + `
			500 tick
			600 beat i 400
			900 tick
			1000 beat i 800
			1200 tick
			1201 tick -> down a1 silent after 1001ms
			1300 beat i 1100
			1500 tick
			1600 beat i 1400
			1700 beat i 20 -> up a1
			2100 tick
			2600 tick`,
		"a heartbeat that was late on its way takes nothing back": alive + `
			500 tick
			600 beat i
			610 beat i 550
			1000 tick
			1300 tick
			1600 tick
			1601 tick -> down a1 silent after 1001ms`,
		"the next look is when somebody could be dead": alive + `
			500 tick next -> at 1.100000001s
			900 beat i 300
			950 tick next -> at 1.600000001s
			1400 tick
			1601 tick next -> at 2562047h47m16.854775807s, down a1 silent after 1001ms`,
		"who slept does not blame others": alive + `
			200 tick
			5000 tick
			5100 beat i
			5400 tick`,
		"who slept gives a new time-out, not more": alive + `
			200 tick
			5000 tick
			5400 tick
			5800 tick
			6000 tick
			6001 tick -> down a1 silent after 1001ms`,
		"who does not read does not blame others": alive + `
			500 tick
			900 busy
			900 tick
			1300 busy
			1300 tick
			1700 tick
			2100 tick
			2300 tick
			2301 tick -> down a1 silent after 1001ms
			2400 busy
			2400 tick`,
	})
}

func TestOtherProcesses(t *testing.T) {
	run(t, map[string]string{
		"restart behind closed connections": alive + `
			200 close in i
			200 close out o
			210 meet a2 -> changed, down a1 restarted after 110ms
			210 open in i2
			220 beat i2 -> up a2`,
		"another data directory behind closed connections": alive + `
			200 close in i
			200 close out o
			210 meet b1 -> changed, down a1 reborn after 110ms, new b1 was a1
			210 open in i2
			220 beat i2 -> up b1`,
		"another data directory after death": alive + `
			200 close in i
			200 close out o
			210 refused -> down a1 refused after 110ms
			300 meet b1 -> changed, new b1 was a1
			300 open in i2
			310 beat i2 -> up b1`,
		"two at once: the newcomer is refused, by both of its connections": alive + `
			200 meet b1 -> duplicate of a1 after 100ms
			200 open in x -> replaced
			300 beat i
			310 meet a2 -> duplicate of a1 after 10ms
			320 meet a1
			330 beat i`,
		"one connection that is open is enough to be two": alive + `
			200 close in i
			210 meet b1 -> duplicate of a1 after 110ms`,
		"but not one that has been silent for too long": alive + `
			500 tick
			1100 meet b1 -> changed, down a1 reborn after 1000ms, new b1 was a1
			1100 open in j
			1110 beat i
			1120 close in i
			1130 close out o
			1140 beat j -> up b1`,
		"what a replaced process still sends counts for nothing": alive + `
			500 tick
			1200 meet a2 -> changed, down a1 restarted after 1100ms
			1210 beat i
			1220 open in j
			1230 beat i
			1240 beat j -> up a2
			1250 close in i
			1260 refused`,
		"a connection that takes an older one's place": alive + `
			200 open in i2
			210 close in i
			220 close out o
			230 refused
			240 beat i2
			250 close in i2 -> down a1 refused after 10ms`,
		"a peer that is removed is forgotten": alive + `
			200 remove
			210 beat i
			220 close in i
			230 refused
			240 meet b1
			250 open in x -> replaced
			300 add
			310 meet b1
			310 open in y
			320 beat y -> up b1`,
	})
}

// Events of several peers come in the order of their ids, so that the same times give the same events.
func TestSilenceOfManyIsInOrder(t *testing.T) {
	d := New(time.Second)
	who := process("a1")
	for _, n := range []id.NodeID{9, 3, 7, 1} {
		d.Add(n)
		d.Meet(n, who, 0)
		d.Heartbeat(n, d.Open(n, who, In), 1, 0)
		d.Add(n)
	}
	d.Take()
	d.Remove(7)
	d.Tick(5e8)
	d.Tick(9e8)
	d.Tick(13e8)
	got := ""
	for _, e := range d.Take() {
		got += fmt.Sprintf("%d%v ", e.Peer, e.Kind == Down)
	}
	if got != "1true 3true 9true " || d.IsUp(1) {
		t.Errorf("got %q", got)
	}
}

func TestDuplicateSaysWhatToDo(t *testing.T) {
	for who, want := range map[string]string{"b1": "another data directory", "a2": "a copy of the data directory, or was restarted just now"} {
		err := &DuplicateError{Peer: 2, Known: process("a1"), New: process(who), Silence: 12345 * time.Microsecond}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "node id 2 was heard from 12ms ago") {
			t.Errorf("%v", err)
		}
	}
}

// One that is far away may be silent for longer.
func TestPatience(t *testing.T) {
	const s = int64(time.Second)
	d := New(time.Second)
	d.Add(peerID)
	d.Meet(peerID, process("a1"), s)
	d.Heartbeat(peerID, d.Open(peerID, process("a1"), In), s, 0)
	d.Patient(peerID, 3*time.Second)
	d.Patient(9, time.Second) // nobody
	for at := s; at <= 4*s; at += s / 4 {
		d.Tick(at)
	}
	if !d.IsUp(peerID) {
		t.Fatal("dead before its time")
	}
	d.Patient(peerID, 0)
	d.Tick(4*s + s/4)
	if d.IsUp(peerID) {
		t.Fatal("alive although it is silent and near")
	}
}
