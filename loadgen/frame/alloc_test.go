//go:build !race

package frame

import "testing"

func TestAllocationsPerRequest(t *testing.T) {
	pr, err := NewProduce("t", 4, 1000, NewPayloads(1, 1024))
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, pr.Len())
	pr.Init(frame)
	raw := response(0, 5).AppendTo([]byte{0, 0, 0, 9, 0})
	n := testing.AllocsPerRun(100, func() {
		pr.Patch(frame, 1, 2, 3, 4, 5)
		if _, err := ParseProduced(raw); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}
