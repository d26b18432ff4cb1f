package frame

import "fmt"

// A snapshot's data comes in chunks, each with where it belongs:
//
//	0  8  offset of the data in the snapshot
//	8     the data, at least a byte
//
// Then the end:
//
//	 0  8  bytes in all chunks
//	 8  4  CRC-32C of all of them
//	12  4  flags: 1 = the sender could not read on; what came is not the whole snapshot
//
// And what became of it, from the receiver, at any time:
//
//	0  4  0 = taken, 1 = failed
//	4     why, in words, to the end
const (
	// ChunkHead is what stands before a chunk's data.
	ChunkHead = HeaderSize + 8
	// MaxChunk bounds a chunk's data.
	MaxChunk = 256 << 10
	// MaxChunkBody bounds the frames of a snapshot's data.
	MaxChunkBody = 8 + MaxChunk

	endSize    = 16
	resultSize = 4

	flagAborted = 1
)

// SealChunk makes a frame of b, whose data stands behind ChunkHead bytes.
func SealChunk(b []byte, offset uint64) []byte {
	le.PutUint64(b[HeaderSize:], offset)
	return Seal(b, KindChunk)
}

// DecodeChunk decodes a chunk's body. The data refers to it.
func DecodeChunk(body []byte) (offset uint64, data []byte, err error) {
	if len(body) <= 8 {
		return 0, nil, fmt.Errorf("%w: chunk of %d bytes", ErrFormat, len(body))
	}
	return le.Uint64(body), body[8:], nil
}

// End closes a snapshot.
type End struct {
	Bytes   uint64
	CRC     uint32
	Aborted bool
}

// Frame encodes it, with its header.
func (e *End) Frame() []byte {
	b := make([]byte, HeaderSize, HeaderSize+endSize)
	b = le.AppendUint64(b, e.Bytes)
	b = le.AppendUint32(b, e.CRC)
	flags := uint32(0)
	if e.Aborted {
		flags = flagAborted
	}
	return Seal(le.AppendUint32(b, flags), KindEnd)
}

// DecodeEnd decodes an end's body.
func DecodeEnd(body []byte) (End, error) {
	if len(body) != endSize || le.Uint32(body[12:])&^flagAborted != 0 {
		return End{}, fmt.Errorf("%w: end % x", ErrFormat, body)
	}
	return End{le.Uint64(body), le.Uint32(body[8:]), le.Uint32(body[12:]) == flagAborted}, nil
}

// Result says whether a snapshot was taken.
type Result struct {
	Failed bool
	Text   string
}

// Frame encodes it, with its header.
func (r *Result) Frame() []byte {
	b := make([]byte, HeaderSize, HeaderSize+resultSize+len(r.Text))
	code := uint32(0)
	if r.Failed {
		code = 1
	}
	return Seal(append(le.AppendUint32(b, code), clip(r.Text)...), KindResult)
}

// DecodeResult decodes a result's body.
func DecodeResult(body []byte) (Result, error) {
	if len(body) < resultSize || len(body) > resultSize+MaxText || le.Uint32(body) > 1 {
		return Result{}, fmt.Errorf("%w: result % x", ErrFormat, body)
	}
	return Result{le.Uint32(body) == 1, printable(string(body[resultSize:]))}, nil
}
