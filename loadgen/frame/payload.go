// Package frame holds the bytes that the generator sends and reads: payloads that can be told apart and re-derived,
// record batches, and the Produce and Fetch requests, encoded once and patched from then on.
//
// The problem: an instrument must cost next to nothing and the same on both sides of a comparison, yet every record
// must be unique, or a lost, repeated or mixed-up record could not be seen. Encoding a request afresh costs
// microseconds and garbage; here everything in a request is laid out when it is opened, and one operation patches a
// correlation id, a time, the payloads and the CRC: 0.15 µs for a record of 1 KiB. The encoders and decoders are
// written here, from the protocol's description, and share nothing with the broker that is measured, so that a mistake
// common to its encoder and decoder cannot cancel out.
package frame

import (
	"encoding/binary"
	"fmt"
)

// A payload (the value of a record):
//
//	offset  size  field
//	     0     8  run: random per run, so that records of another run in the same topic are told apart
//	     8     4  stream: one sequence of operations into one partition
//	    12     4  size of the payload, in bytes
//	    16     8  sequence number within the stream, from 0
//	    24     –  filler: a window of the run's random pool, at a place that (stream, sequence) selects
//
// Big-endian. The filler makes neighbouring records differ everywhere, does not compress, and costs one copy.
const (
	payloadRunAt    = 0
	payloadStreamAt = 8
	payloadSizeAt   = 12
	payloadSeqAt    = 16
	payloadHeader   = 24

	// MinPayload and MaxPayload bound the size of a payload.
	MinPayload = payloadHeader
	MaxPayload = 64 << 20

	poolWindows = 1 << 16 // a power of two: places where a filler may start
)

// Payloads writes and checks the payloads of one run.
type Payloads struct {
	run  uint64
	size int
	pool []byte // poolWindows + size - payloadHeader bytes, a function of run alone
}

// NewPayloads returns the payloads of size bytes of a run; size between MinPayload and MaxPayload.
func NewPayloads(run uint64, size int) *Payloads {
	if size < MinPayload || size > MaxPayload {
		panic(fmt.Sprintf("frame: payload of %d bytes, want %d to %d", size, MinPayload, MaxPayload))
	}
	p := &Payloads{run: run, size: size, pool: make([]byte, (poolWindows+size-payloadHeader+7)&^7)}
	for i := 0; i < len(p.pool); i += 8 {
		binary.LittleEndian.PutUint64(p.pool[i:], mix(run+uint64(i)*0x9e3779b97f4a7c15))
	}
	return p
}

// Run is the run's number.
func (p *Payloads) Run() uint64 { return p.run }

// Size is the length of every payload.
func (p *Payloads) Size() int { return p.size }

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (p *Payloads) filler(stream uint32, seq uint64) []byte {
	at := mix(uint64(stream)<<40^seq^p.run) & (poolWindows - 1)
	return p.pool[at : at+uint64(p.size-payloadHeader)]
}

// Put writes a payload into dst, which is Size bytes long.
func (p *Payloads) Put(dst []byte, stream uint32, seq uint64) {
	_ = dst[p.size-1]
	binary.BigEndian.PutUint64(dst[payloadRunAt:], p.run)
	binary.BigEndian.PutUint32(dst[payloadStreamAt:], stream)
	binary.BigEndian.PutUint32(dst[payloadSizeAt:], uint32(p.size))
	binary.BigEndian.PutUint64(dst[payloadSeqAt:], seq)
	copy(dst[payloadHeader:p.size], p.filler(stream, seq))
}

// Peek reads the header of a value. ours is false when it is not a payload of this run.
func (p *Payloads) Peek(value []byte) (stream uint32, seq uint64, ours bool) {
	if len(value) < payloadHeader || binary.BigEndian.Uint64(value[payloadRunAt:]) != p.run {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(value[payloadStreamAt:]), binary.BigEndian.Uint64(value[payloadSeqAt:]), true
}

// Verify compares a value with what Put would write for its stream and sequence number, and says where they differ.
func (p *Payloads) Verify(value []byte, stream uint32, seq uint64) error {
	if len(value) != p.size {
		return fmt.Errorf("value of %d bytes, want %d", len(value), p.size)
	}
	if got := binary.BigEndian.Uint32(value[payloadSizeAt:]); got != uint32(p.size) {
		return fmt.Errorf("value says that it has %d bytes, want %d", got, p.size)
	}
	body, want := value[payloadHeader:], p.filler(stream, seq)
	if string(body) == string(want) {
		return nil
	}
	for i := range body {
		if body[i] != want[i] {
			return fmt.Errorf("byte %d of the value is %#02x, want %#02x", payloadHeader+i, body[i], want[i])
		}
	}
	panic("frame: unequal bytes have no difference")
}
