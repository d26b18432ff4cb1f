//go:build !race

package frame

import (
	"testing"

	"ackline/loadgen/place"
)

func TestAllocationsPerRequest(t *testing.T) {
	pr, err := NewProduce("t", 4, 1000, NewPayloads(1, 1024))
	if err != nil {
		t.Fatal(err)
	}
	pr.AskStages()
	frame := make([]byte, pr.Len())
	pr.Init(frame)
	raw := answer(stagesField)
	n := testing.AllocsPerRun(100, func() {
		pr.Patch(frame, 1, 2, 3, 4, 5)
		if p, err := ParseProduced(raw); err != nil || !p.Told {
			t.Fatal(p, err)
		}
	})
	if n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}

// Without compression requests of any shape cost no garbage either.
func TestAllocationsPerShapedRequest(t *testing.T) {
	s, err := NewShaped("t", Asked{Records: 4, TimeoutMS: 1000, Acks: -1}, NewShapedPayloads(1, shape(t, "24..4000", "zipf:1000,1.1", "2x20", 2)))
	if err != nil {
		t.Fatal(err)
	}
	frame, batch := make([]byte, s.MaxLen()), make([]byte, 0, s.MaxLen())
	seq := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		batch, _ = s.Batch(batch[:0], 3, seq)
		s.Frame(frame, batch, 1, 2, nil, 0, 5)
		seq += 4
	})
	if n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}

// Nor do those whose keys chose their partitions.
func TestAllocationsPerDrawnRequest(t *testing.T) {
	p := NewDrawnPayloads(1, shape(t, "32..4000", "zipf:1000,1.1", "none", 0))
	s, err := NewShaped("a,b", Asked{Records: 1, TimeoutMS: 1000, Acks: -1}, p)
	if err != nil {
		t.Fatal(err)
	}
	frame, batch := make([]byte, s.MaxLen()), make([]byte, 0, s.MaxLen())
	seq := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		batch, _ = s.Drawn(batch[:0], 3, seq, 2*seq)
		s.Frame(frame, batch, 1, place.Of(1, 2), nil, 0, 5)
		seq++
	})
	if n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}
