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
