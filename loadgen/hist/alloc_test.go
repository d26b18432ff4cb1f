//go:build !race

package hist

import "testing"

func TestAllocationsPerRecord(t *testing.T) {
	s := NewSet()
	if n := testing.AllocsPerRun(1000, func() { s.Record(0, 10, 20, 200_000) }); n != 0 {
		t.Errorf("%g allocations per recorded operation", n)
	}
}
