// Package command is the form of what a partition's replicas do at one place of their log beside storing records. It has to be told
// from records without being read: a batch begins with its base offset, which is never negative, so its first byte is below 0x80.
//
//	offset  size  field
//	0       1     0xFF
//	1       1     kind
//	2       8     big-endian; kind 1: log start offset, kind 2: segment size in bytes
package command

import (
	"encoding/binary"
	"fmt"
)

// Mark is the first byte of a command.
const Mark = 0xFF

// Kind is what a command does.
type Kind byte

// The kinds.
const (
	LogStart     Kind = 1 // moves the log start offset
	SegmentBytes Kind = 2 // sets the segment size
)

const (
	kindAt     = 1
	argumentAt = 2
	size       = 10
)

// Is tells whether an entry's data is a command.
func Is(data []byte) bool { return len(data) > 0 && data[0] == Mark }

// New returns a command.
func New(k Kind, argument uint64) []byte {
	data := make([]byte, size)
	data[0], data[kindAt] = Mark, byte(k)
	binary.BigEndian.PutUint64(data[argumentAt:], argument)
	return data
}

// Parse reads a command. One that this version does not know is an error.
func Parse(data []byte) (k Kind, argument int64, err error) {
	if len(data) < argumentAt {
		return 0, 0, fmt.Errorf("a command of %d bytes", len(data))
	}
	k = Kind(data[kindAt])
	if k != LogStart && k != SegmentBytes {
		return 0, 0, fmt.Errorf("unknown command %d; a newer release wrote it", k)
	}
	if len(data) != size {
		return 0, 0, fmt.Errorf("a command %d of %d bytes; it has %d", k, len(data), size)
	}
	argument = int64(binary.BigEndian.Uint64(data[argumentAt:]))
	if k == SegmentBytes && argument < 1 {
		return 0, 0, fmt.Errorf("a segment size of %d bytes", argument)
	}
	return k, argument, nil
}
