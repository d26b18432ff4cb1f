package statemachine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot travels between nodes and lies on disk for months, so its frame names the machine that wrote it, the
// format of its payload, and carries a checksum of every byte before it. Integers are little endian.
//
//	offset  size  field
//	     0     8  magic: which machine, ASCII
//	     8     4  format version of the payload
//	    12     4  zero
//	    16     8  length of the payload, n
//	    24     n  payload
//	  24+n     4  CRC-32C of bytes [0, 24+n)
//
// Nothing may follow.
const (
	offMagic   = 0
	offVersion = 8
	offZero    = 12
	offLength  = 16
	offPayload = 24
	crcBytes   = 4

	// FrameBytes is what a frame adds to its payload.
	FrameBytes = offPayload + crcBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is what a damaged snapshot's error wraps.
var ErrCorrupt = errors.New("corrupt snapshot")

// VersionError is a snapshot whose format this binary does not know.
type VersionError struct {
	Magic         Magic
	Version, Read uint32 // the snapshot's; the newest that this binary reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("statemachine: %q snapshot has format version %d, this binary reads 1 to %d: run a newer one",
		e.Magic[:], e.Version, e.Read)
}

// Magic names the machine that a snapshot belongs to.
type Magic [8]byte

// WriteFrame writes payload as a snapshot of the given machine and format version.
func WriteFrame(w io.Writer, magic Magic, version uint32, payload []byte) error {
	var head [offPayload]byte
	copy(head[offMagic:], magic[:])
	binary.LittleEndian.PutUint32(head[offVersion:], version)
	binary.LittleEndian.PutUint64(head[offLength:], uint64(len(payload)))
	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, payload)
	tail := binary.LittleEndian.AppendUint32(nil, crc)
	for _, part := range [][]byte{head[:], payload, tail} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("write %q snapshot: %w", magic[:], err)
		}
	}
	return nil
}

// ReadFrame reads r to its end and returns the payload and its format version, from 1 to newest. A payload longer
// than limit bytes is refused. Memory grows with the bytes that arrive, not with the length that the header claims.
func ReadFrame(r io.Reader, magic Magic, newest uint32, limit int64) (payload []byte, version uint32, err error) {
	corrupt := func(offset uint64, format string, args ...any) error {
		return fmt.Errorf("read %q snapshot at byte %d: %s: %w", magic[:], offset, fmt.Sprintf(format, args...), ErrCorrupt)
	}
	var head [offPayload]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, readError(err, magic, corrupt, uint64(n), offPayload)
	}
	if got := Magic(head[offMagic:offVersion]); got != magic {
		return nil, 0, corrupt(offMagic, "magic %q, want %q", got[:], magic[:])
	}
	version = binary.LittleEndian.Uint32(head[offVersion:])
	if zero := binary.LittleEndian.Uint32(head[offZero:]); zero != 0 {
		return nil, 0, corrupt(offZero, "%#x where zero belongs", zero)
	}
	length := binary.LittleEndian.Uint64(head[offLength:])
	if limit < 0 || length > uint64(limit) {
		return nil, 0, corrupt(offLength, "payload of %d bytes, at most %d are allowed", length, limit)
	}

	var buf bytes.Buffer
	if n, err := io.CopyN(&buf, r, int64(length)); err != nil {
		return nil, 0, readError(err, magic, corrupt, offPayload+uint64(n), offPayload+length)
	}
	var tail [crcBytes]byte
	if n, err := io.ReadFull(r, tail[:]); err != nil {
		return nil, 0, readError(err, magic, corrupt, offPayload+length+uint64(n), FrameBytes+length)
	}
	var extra [1]byte
	if n, err := io.ReadFull(r, extra[:]); n > 0 {
		return nil, 0, corrupt(FrameBytes+length, "bytes after the end")
	} else if err != io.EOF {
		return nil, 0, fmt.Errorf("read %q snapshot: %w", magic[:], err)
	}

	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, buf.Bytes())
	if want := binary.LittleEndian.Uint32(tail[:]); crc != want {
		return nil, 0, corrupt(offPayload+length, "CRC-32C %#08x, computed %#08x", want, crc)
	}
	// Only now is the version what was written, and a newer one a reason to upgrade rather than damage.
	if version == 0 || version > newest {
		return nil, 0, &VersionError{Magic: magic, Version: version, Read: newest}
	}
	return buf.Bytes(), version, nil
}

// readError tells a snapshot that ends early, at byte got of want, from a reader that failed.
func readError(err error, magic Magic, corrupt func(uint64, string, ...any) error, got, want uint64) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return corrupt(got, "ends early, at least %d bytes are announced", want)
	}
	return fmt.Errorf("read %q snapshot: %w", magic[:], err)
}
