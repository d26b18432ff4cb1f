package frame

import (
	"encoding/binary"
	"fmt"
)

// reader walks over a response. The first thing that is wrong stays in err, and from then on everything reads as 0.
type reader struct {
	p   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %s", r.at, fmt.Sprintf(format, args...))
	}
}

// zeros is what is read behind an error.
var zeros [8]byte

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.p)-r.at {
		r.fail("%d bytes wanted, %d are left", n, len(r.p)-r.at)
		return zeros[:]
	}
	b := r.p[r.at:]
	r.at += n
	return b
}

func (r *reader) int16() int16 { return int16(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) int32() int32 { return int32(binary.BigEndian.Uint32(r.take(4))) }
func (r *reader) int64() int64 { return int64(binary.BigEndian.Uint64(r.take(8))) }

func (r *reader) uvarint() int {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.p[r.at:])
	if n <= 0 || v > 1<<31 {
		r.fail("a length is not a varint below 2^31")
		return 0
	}
	r.at += n
	return int(v)
}

func (r *reader) skip(n int) {
	if n < 0 || n > len(r.p)-r.at {
		r.fail("%d bytes wanted, %d are left", n, len(r.p)-r.at)
		return
	}
	r.at += n
}

// compact skips a compact string, which may be null (length 0).
func (r *reader) compact() {
	if n := r.uvarint(); n > 0 {
		r.skip(n - 1)
	}
}

func (r *reader) tags() {
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		r.uvarint()
		r.skip(r.uvarint())
	}
}

func (r *reader) want(what string, got, want int) {
	if r.err == nil && got != want {
		r.fail("%s: %d, want %d", what, got, want)
	}
}
