// Package link is what a leader and its followers say to each other, and how the leader gets through to one. A leader that
// took any answer on any port for an acknowledgement would be fast and wrong, so both sides prove first that they are
// floors of one version, and everything behind that is checked before it is believed.
package link

import (
	"encoding/binary"
	"fmt"

	"ackline/tools/floor/echo"
)

// The leader dials and greets; a follower that is greeted as it should be
// answers with a greeting of its own. From then on the leader sends messages and the follower acknowledgements. Integers
// are little-endian. A client's request cannot pass for a greeting: its first four bytes would be a length of 1 GiB.
//
//	greeting, both ways                          message, leader to follower: echo's block header, then the frames
//	offset  size  field                          offset  size  field
//	     0     8  magic "ACKFLINK"                    0    24  magic, sequence, payload length, frames: see package echo
//	     8     4  link version                       24     8  kind: 0 batch, 1 trial, 2 ping
//	    12     4  batch bytes                        32     …  frames; a ping has none
//
//	acknowledgement, follower to leader
//	offset  size  field
//	     0     8  sequence: everything that this connection carried up to here is durable
//	     8     8  how long the write took in ns, if a trial was in it, else 0
//
// Sequences rise from Message to message of a connection but may leave gaps: what the leader did not send, for want of
// room, counts nowhere. Batch bytes are the most that one message may have, header included; a follower's are at least
// its leader's. A trial is a batch whose write is timed; a ping is acknowledged at once, without a write.
const (
	Version = 1 // of the link

	GreetingBytes = 16
	AckBytes      = 16

	magic         = "ACKFLINK"
	offVersion    = 8
	offBatchBytes = 12

	offKind = 24

	offAckSequence = 0
	offWriteNs     = 8
)

// What a message is.
const (
	KindBatch = iota
	KindTrial
	KindPing
)

// PutGreeting writes a greeting of GreetingBytes.
func PutGreeting(b []byte, batchBytes int) {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[offVersion:], Version)
	binary.LittleEndian.PutUint32(b[offBatchBytes:], uint32(batchBytes))
}

// ParseGreeting returns the other side's batch bytes. b has GreetingBytes.
func ParseGreeting(b []byte) (batchBytes int, err error) {
	if string(b[:len(magic)]) != magic {
		return 0, fmt.Errorf("greeting %q, want %q: this is no floor's link", b[:len(magic)], magic)
	}
	if v := binary.LittleEndian.Uint32(b[offVersion:]); v != Version {
		return 0, fmt.Errorf("link version %d, want %d: run the same floor on all nodes", v, Version)
	}
	return int(binary.LittleEndian.Uint32(b[offBatchBytes:])), nil
}

// Message is a decoded message head.
type Message struct {
	echo.Header
	Kind uint64
}

// PutMessage writes the first echo.HeaderBytes of a message.
func PutMessage(b []byte, m Message) {
	echo.PutHeader(b, m.Header)
	binary.LittleEndian.PutUint64(b[offKind:], m.Kind)
}

// Size is that of the whole message.
func (m Message) Size() int { return echo.HeaderBytes + m.PayloadLen }

// ParseMessage decodes a head, of which b has all bytes, and refuses what a leader would not send after the sequence last.
func ParseMessage(b []byte, batchBytes int, last uint64) (Message, error) {
	h, err := echo.ParseHeader(b)
	if err != nil {
		return Message{}, fmt.Errorf("message %q: %w", b[:8], err)
	}
	m := Message{h, binary.LittleEndian.Uint64(b[offKind:])}
	switch {
	case m.Kind > KindPing:
		return m, fmt.Errorf("message of kind %d, want at most %d", m.Kind, KindPing)
	case m.Sequence <= last:
		return m, fmt.Errorf("sequence %d after %d: sequences rise", m.Sequence, last)
	case m.Size() > batchBytes:
		return m, fmt.Errorf("message of %d bytes, want at most %d", m.Size(), batchBytes)
	case (m.PayloadLen == 0) != (m.Kind == KindPing), (m.Frames == 0) != (m.Kind == KindPing):
		return m, fmt.Errorf("message of kind %d with %d frames of %d bytes", m.Kind, m.Frames, m.PayloadLen)
	}
	return m, nil
}

// PutAck writes an acknowledgement of AckBytes.
func PutAck(b []byte, sequence, writeNs uint64) {
	binary.LittleEndian.PutUint64(b[offAckSequence:], sequence)
	binary.LittleEndian.PutUint64(b[offWriteNs:], writeNs)
}

// ParseAck is its reverse.
func ParseAck(b []byte) (sequence, writeNs uint64) {
	return binary.LittleEndian.Uint64(b[offAckSequence:]), binary.LittleEndian.Uint64(b[offWriteNs:])
}
