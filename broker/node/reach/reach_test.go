package reach

import (
	"testing"
	"time"

	"ackline/broker/id"
)

func TestMissing(t *testing.T) {
	p := New(map[id.NodeID]string{3: "c:1", 2: "b:1"})
	at := time.Unix(100, 0)
	want := func(text string) {
		t.Helper()
		if got := p.Missing(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	want("2 at b:1, 3 at c:1")
	p.Set(2, true, at)
	p.Set(9, false, at) // no peer
	want("3 at c:1")
	p.Set(3, true, at)
	want("")
	p.Set(2, false, at.Add(time.Minute))
	want("2 at b:1")
	if reached, since, known := p.State(2); reached || !known || !since.Equal(at.Add(time.Minute)) {
		t.Errorf("node 2: %v since %v, known %v", reached, since, known)
	}
	if _, _, known := p.State(9); known {
		t.Error("node 9 is known")
	}
	p.Add(4, "d:1")
	p.Add(2, "b:2")
	want("2 at b:2, 4 at d:1")
	denied := func(after time.Duration, want bool, why string, by ...id.NodeID) (again time.Duration) {
		t.Helper()
		for _, n := range by {
			p.refusedBy(n)
		}
		most, again := p.denied(nobody, at.Add(after))
		if most != want {
			t.Error(why)
		}
		return again
	}
	if denied(0, false, "one of three is most of them", 2, 2, 9) != 0 || denied(time.Hour, false, "one of three is most of them") != 0 {
		t.Error("somebody is to ask again about one of three")
	}
	p.Set(2, true, at)
	denied(0, false, "one that was reached since still counts", 3)
	if again := denied(0, false, "a node that knows nobody yet gives up before the others can have heard of it", 4); again != hearsay {
		t.Errorf("to ask again after %v, want %v", again, hearsay)
	}
	if again := denied(hearsay-1, false, "and before the time is over"); again != 1 {
		t.Errorf("to ask again after %v, want 1ns", again)
	}
	denied(hearsay, true, "two of three are not most of them")
	p.Set(3, true, at.Add(hearsay))
	denied(2*hearsay, false, "what was said before one was reached still counts", 3)
	p.Remove(2)
	want("4 at d:1")
}

// nobody is named by a node's metadata when it has none yet.
func nobody(id.NodeID) (bool, id.Incarnation) { return false, 0 }

// TestRefusedByAllThatAreLeft: a node that was removed is started with the peers of long ago, most of which are gone, and knows the
// others from its metadata.
func TestRefusedByAllThatAreLeft(t *testing.T) {
	p := New(map[id.NodeID]string{2: "b:1", 6: "f:1", 8: "h:1", 11: "k:1", 14: "n:1", 15: "o:1"})
	named := func(n id.NodeID) (bool, id.Incarnation) { return n >= 9, 1 }
	at := time.Unix(100, 0)
	for _, n := range []id.NodeID{2, 11} {
		p.refusedBy(n)
	}
	if most, again := p.denied(named, at); most || again != 0 {
		t.Error("one of three that count is most of them")
	}
	p.refusedBy(14)
	if most, _ := p.denied(named, at); !most {
		t.Error("two of the three that the metadata names are not most of them")
	}
}

func TestOwn(t *testing.T) {
	for _, c := range [][4]string{
		{"127.0.0.1:4711", "127.0.0.1:0", "a:1", "127.0.0.1:4711"},
		{"10.0.0.1:5001", "node1:5001", "a:1", "node1:5001"},
		{"[::]:5001", ":5001", "a:1", "a:5001"},
		{"[::]:5001", "0.0.0.0:5001", "a:1", "a:5001"},
	} {
		if got := Own(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("listening at %s, configured %s, clients at %s: %s, want %s", c[0], c[1], c[2], got, c[3])
		}
	}
}
