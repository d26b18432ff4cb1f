package echo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the floor's version. Every change that can move its latency raises it, and figures of different floors are
// never compared.
const Version = 2

// A block is what one sync makes durable. Offsets in bytes, integers little-endian; the frames follow the header without
// gaps, each as it came from the socket; zeros fill the block to a multiple of BlockSize. There is no checksum on
// purpose: it would be work that durability alone does not need, and the floor must not do any. What a reader checks
// instead is the magic, the sequence and that the frames' own lengths add up to the payload length.
//
//	offset  size  field
//	     0     8  magic "ACKFLOOR"
//	     8     8  sequence: 1, 2, 3 … over the life of the process; a quorum's leader leaves gaps (package quorum)
//	    16     4  payload length: bytes of frames behind the header
//	    20     4  frames
//	    24     8  zero
//	    32     …  frames
const (
	HeaderBytes = 32
	BlockSize   = 4096

	magic         = "ACKFLOOR"
	offMagic      = 0
	offSequence   = 8
	offPayloadLen = 16
	offFrames     = 20
)

// Header is the decoded head of a block.
type Header struct {
	Sequence   uint64
	PayloadLen int
	Frames     int
}

// PutHeader writes h to the first HeaderBytes of b, save for the zeros, which it takes for granted.
func PutHeader(b []byte, h Header) {
	copy(b[offMagic:], magic)
	binary.LittleEndian.PutUint64(b[offSequence:], h.Sequence)
	binary.LittleEndian.PutUint32(b[offPayloadLen:], uint32(h.PayloadLen))
	binary.LittleEndian.PutUint32(b[offFrames:], uint32(h.Frames))
}

// ErrNoBlock says that the bytes at a position do not begin with a block: never written, or the inside of an older one.
var ErrNoBlock = errors.New("no block here")

// ParseHeader reads the head of a block; ErrNoBlock is its only error.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes || !bytes.Equal(b[:len(magic)], []byte(magic)) {
		return Header{}, ErrNoBlock
	}
	return Header{
		Sequence:   binary.LittleEndian.Uint64(b[offSequence:]),
		PayloadLen: int(binary.LittleEndian.Uint32(b[offPayloadLen:])),
		Frames:     int(binary.LittleEndian.Uint32(b[offFrames:])),
	}, nil
}

// Pad rounds n up to whole blocks.
func Pad(n int) int { return (n + BlockSize - 1) &^ (BlockSize - 1) }

// Summary is what Verify found in a ring file.
type Summary struct {
	Blocks, Frames int
	First, Last    uint64 // sequences of the oldest and newest block that is still whole
	PayloadBytes   int64
}

// Verify reads a ring file of size bytes and calls visit (which may be nil) for each frame of each whole block in the
// file's order, which is the order of the sequence except where the ring wrapped. A block whose frames do not add up is
// an error that names its position; a block that a newer lap has partly overwritten is passed over.
func Verify(f io.ReaderAt, size int64, visit func(h Header, frame []byte) error) (Summary, error) {
	var sum Summary
	head := make([]byte, HeaderBytes)
	for pos := int64(0); pos+BlockSize <= size; {
		if _, err := f.ReadAt(head, pos); err != nil {
			return sum, fmt.Errorf("position %d: %w", pos, err)
		}
		h, err := ParseHeader(head)
		if err != nil {
			pos += BlockSize
			continue
		}
		if h.PayloadLen > int(size-pos)-HeaderBytes {
			return sum, fmt.Errorf("position %d: block %d claims %d bytes, the file ends %d bytes behind it",
				pos, h.Sequence, h.PayloadLen, size-pos-HeaderBytes)
		}
		payload := make([]byte, h.PayloadLen)
		if _, err := f.ReadAt(payload, pos+HeaderBytes); err != nil {
			return sum, fmt.Errorf("position %d: block %d: %w", pos, h.Sequence, err)
		}
		if err := frames(h, payload, visit); err != nil {
			return sum, fmt.Errorf("position %d: block %d: %w", pos, h.Sequence, err)
		}
		if sum.Blocks == 0 || h.Sequence < sum.First {
			sum.First = h.Sequence
		}
		sum.Last = max(sum.Last, h.Sequence)
		sum.Blocks++
		sum.Frames += h.Frames
		sum.PayloadBytes += int64(h.PayloadLen)
		pos += int64(Pad(HeaderBytes + h.PayloadLen))
	}
	return sum, nil
}

// frames walks a block's payload by the frames' own length prefixes.
func frames(h Header, payload []byte, visit func(Header, []byte) error) error {
	n := 0
	for len(payload) > 0 {
		if len(payload) < 4 {
			return fmt.Errorf("frame %d: %d bytes are left, a length takes 4", n, len(payload))
		}
		end := 4 + int(binary.BigEndian.Uint32(payload))
		if end > len(payload) {
			return fmt.Errorf("frame %d: %d bytes long, %d are left", n, end, len(payload))
		}
		if visit != nil {
			if err := visit(h, payload[:end]); err != nil {
				return err
			}
		}
		payload = payload[end:]
		n++
	}
	if n != h.Frames {
		return fmt.Errorf("%d frames, the header says %d", n, h.Frames)
	}
	return nil
}
