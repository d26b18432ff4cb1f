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

	"ackline/loadgen/workload"
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
// Where keys choose partitions, the filler of every payload begins with 8 bytes that say which key it has (see NewDrawnPayloads).
//
// Big-endian. The filler makes neighbouring records differ everywhere, does not compress, and costs one copy. Records of a shape that is not plain have the
// filler that the shape says instead.
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

// Payloads writes and checks the records of one run.
type Payloads struct {
	run        uint64
	size       int             // of a payload, or of the largest one
	pool       []byte          // poolWindows + size - payloadHeader bytes, a function of run alone; nil with a shape
	shape      *workload.Shape // nil: plain
	headersLen int
	drawn      bool // keys are drawn for the run as a whole
}

// NewPayloads returns the payloads of size bytes of a run; size between MinPayload and MaxPayload.
func NewPayloads(run uint64, size int) *Payloads {
	if size < MinPayload || size > MaxPayload {
		panic(fmt.Sprintf("frame: payload of %d bytes, want %d to %d", size, MinPayload, MaxPayload))
	}
	p := &Payloads{run: run, size: size, headersLen: 1, pool: make([]byte, (poolWindows+size-payloadHeader+7)&^7)}
	for i := 0; i < len(p.pool); i += 8 {
		binary.LittleEndian.PutUint64(p.pool[i:], workload.Mix(run+uint64(i)*0x9e3779b97f4a7c15))
	}
	return p
}

// NewShapedPayloads returns the payloads of a run whose records have a shape, which must be valid from MinPayload to MaxPayload.
func NewShapedPayloads(run uint64, shape workload.Shape) *Payloads {
	if err := shape.Validate(MinPayload, MaxPayload); err != nil {
		panic("frame: " + err.Error())
	}
	if shape.Plain() {
		return NewPayloads(run, shape.Size.Max())
	}
	p := &Payloads{run: run, size: shape.Size.Max(), shape: &shape}
	p.headersLen = len(p.appendHeaders(nil, 0, 0))
	return p
}

// A record whose key chooses its partition belongs to the stream of that partition, so that its key cannot follow from its number there. It is drawn before, by a
// number that counts through the run's records, and the payload says which one that was:
//
//	offset  size  field
//	    24     5  number of the draw
//	    29     3  of a hash of it and of the stream and sequence number: a draw that was changed is no draw of this record
//	    32     –  filler
const (
	payloadDrawAt = payloadHeader
	drawnHeader   = payloadHeader + 8
	drawShift     = 24
	// MinDrawn is the size of the smallest payload that says its draw.
	MinDrawn = drawnHeader
)

// NewDrawnPayloads returns the payloads of a run whose records' keys choose their partitions. The shape has keys and is valid from MinDrawn to MaxPayload.
func NewDrawnPayloads(run uint64, shape workload.Shape) *Payloads {
	if err := shape.Validate(MinDrawn, MaxPayload); err != nil || shape.Key.IsZero() {
		panic(fmt.Sprintf("frame: payloads of drawn keys %s: %v", shape.Key, err))
	}
	p := NewShapedPayloads(run, shape)
	p.drawn = true
	return p
}

// Drawn reports whether keys choose the partitions.
func (p *Payloads) Drawn() bool { return p.drawn }

// DrawnKey appends the key that a draw gives.
func (p *Payloads) DrawnKey(dst []byte, draw uint64) []byte {
	return p.shape.AppendKey(dst, p.run, 0, draw)
}

// draw is a draw as it stands in the payload of a record.
func (p *Payloads) draw(stream uint32, seq, draw uint64) uint64 {
	return draw<<drawShift | workload.Mix(p.run^workload.Mix(uint64(stream)<<40^seq)^draw)>>(64-drawShift)
}

// Shape is what records look like; nil when they are plain.
func (p *Payloads) Shape() *workload.Shape { return p.shape }

// Plain reports whether records differ in nothing but their bytes.
func (p *Payloads) Plain() bool { return p.shape == nil }

// Bytes is the length of one payload.
func (p *Payloads) Bytes(stream uint32, seq uint64) int {
	if p.shape == nil {
		return p.size
	}
	return p.shape.Bytes(p.run, stream, seq)
}

// Key appends a record's key, if it has one. Where keys are drawn it is DrawnKey's.
func (p *Payloads) Key(dst []byte, stream uint32, seq uint64) []byte {
	if p.shape == nil {
		return dst
	}
	return p.shape.AppendKey(dst, p.run, stream, seq)
}

// Run is the run's number.
func (p *Payloads) Run() uint64 { return p.run }

// Size is the length of every payload, or of the largest.
func (p *Payloads) Size() int { return p.size }

func (p *Payloads) filler(stream uint32, seq uint64) []byte {
	at := workload.Mix(uint64(stream)<<40^seq^p.run) & (poolWindows - 1)
	return p.pool[at : at+uint64(p.size-payloadHeader)]
}

// Put writes a payload into dst, which is Bytes long.
func (p *Payloads) Put(dst []byte, stream uint32, seq uint64) { p.PutDrawn(dst, stream, seq, 0) }

// PutDrawn is Put for a record whose key is that of a draw, where keys are drawn; elsewhere the draw is passed over.
func (p *Payloads) PutDrawn(dst []byte, stream uint32, seq, draw uint64) {
	n := p.size
	if p.shape != nil {
		n = len(dst)
	}
	_ = dst[n-1]
	binary.BigEndian.PutUint64(dst[payloadRunAt:], p.run)
	binary.BigEndian.PutUint32(dst[payloadStreamAt:], stream)
	binary.BigEndian.PutUint32(dst[payloadSizeAt:], uint32(n))
	binary.BigEndian.PutUint64(dst[payloadSeqAt:], seq)
	if p.drawn {
		binary.BigEndian.PutUint64(dst[payloadDrawAt:], p.draw(stream, seq, draw))
		p.shape.Fill(dst[drawnHeader:n], p.run, stream, seq)
		return
	}
	if p.shape != nil {
		p.shape.Fill(dst[payloadHeader:n], p.run, stream, seq)
		return
	}
	copy(dst[payloadHeader:n], p.filler(stream, seq))
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
	size := p.Bytes(stream, seq)
	if len(value) != size {
		return fmt.Errorf("value of %d bytes, want %d", len(value), size)
	}
	if got := binary.BigEndian.Uint32(value[payloadSizeAt:]); got != uint32(size) {
		return fmt.Errorf("value says that it has %d bytes, want %d", got, size)
	}
	if p.shape == nil {
		return differ("value", value, p.filler(stream, seq), payloadHeader)
	}
	from := payloadHeader
	if p.drawn {
		from = drawnHeader
		if got := binary.BigEndian.Uint64(value[payloadDrawAt:]); got != p.draw(stream, seq, got>>drawShift) {
			return fmt.Errorf("bytes %d to %d of the value, %#x, are no draw of this record", payloadDrawAt, drawnHeader-1, got)
		}
	}
	want := make([]byte, size-from)
	p.shape.Fill(want, p.run, stream, seq)
	return differ("value", value, want, from)
}

// VerifyRecord does so for all of a record: its value, its key and its headers.
func (p *Payloads) VerifyRecord(r Record, stream uint32, seq uint64) error {
	if err := p.Verify(r.Value, stream, seq); err != nil {
		return err
	}
	want := p.key(r.Value, stream, seq)
	if (r.Key == nil) != (want == nil) || len(r.Key) != len(want) {
		return fmt.Errorf("key %q, want %q", r.Key, want)
	}
	if err := differ("key", r.Key, want, 0); err != nil {
		return err
	}
	want = p.appendHeaders(nil, stream, seq)
	if len(r.Headers) != len(want) {
		return fmt.Errorf("headers of %d bytes, want %d", len(r.Headers), len(want))
	}
	return differ("headers", r.Headers, want, 0)
}

// key is the key that a verified record should have.
func (p *Payloads) key(value []byte, stream uint32, seq uint64) []byte {
	if p.drawn {
		return p.DrawnKey(nil, binary.BigEndian.Uint64(value[payloadDrawAt:])>>drawShift)
	}
	return p.Key(nil, stream, seq)
}

// differ compares got from a byte on with want, which is as long as that.
func differ(what string, got, want []byte, from int) error {
	if string(got[from:]) == string(want) {
		return nil
	}
	for i := range want {
		if got[from+i] != want[i] {
			return fmt.Errorf("byte %d of the %s is %#02x, want %#02x", from+i, what, got[from+i], want[i])
		}
	}
	panic("frame: unequal bytes have no difference")
}
