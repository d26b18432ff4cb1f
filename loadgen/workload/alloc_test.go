//go:build !race

package workload

import "testing"

func TestAllocationsPerPartition(t *testing.T) {
	k, err := ParseKeys("zipf:1000,1.1")
	if err != nil {
		t.Fatal(err)
	}
	s, buf := Shape{Key: k}, make([]byte, 0, KeyBytes)
	seq := uint64(0)
	if n := testing.AllocsPerRun(1000, func() { Partition(s.AppendKey(buf, 1, 0, seq), 7); seq++ }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
