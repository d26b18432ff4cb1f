// Package crc computes the CRC-32C of bytes from the CRCs of their parts, without reading them again: a CRC is a polynomial's
// remainder, and that of A followed by n bytes is crc(A)·x^(8n) + crc(of the n bytes).
//
// Bytes that were checked when they came are hot in a cache then; a pass over them later, from memory, takes a few times as long.
package crc

import (
	"hash/crc32"
	"math/bits"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CombineFrom is the length, in bytes, from which on arithmetic is cheaper than reading.
const CombineFrom = 8 << 10

// Sum is the CRC-32C of p.
func Sum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Update is the CRC-32C of what has the CRC crc followed by p.
func Update(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// Combine returns the CRC of what has CRC a followed by n bytes that have CRC b.
func Combine(a, b uint32, n int) uint32 { return times(powerOf(8*uint64(n)), a) ^ b }

// Combiner combines CRCs over as many bytes as last time at the cost of one product: producers send batches of one size. The
// zero value is ready; one goroutine at a time.
type Combiner struct {
	n     int
	power uint32
}

// Combine is the function of that name.
func (c *Combiner) Combine(a, b uint32, n int) uint32 {
	if c.n != n || c.power == 0 {
		c.n, c.power = n, powerOf(8*uint64(n))
	}
	return times(c.power, a) ^ b
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
