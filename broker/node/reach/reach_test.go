package reach

import (
	"testing"

	"ackline/broker/id"
)

func TestMissing(t *testing.T) {
	p := New(map[id.NodeID]string{3: "c:1", 2: "b:1"})
	want := func(text string) {
		t.Helper()
		if got := p.Missing(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	want("2 at b:1, 3 at c:1")
	p.Set(2, true)
	p.Set(9, false) // no peer
	want("3 at c:1")
	p.Set(3, true)
	want("")
	p.Set(2, false)
	want("2 at b:1")
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
