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
	for _, by := range []id.NodeID{2, 2, 9} {
		if p.Refused(by) {
			t.Error("one of three is most of them")
		}
	}
	p.Set(2, true, at)
	if p.Refused(3) || !p.Refused(4) {
		t.Error("one that was reached since still counts, or two of three are not most of them")
	}
	p.Remove(2)
	want("4 at d:1")
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
