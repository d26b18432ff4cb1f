// Package fields is the pieces that commands and snapshots of the metadata are made of, to and from bytes.
//
// What it reads may be damaged, or come from a program with a bug, and a decoder that trusts a count allocates
// gigabytes for twenty bytes. Integers are little endian; a string is its length in two bytes and its bytes; a list is
// its count and its elements.
package fields

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendText appends a string. One too long for its length is encoded with the largest length there is, which every
// limit of a Reader refuses.
func AppendText(b []byte, s string) []byte { return append(AppendCount(b, len(s)), s...) }

// AppendCount appends the count of a list in two bytes, or the largest there is.
func AppendCount(b []byte, n int) []byte {
	return binary.LittleEndian.AppendUint16(b, uint16(min(n, math.MaxUint16)))
}

// Reader reads pieces until the first mistake, which it keeps: what it returns afterwards is zero. Its memory is
// bounded by the length of its input, because a count is checked against the bytes that remain.
type Reader struct {
	b   []byte
	pos int
	err *MalformedError
}

// NewReader reads b, which must not change while strings and bytes are taken from it.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first mistake, or nil.
func (r *Reader) Err() *MalformedError { return r.err }

// MalformedError is bytes that are not what they should be.
type MalformedError struct {
	Offset int
	Reason string
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed at byte %d: %s", e.Offset, e.Reason)
}

// Fail notes a mistake at the current position, unless there was one before.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &MalformedError{Offset: r.pos, Reason: fmt.Sprintf(format, args...)}
	}
}

// Bytes takes n bytes; nil after a mistake. They are the input's.
func (r *Reader) Bytes(n int) []byte {
	if r.err == nil && len(r.b)-r.pos < n {
		r.Fail("%d bytes are needed, %d remain", n, len(r.b)-r.pos)
	}
	if r.err != nil {
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos]
}

// U8 takes an integer of one byte.
func (r *Reader) U8() uint8 {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes an integer of two bytes.
func (r *Reader) U16() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U32 takes an integer of four bytes.
func (r *Reader) U32() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 takes an integer of eight bytes.
func (r *Reader) U64() uint64 {
	if b := r.Bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Text takes a string of at most limit bytes. what names it in errors.
func (r *Reader) Text(what string, limit int) string {
	n := int(r.U16())
	if n > limit {
		r.Fail("%s has %d bytes, at most %d are allowed", what, n, limit)
	}
	return string(r.Bytes(n))
}

// Count checks n elements of at least size bytes each against a limit and the bytes that remain.
func (r *Reader) Count(what string, n uint64, limit, size int) int {
	if r.err != nil {
		return 0
	}
	if n > uint64(limit) || n > uint64((len(r.b)-r.pos)/size) {
		r.Fail("%d %s, at most %d are allowed and %d bytes remain", n, what, limit, len(r.b)-r.pos)
		return 0
	}
	return int(n)
}

// Finish returns the first mistake, bytes behind the end being one.
func (r *Reader) Finish() error {
	if r.err == nil && r.pos != len(r.b) {
		r.Fail("%d bytes behind the end", len(r.b)-r.pos)
	}
	if r.err != nil {
		return r.err
	}
	return nil
}
