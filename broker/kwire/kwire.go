// Package kwire turns the bytes of the Kafka protocol into values and back. The bytes come from anyone who can open
// a connection, before any authentication, and the decoder that we use for most requests (kmsg) is a client's: it
// trusts counts and lengths, so that thirty bytes can cost a minute of CPU or gigabytes of memory. So nothing
// reaches kmsg that has not been through Bound, which walks a request by its layout and compares every count and
// length with the bytes that are there.
//
// What a request goes through:
//
//	frame, without its length  ─ ParseHeader ─▶ Header ─┬─ Produce:  ProduceRequest (no allocation, bounds itself)
//	                                                    └─ the rest: Decode = Bound, then kmsg
//	record batch (inside Produce) ─ ParseBatch ─▶ BatchInfo ─ PatchBatch ─▶ the bytes that are stored
//	reply ─ AppendResponse, or ProduceResponse ─▶ frame with its length
//
// Which requests and versions exist is said in one table (apis.go); ApiVersions is answered from it.
//
// Everything here is bytes in, bytes out: no I/O, no clock, no goroutine, no state between calls.
package kwire

import (
	"encoding/binary"
	"fmt"
)

// The header of a request, after the frame's four bytes of length. All integers of the protocol are big-endian.
//
//	offset  size  field
//	0       2     key
//	2       2     version
//	4       4     correlation id
//	8       2     length of the client id, -1 for none; never compact, whatever the version
//	10      n     client id
//	10+n    ..    tags, in flexible versions only: uvarint count, then per tag uvarint number, uvarint size, bytes
const (
	headerKeyAt         = 0
	headerVersionAt     = 2
	headerCorrelationAt = 4
	headerClientLenAt   = 8
	headerClientAt      = 10
)

// FrameLengthBytes is the size of the length that precedes every frame and does not count itself.
const FrameLengthBytes = 4

// Header is a parsed request header. ClientID and Body alias the frame.
type Header struct {
	Key, Version int16
	Correlation  int32
	ClientID     []byte // nil when the client sent none
	Body         []byte // what follows the header
}

// HeaderError is a frame whose header cannot be read. Nothing can be answered; the connection is closed.
type HeaderError struct {
	Length int    // of the frame
	Offset int    // in the frame
	Reason string // what is wrong there
}

func (e *HeaderError) Error() string {
	return fmt.Sprintf("kwire: request header, byte %d of a frame of %d: %s", e.Offset, e.Length, e.Reason)
}

// VersionError is a request whose key or version is not in the table. ParseHeader returns it together with a Header
// that is filled in, because ApiVersions is answered all the same (in version 0, with UNSUPPORTED_VERSION and the
// range); for any other key the connection is closed, as Kafka does.
type VersionError struct {
	Key, Version int16
	Min, Max     int16  // the range of the key; Max < Min when the key is unknown
	Name         string // of the request; empty when the key is unknown
}

func (e *VersionError) Error() string {
	if e.Max < e.Min {
		return fmt.Sprintf("kwire: request key %d (version %d) is not served", e.Key, e.Version)
	}
	return fmt.Sprintf("kwire: %s (key %d) version %d is not served; %d to %d are", e.Name, e.Key, e.Version, e.Min, e.Max)
}

// ParseHeader reads the header of a frame (without its four bytes of length). It does not allocate unless it fails.
// The error is a *HeaderError or a *VersionError.
func ParseHeader(frame []byte) (Header, error) {
	if len(frame) < headerClientAt {
		return Header{}, &HeaderError{len(frame), len(frame), "ends before the client id; 10 bytes are the least"}
	}
	h := Header{
		Key:         int16(binary.BigEndian.Uint16(frame[headerKeyAt:])),
		Version:     int16(binary.BigEndian.Uint16(frame[headerVersionAt:])),
		Correlation: int32(binary.BigEndian.Uint32(frame[headerCorrelationAt:])),
	}
	a := lookup(h.Key)
	if a == nil {
		return h, &VersionError{Key: h.Key, Version: h.Version, Min: 0, Max: -1}
	}
	n := int(int16(binary.BigEndian.Uint16(frame[headerClientLenAt:])))
	rest := frame[headerClientAt:]
	switch {
	case n < -1:
		return h, &HeaderError{len(frame), headerClientLenAt, fmt.Sprintf("client id length %d", n)}
	case n > len(rest):
		return h, &HeaderError{len(frame), headerClientLenAt,
			fmt.Sprintf("client id length %d where %d bytes are left", n, len(rest))}
	case n >= 0:
		h.ClientID, rest = rest[:n:n], rest[n:]
	}
	if h.Version < a.Min || h.Version > a.Max {
		// The tags stay in the body: nobody reads it.
		h.Body = rest
		return h, &VersionError{Key: h.Key, Version: h.Version, Min: a.Min, Max: a.Max, Name: a.Name}
	}
	if h.Version >= a.Flexible {
		w := walker{b: rest}
		if reason := w.tags(nil); reason != "" {
			return h, &HeaderError{len(frame), len(frame) - len(w.b), reason}
		}
		rest = w.b
	}
	h.Body = rest
	return h, nil
}

// Flexible says whether the request's body uses the compact encodings. False for keys that are not in the table.
func (h Header) Flexible() bool {
	a := lookup(h.Key)
	return a != nil && h.Version >= a.Flexible
}

// BeginResponse appends four bytes for the frame's length and the response header of h. EndResponse fills the
// length in.
func BeginResponse(dst []byte, h Header) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Correlation))
	// ApiVersions is answered with header version 0 always: the client does not know yet what we understand.
	if h.Flexible() && h.Key != KeyApiVersions {
		dst = append(dst, 0) // no tags
	}
	return dst
}

// EndResponse writes the length of the frame that BeginResponse started at offset `at` of dst.
func EndResponse(dst []byte, at int) {
	n := len(dst) - at - FrameLengthBytes
	if n < 4 || int64(n) > maxFrame {
		panic(fmt.Sprintf("kwire: response frame of %d bytes at %d of %d; 4 to %d are possible", n, at, len(dst), maxFrame))
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(n))
}

// maxFrame is what the signed 32-bit length of a frame can say.
const maxFrame int64 = 1<<31 - 1
