package result

import "testing"

func TestSlowestKeepsTheSlowest(t *testing.T) {
	s := NewSlowest(100)
	z := uint64(1)
	for range 10_000 {
		z = z*6364136223846793005 + 1442695040888963407
		took := int64(z >> 40)
		if s.Wants(took) {
			s.Add(TailOp{Acked: took})
		}
	}
	z = 1
	var all []int64
	for range 10_000 {
		z = z*6364136223846793005 + 1442695040888963407
		all = append(all, int64(z>>40))
	}
	least := s.Forgot()
	above := 0
	for _, v := range all {
		if v > least {
			above++
		}
	}
	if above != 99 || len(s.Ops()) != 100 {
		t.Errorf("%d of 10,000 are slower than the least slow of the %d remembered, want 99", above, len(s.Ops()))
	}
}
