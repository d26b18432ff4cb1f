// Package workload says what records look like: how large they are, which keys they have, how well they compress.
//
// The problem: a system that takes records of one size, without keys, of bytes that do not compress may do quite differently
// with those of an application; but a load that is drawn at random must still be checked byte by byte, and to keep what was
// sent would take more memory than the run has. So everything about a record is a pure function of three numbers, the run's
// seed, the record's stream and its sequence number: the check draws it again. (A key that chooses its record's partition, and so its stream, is
// drawn before there is one: of the seed and a number that the record says.) Nothing here keeps a state, reads a clock
// or allocates once it is set up.
//
// Each distribution has a text form, the same on the command line, in a file and in a result. The functions use package math, so that
// a record is the same for every process of one machine type; between types the last bit of a logarithm may differ.
package workload

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Shape is what the records of a run look like. The zero value leaves all to DefaultBytes, without keys and headers.
type Shape struct {
	// Size is the distribution of the values' sizes, in bytes. Zero means DefaultBytes.
	Size Sizes `json:"size,omitzero"`
	// Key is the distribution of the keys. Zero means none.
	Key Keys `json:"key,omitzero"`
	// Headers are how many each record has and of how many bytes. Zero means none.
	Headers Headers `json:"headers,omitzero"`
	// Ratio is how many times smaller a compressor makes the records of a batch, 1 to MaxRatio: within 15% for values of 512 bytes or more and whichever codec up to
	// SureRatio; above that codecs differ. 0 means filler that costs the generator the least, which does not compress within a record.
	Ratio float64 `json:"ratio,omitempty"`
}

const (
	// DefaultBytes is the size of a value when none is given.
	DefaultBytes = 1024
	// SureRatio is up to where codecs agree.
	SureRatio = 4.0
	// MaxRatio is the highest ratio that can be asked for: snappy spends three bytes on 64, whatever they are.
	MaxRatio = 20.0
)

// Plain reports whether records differ in nothing but their bytes: one size, no key, no headers, the filler that costs the least.
func (s Shape) Plain() bool {
	return s.Size.Min() == s.Size.Max() && s.Key.IsZero() && s.Headers.IsZero() && s.Ratio == 0
}

// String describes it for people.
func (s Shape) String() string {
	out := fmt.Sprintf("values of %s bytes", s.Size)
	if !s.Key.IsZero() {
		out += ", keys " + s.Key.String()
	}
	if !s.Headers.IsZero() {
		out += ", headers " + s.Headers.String()
	}
	if s.Ratio > 0 {
		out += fmt.Sprintf(", ratio %g", s.Ratio)
	}
	return out
}

// Validate says what is wrong with s; values have least to most bytes.
func (s Shape) Validate(least, most int) error {
	switch {
	case s.Size.Min() < least:
		return fmt.Errorf("size %s: the smallest is %d, want %d to %d bytes", s.Size, s.Size.Min(), least, most)
	case s.Size.Max() > most:
		return fmt.Errorf("size %s: the largest is %d, want %d to %d bytes", s.Size, s.Size.Max(), least, most)
	case math.IsNaN(s.Ratio) || s.Ratio != 0 && (s.Ratio < 1 || s.Ratio > MaxRatio):
		return fmt.Errorf("ratio %g: want 1 (does not compress) to %g, or 0 for filler that costs the least", s.Ratio, MaxRatio)
	}
	return nil
}

// Mix is a bijection that leaves no pattern of its argument (the finalizer of SplitMix64).
func Mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// golden is 2^64 divided by the golden ratio: a step whose multiples lie evenly.
const golden = 0x9e3779b97f4a7c15

// What a draw is for: each has numbers of its own.
const (
	forSize = iota + 1
	forKey
	forHeaders
	forFiller
)

// draw returns the record's random number for one purpose.
func draw(seed uint64, stream uint32, seq uint64, purpose uint64) uint64 {
	return Mix(Mix(Mix(seed+purpose*golden)+uint64(stream)*golden) + seq*golden)
}

// unit makes a random number one within (0, 1), of which both ends are left out.
func unit(r uint64) float64 { return (float64(r>>12) + 0.5) / (1 << 52) }

// Bytes returns the size of a record's value.
func (s *Shape) Bytes(seed uint64, stream uint32, seq uint64) int {
	return s.Size.at(draw(seed, stream, seq, forSize))
}

// AppendKey appends a record's key. Without keys it appends nothing.
func (s *Shape) AppendKey(dst []byte, seed uint64, stream uint32, seq uint64) []byte {
	return s.Key.append(dst, draw(seed, stream, seq, forKey), stream, seq)
}

// HeaderValue writes the value of a record's header number i, which is Headers.Bytes long.
func (s *Shape) HeaderValue(dst []byte, seed uint64, stream uint32, seq uint64, i int) {
	random(dst, draw(seed, stream, seq, forHeaders)+uint64(i)*golden)
}

// Fill writes what follows the head of a record's value.
func (s *Shape) Fill(dst []byte, seed uint64, stream uint32, seq uint64) {
	random(dst, draw(seed, stream, seq, forFiller))
	if s.Ratio <= 1 {
		return
	}
	// Stretches of random bytes take turns with stretches of zeros, which each codec finds by whatever means it has.
	size := float64(len(dst) + headBytes)
	turns := max(1, math.Round(size/turnBytes))
	kept := max(0, (size/s.Ratio-headCost)/turns-zerosCost)
	turn := float64(len(dst)) / turns
	for i := range int(turns) {
		from, to := int(float64(i)*turn+kept), int(float64(i+1)*turn)
		clear(dst[min(from, to):to])
	}
}

const (
	// headBytes is what precedes the filler of a value, and headCost what is left of it when it is compressed, of the record's frame too.
	headBytes = 24
	headCost  = 6.0
	// turnBytes is about the length of a stretch of random bytes and one of zeros, and zerosCost how many bytes the zeros take when they are compressed. The
	// longer they are, the more snappy's 3 bytes for 64 differ from the few bytes that the others take; the shorter, the more their entropy coders gain. Measured.
	turnBytes = 320.0
	zerosCost = 5.0
)

// random fills dst with bytes that do not compress.
func random(dst []byte, seed uint64) {
	i := 0
	for ; i+8 <= len(dst); i += 8 {
		seed += golden
		binary.LittleEndian.PutUint64(dst[i:], Mix(seed))
	}
	for last := Mix(seed + golden); i < len(dst); i++ {
		dst[i] = byte(last)
		last >>= 8
	}
}
