package ring

import (
	"math/rand/v2"
	"testing"

	"ackline/broker/crc"
	"ackline/broker/id"
)

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestSealedCRCIsThatOfTheBytes: whatever a batch is made of, its CRC is that of the bytes as they are written; and a bit that
// flips in them is found, in those too that were not read for it.
func TestSealedCRCIsThatOfTheBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var b Builder
	for round := range 50 {
		b.Reset(1 << 16)
		for g := range id.GroupID(1 + rng.IntN(4)) {
			es := make([]Entry, 1+rng.IntN(4))
			for i := range es {
				n := rng.IntN(100)
				if rng.IntN(2) == 0 {
					n = crc.CombineFrom - 9 + rng.IntN(3*crc.CombineFrom)
				}
				es[i] = Entry{Index: id.Index(i + 1), Term: 1, Data: random(rng, n)}
				if rng.IntN(3) == 0 {
					es[i].CRC = crc.Sum(es[i].Data)
				}
			}
			b.Entries(g, 1, es)
			b.HardState(g, 1, HardState{Term: 1})
		}
		if round%10 == 0 { // the last batch of a ring that is opened, written again by its records
			batch, _ := b.Seal(&Header{LSN: 4096})
			again := append([]byte(nil), batch...)
			records := b.Records()
			b.Reset(1 << 16)
			b.Repeat(again, records)
		}
		batch, _ := b.Seal(&Header{LSN: 4096, Generation: uint64(round)})
		if !checkCRC(batch) {
			t.Fatalf("round %d: a batch of %d bytes, %d parts of which were not read, fails its check", round, len(batch), len(b.known))
		}
		at, bit := rng.IntN(len(batch)), byte(1)<<rng.IntN(8)
		if n := len(b.known); n > 0 {
			at = b.known[rng.IntN(n)].at + rng.IntN(crc.CombineFrom-9)
		}
		batch[at] ^= bit
		if checkCRC(batch) {
			t.Fatalf("round %d: a flipped bit at %d is not found", round, at)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	var w Builder
	es := make([]Entry, 16)
	for i := range es {
		es[i] = Entry{Index: id.Index(i + 1), Term: 1, Data: make([]byte, 66_222)}
	}
	w.Reset(1 << 20)
	w.Entries(1, 1, es)
	b.SetBytes(int64(w.Len()))
	for b.Loop() {
		w.Seal(&Header{LSN: 4096})
	}
}

func BenchmarkSealByReading(b *testing.B) {
	batch := make([]byte, 16*66_246+HeaderSize)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		(&Header{LSN: 4096}).Seal(batch)
	}
}
