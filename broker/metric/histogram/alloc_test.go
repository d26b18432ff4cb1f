//go:build !race

package histogram

import "testing"

func TestObserveAllocatesNothing(t *testing.T) {
	h := New(Latency)
	if n := testing.AllocsPerRun(100, func() { h.Observe(123_456) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
