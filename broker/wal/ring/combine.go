package ring

import (
	"hash/crc32"
	"math/bits"
)

// A batch's CRC covers its entries, each of which has a CRC of its own already. Reading a mebibyte again for it takes 100 µs of
// the 1.4 ms between two batches, in which nothing is written. So the CRC of a long entry goes into that of the batch by
// arithmetic: a CRC is a polynomial's remainder, and that of A followed by n bytes is crc(A)·x^(8n) + crc(of the n bytes).
//
// The entry's CRC was taken from what the caller gave, not from the copy that is written: a bit that flips in between is found
// when the batch is read, as one that flips on the disk is.

// combineFrom is the length, in bytes, from which on arithmetic is cheaper than reading.
const combineFrom = 8 << 10

// known is a part of a batch whose CRC is known.
type known struct {
	at, n int // bytes
	crc   uint32
}

// shift advances CRCs over as many bytes as last time at the cost of one product: producers send batches of one size.
type shift struct {
	n     int
	power uint32
}

// combine returns the CRC of what has CRC a followed by n bytes that have CRC b.
func (s *shift) combine(a, b uint32, n int) uint32 {
	if s.n != n || s.power == 0 {
		s.n, s.power = n, powerOf(8*uint64(n))
	}
	return times(s.power, a) ^ b
}

// one is the polynomial 1: the highest bit stands for the lowest power.
const one = 1 << 31

// times multiplies polynomials modulo Castagnoli's.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}

// squares[k] is x^(2^k).
var squares = func() (t [64]uint32) {
	t[0] = one >> 1
	for k := 1; k < len(t); k++ {
		t[k] = times(t[k-1], t[k-1])
	}
	return t
}()

// powerOf returns x^n.
func powerOf(n uint64) uint32 {
	p := uint32(one)
	for ; n != 0; n &= n - 1 {
		p = times(squares[bits.TrailingZeros64(n)], p)
	}
	return p
}

// extend returns the CRC of what has CRC crc followed by batch[from:], parts of which are known.
func (s *shift) extend(crc uint32, batch []byte, from int, parts []known) uint32 {
	for _, k := range parts {
		crc = crc32.Update(crc, castagnoli, batch[from:k.at])
		crc = s.combine(crc, k.crc, k.n)
		from = k.at + k.n
	}
	return crc32.Update(crc, castagnoli, batch[from:])
}
