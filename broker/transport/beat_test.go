package transport

import (
	"fmt"
	"testing"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

func (n *node) leader(g id.GroupID) frame.Leader {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leaders[g]
}

// What a node leads, its peers hear with a heartbeat: those that are connected once, those that come later all of it.
func TestAnnouncements(t *testing.T) {
	a, b := couple(t, nil)
	const many = 3*frame.MaxBeatItems + 5
	for g := range id.GroupID(many) {
		a.Announce(frame.Leader{Group: g, Term: 3, Replica: 11})
	}
	a.Beat(2)
	until(t, "all announcements", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.leaders) == many })
	a.Announce(frame.Leader{Group: 7, Term: 4, Replica: 12})
	until(t, "a change", func() bool { return b.leader(7) == frame.Leader{Group: 7, Term: 4, Replica: 12} })
	a.Withdraw(8)

	// A heartbeat after that has nothing to say.
	b.mu.Lock()
	clear(b.leaders)
	beats := b.beats
	b.mu.Unlock()
	until(t, "more heartbeats", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.beats > beats+3 })
	if l := b.leader(7); l.Term != 0 {
		t.Errorf("announced again: %v", l)
	}
	// A new connection hears all, but what was withdrawn.
	a.peer(2).links[frame.Control].Break()
	until(t, "all of it again", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.leaders) == many-1 })
	if l := b.leader(8); l.Term != 0 {
		t.Errorf("withdrawn and announced: %v", l)
	}
	c := newNode(t, testConfig(3)).start(anywhere)
	c.AddPeer(1, a.addr)
	a.AddPeer(3, c.addr)
	until(t, "a new node to hear it", func() bool { return c.leader(7).Term == 4 })
}

// ReadIndex asks and is answered over heartbeats.
func TestReads(t *testing.T) {
	a, b := couple(t, nil)
	q := frame.Read{Group: 1, Term: 2, Context: 3}
	until(t, "a connection", func() bool { return a.Ask(2, q) })
	a.Beat(2)
	reads := func(n *node) string { n.mu.Lock(); defer n.mu.Unlock(); return fmt.Sprint(n.reads) }
	until(t, "the question", func() bool { return reads(b) == "[{1 2 3 false}]" })
	q.Answer = true
	b.Ask(1, q)
	b.Beat(1)
	until(t, "the answer", func() bool { return reads(a) == "[{1 2 3 true}]" })
	if a.Ask(2, make([]frame.Read, maxReads+1)...) {
		t.Error("more questions than may wait were taken")
	}
	if a.Ask(9, q) {
		t.Error("asked a node that is no peer")
	}
	b.Close()
	until(t, "to be refused without a connection", func() bool { return !a.Ask(2, q) })
}

// A heartbeat carries reads before leaders, and of both as many as there is room for, each once.
func TestTable(t *testing.T) {
	a := table{all: map[id.GroupID]frame.Leader{}}
	for g := range id.GroupID(frame.MaxBeatItems) {
		a.all[g] = frame.Leader{Group: g, Term: 1}
	}
	p := &peer{}
	a.connected(p, true)
	p.pending.reads = make([]frame.Read, frame.MaxBeatItems-10)
	if a.send(p, func(*frame.Heartbeat) bool { return false }) || len(p.pending.leaders) != frame.MaxBeatItems || len(p.pending.reads) == 0 {
		t.Error("what could not be sent is not pending any more")
	}
	seen := map[id.GroupID]bool{}
	var sizes []string
	for more := true; more; {
		more = a.send(p, func(h *frame.Heartbeat) bool {
			sizes = append(sizes, fmt.Sprint(len(h.Leaders), "+", len(h.Reads)))
			for _, l := range h.Leaders {
				if seen[l.Group] {
					t.Errorf("group %d twice", l.Group)
				}
				seen[l.Group] = true
			}
			return true
		})
	}
	if fmt.Sprint(sizes) != "[10+2038 2038+0]" || len(seen) != frame.MaxBeatItems {
		t.Errorf("heartbeats of %v", sizes)
	}
	a.connected(p, false)
	if p.pending.leaders != nil || p.pending.connected {
		t.Error("something is pending for who is not connected")
	}
}
