//go:build !race

package transport

import "testing"

// One MsgApp and its answer, from one handler to the other: the frame and its entries are what is allocated, because raft
// keeps them; the answer costs nothing.
func TestRoundTripAllocations(t *testing.T) {
	a, _, answers, answered := echoes(t)
	ms := app(1, make([]byte, 1000))
	n := int64(0)
	round := func() {
		n++
		a.Send(2, 1, ms)
		for answers.Load() < n {
			<-answered
		}
	}
	for range 100 {
		round()
	}
	if got := testing.AllocsPerRun(500, round); got > 2.1 {
		t.Errorf("%.2f allocations per round trip, want 2", got)
	}
}
