package crc

import (
	"math/rand/v2"
	"testing"
)

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestCombineIsTheCRCOfBoth compares with reading both parts.
func TestCombineIsTheCRCOfBoth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var c Combiner
	for _, n := range []int{0, 1, 2, 7, 8, 255, 4096, 66_222, 66_222, 1 << 20, 66_222, rng.IntN(1 << 16)} {
		a, b := random(rng, rng.IntN(1000)), random(rng, n)
		want := Update(Sum(a), b)
		if got := c.Combine(Sum(a), Sum(b), n); got != want {
			t.Errorf("%d bytes behind %d: CRC %08x, reading them gives %08x", n, len(a), got, want)
		}
		if got := Combine(Sum(a), Sum(b), n); got != want {
			t.Errorf("%d bytes behind %d, without a Combiner: CRC %08x, reading them gives %08x", n, len(a), got, want)
		}
	}
}
