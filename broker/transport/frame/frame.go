// Package frame is what lies on the wire between the nodes of a cluster. The problem is that the bytes come from another
// process, which may be of another version, another cluster or another make, or damaged on the way, and that they carry
// the entries that every replica will keep: nothing may be taken for something else, no length may be believed further
// than bytes arrive, and yet an entry's data is to be copied once, from the kernel.
//
// All integers are little-endian. Everything on a connection is a frame:
//
//	 0  4  magic "ALTF"
//	 4  1  kind: 1 hello, 2 welcome, 3 messages, 4 heartbeat, 5 chunk, 6 end, 7 result, 8 request, 9 reply
//	 5  3  zero
//	 8  4  body length
//	12  4  messages, of kind 3; else 0
//	16  4  entries in all of them, of kind 3; else 0
//	20  4  CRC-32C of bytes 0–19 and the body
//	24     body
//
// A connection begins with a hello from who dialled and a welcome from who accepted (hello.go). On connections of class
// control and bulk, messages (message.go) and heartbeats (heartbeat.go) follow, in the one direction from who dialled. On
// one of class snapshot a frame with one MsgSnap, chunks and an end follow, then a result in the other direction
// (snapshot.go). On one of class call requests follow, and replies in the other direction (call.go).
//
// The header, the first two bytes of a hello, the whole welcome and how long the two may be never change, so that versions
// can refuse each other in words that both understand. Everything else may change with the format version.
//
// What a frame decodes to encodes to the same bytes: there is one way to write a thing.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Version is the format of everything between nodes.
const Version = 3

// The sizes of a frame's header and where its checksum is.
const (
	HeaderSize = 24

	crcOff = 20
)

var (
	magic      = [4]byte{'A', 'L', 'T', 'F'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// Kind is what a frame holds.
type Kind uint8

// The kinds of frame.
const (
	KindHello     Kind = 1
	KindWelcome   Kind = 2
	KindMessages  Kind = 3
	KindHeartbeat Kind = 4
	KindChunk     Kind = 5
	KindEnd       Kind = 6
	KindResult    Kind = 7
	KindRequest   Kind = 8
	KindReply     Kind = 9
)

var kindNames = [...]string{"kind 0", "hello", "welcome", "messages", "heartbeat", "chunk", "end", "result", "request",
	"reply"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Class is which of the connections to a peer something goes over. Messages of one class stay in order.
type Class uint8

const (
	// Control has what elections and leases live by; it must never wait for data.
	Control Class = iota
	// Bulk has entries and what answers them.
	Bulk
	// Call has what nodes ask each other beside raft.
	Call
	// Snapshot connections are opened for one snapshot each.
	Snapshot
	// Links is how many classes carry raft's messages, Lasting how many have one lasting connection per peer.
	Links, Lasting = int(Call), int(Snapshot)
)

var classNames = [...]string{Control: "control", Bulk: "bulk", Call: "call", Snapshot: "snapshot"}

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Errors of decoding, wrapped with what was found.
var (
	// ErrMagic: what is there is no frame. The connection is not one of ours, or its reader lost its place.
	ErrMagic = errors.New("frame: not a frame")
	// ErrChecksum: the frame was damaged on its way.
	ErrChecksum = errors.New("frame: checksum does not match")
	// ErrTooLarge: the frame, or what was to be put into one, exceeds a bound.
	ErrTooLarge = errors.New("frame: too large")
	// ErrFormat: the frame is whole, and its content makes no sense.
	ErrFormat = errors.New("frame: malformed")
)

// The most that one frame may count, so that a length is not the only bound on what it decodes to.
const (
	MaxMessages = 1 << 16
	MaxEntries  = 1 << 20
)

// Header is a frame's header.
type Header struct {
	Kind     Kind
	Length   int // of the body
	Messages int
	Entries  int

	crc  uint32 // as it stands there
	head uint32 // CRC of the bytes before it
}

// ParseHeader decodes the header at the beginning of b, which holds at least HeaderSize bytes, and checks what can be
// checked without the body, which may have up to maxBody bytes.
func ParseHeader(b []byte, maxBody int) (Header, error) {
	if [4]byte(b) != magic {
		return Header{}, fmt.Errorf("%w: it begins % x", ErrMagic, b[:4])
	}
	length, messages, entries := le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	h := Header{Kind: Kind(b[4]), crc: le.Uint32(b[crcOff:]), head: crc32.Checksum(b[:crcOff], castagnoli)}
	switch {
	case h.Kind < KindHello || h.Kind > KindReply || b[5]|b[6]|b[7] != 0:
		return h, fmt.Errorf("%w: %v, then % x", ErrFormat, h.Kind, b[5:8])
	case uint64(length) > uint64(maxBody):
		return h, fmt.Errorf("%w: %v of %d bytes, %d are possible", ErrTooLarge, h.Kind, length, maxBody)
	case messages > MaxMessages || entries > MaxEntries:
		return h, fmt.Errorf("%w: %d messages with %d entries", ErrTooLarge, messages, entries)
	case (h.Kind == KindMessages) != (messages > 0) || messages == 0 && entries > 0:
		return h, fmt.Errorf("%w: %v with %d messages and %d entries", ErrFormat, h.Kind, messages, entries)
	case uint64(messages)*MessageSize+uint64(entries)*EntrySize > uint64(length):
		return h, fmt.Errorf("%w: %d messages with %d entries in %d bytes", ErrFormat, messages, entries, length)
	}
	h.Length, h.Messages, h.Entries = int(length), int(messages), int(entries)
	return h, nil
}

// Check compares the checksum of the whole frame.
func (h *Header) Check(body []byte) error {
	if got := crc32.Update(h.head, castagnoli, body); got != h.crc {
		return fmt.Errorf("%w: %v of %d bytes has %08x, its header says %08x", ErrChecksum, h.Kind, len(body), got, h.crc)
	}
	return nil
}

// putHeader writes all of a header but the checksum.
func putHeader(b []byte, k Kind, length, messages, entries int) {
	copy(b, magic[:])
	b[4], b[5], b[6], b[7] = byte(k), 0, 0, 0
	le.PutUint32(b[8:], uint32(length))
	le.PutUint32(b[12:], uint32(messages))
	le.PutUint32(b[16:], uint32(entries))
}

// Seal makes a frame of b, whose body stands behind HeaderSize bytes that are to be its header. It is for kinds that count
// nothing.
func Seal(b []byte, k Kind) []byte {
	putHeader(b, k, len(b)-HeaderSize, 0, 0)
	crc := crc32.Update(crc32.Checksum(b[:crcOff], castagnoli), castagnoli, b[HeaderSize:])
	le.PutUint32(b[crcOff:], crc)
	return b
}

// Receive reads one whole frame, using buf's memory if that is enough. It is for where frames come one at a time: the
// handshake and snapshots. The body is valid until buf is used again.
func Receive(r io.Reader, buf []byte, maxBody int) (Header, []byte, error) {
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Header{}, nil, err
	}
	h, err := ParseHeader(head[:], maxBody)
	if err != nil {
		return h, nil, err
	}
	if cap(buf) < h.Length {
		buf = make([]byte, h.Length)
	}
	body := buf[:h.Length]
	if _, err := io.ReadFull(r, body); err != nil {
		return h, nil, fmt.Errorf("frame: in the body of a %v: %w", h.Kind, noEOF(err))
	}
	return h, body, h.Check(body)
}

// noEOF makes sure that an end within a frame is not taken for an end between frames.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
