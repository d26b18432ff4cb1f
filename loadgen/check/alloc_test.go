//go:build !race

package check

import "testing"

// The worst case for the ledger: no two acknowledgements in a row.
func TestAllocationsPerAcknowledgement(t *testing.T) {
	l := NewLedger([]int32{0})
	n := testing.AllocsPerRun(10_000, func() { l.Acked(0, l.streams[0].open.seq+l.streams[0].open.n, 1, 7) })
	if n > 0.01 {
		t.Errorf("%g allocations per acknowledgement", n)
	}
}
