package fields

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	b := AppendText(AppendText([]byte{1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}, "text"), "")
	b = AppendCount(b, 2)
	b = append(b, 'x', 'y')
	r := NewReader(b)
	if u8, u16, u32, u64 := r.U8(), r.U16(), r.U32(), r.U64(); u8 != 1 || u16 != 2 || u32 != 3 || u64 != 4 {
		t.Errorf("integers %d %d %d %d", u8, u16, u32, u64)
	}
	if a, b := r.Text("a", 4), r.Text("b", 0); a != "text" || b != "" {
		t.Errorf("strings %q %q", a, b)
	}
	n := r.Count("letters", uint64(r.U16()), 2, 1)
	if got := r.Bytes(n); !bytes.Equal(got, []byte("xy")) {
		t.Errorf("list %q", got)
	}
	if err := r.Finish(); err != nil {
		t.Error(err)
	}
}

// TestFirstMistakeStays ends every read behind it with zero.
func TestFirstMistakeStays(t *testing.T) {
	for name, test := range map[string]struct {
		input  []byte
		read   func(*Reader)
		offset int
	}{
		"short integer":     {[]byte{1, 2, 3}, func(r *Reader) { r.U32() }, 0},
		"second is short":   {[]byte{1, 2, 3}, func(r *Reader) { r.U16(); r.U16() }, 2},
		"long string":       {AppendText(nil, "abc"), func(r *Reader) { r.Text("name", 2) }, 2},
		"string cut":        {AppendText(nil, "abc")[:4], func(r *Reader) { r.Text("name", 9) }, 2},
		"count over limit":  {[]byte("abcdef"), func(r *Reader) { r.Count("things", 3, 2, 1) }, 0},
		"count over bytes":  {[]byte("abcdef"), func(r *Reader) { r.Count("things", 3, 9, 4) }, 0},
		"huge count":        {[]byte("abcdef"), func(r *Reader) { r.Count("things", math.MaxUint64, math.MaxInt, 1) }, 0},
		"bytes left":        {[]byte("ab"), func(r *Reader) { r.U8() }, 1},
		"noted by a caller": {[]byte("ab"), func(r *Reader) { r.U8(); r.Fail("no") }, 1},
	} {
		r := NewReader(test.input)
		test.read(&r)
		err := r.Finish()
		var malformed *MalformedError
		if !errors.As(err, &malformed) || malformed.Offset != test.offset || malformed.Error() == "" {
			t.Errorf("%s: %v, want a mistake at byte %d", name, err, test.offset)
			continue
		}
		first := r.Err()
		r.Fail("another")
		if r.U8() != 0 || r.U64() != 0 || r.Text("x", 9) != "" || r.Bytes(0) != nil || r.Count("x", 0, 9, 1) != 0 || r.Err() != first {
			t.Errorf("%s: reading went on after the mistake", name)
		}
	}
}

// TestTooLongIsRefusedLater keeps a length from wrapping into another that is valid.
func TestTooLongIsRefusedLater(t *testing.T) {
	r := NewReader(AppendText(nil, strings.Repeat("x", 1<<16+5)))
	if got := r.Text("name", math.MaxUint16-1); got != "" || r.Err() == nil {
		t.Errorf("a string of %d bytes was read", len(got))
	}
	counted := NewReader(AppendCount(nil, 1<<16+5))
	if got := counted.U16(); got != math.MaxUint16 {
		t.Errorf("count %d", got)
	}
}

// TestCountIsBoundedByTheInput keeps twenty bytes from asking for gigabytes.
func TestCountIsBoundedByTheInput(t *testing.T) {
	for n, want := range map[uint64]int{0: 0, 1: 1, 2: 2, 3: 0, 1 << 40: 0, math.MaxUint64: 0} {
		r := NewReader(make([]byte, 11)) // two things of five bytes, and a byte
		if got := r.Count("things", n, math.MaxInt, 5); got != want || (r.Err() != nil) != (n > 2) {
			t.Errorf("count %d of five bytes each in 11 bytes: %d, %v; want %d", n, got, r.Err(), want)
		}
	}
}
