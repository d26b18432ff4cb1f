package command

import (
	"encoding/hex"
	"testing"
)

// The form is that of the table, and comes back.
func TestForm(t *testing.T) {
	for want, c := range map[string]struct {
		k Kind
		n uint64
	}{"ff010000000000000102": {LogStart, 0x102}, "ff020000000040000000": {SegmentBytes, 1 << 30}} {
		b := New(c.k, c.n)
		if got := hex.EncodeToString(b); got != want || !Is(b) {
			t.Errorf("command %d of %d is %s, want %s", c.k, c.n, got, want)
		}
		if k, n, err := Parse(b); err != nil || k != c.k || n != int64(c.n) {
			t.Errorf("%s comes back as %d, %d, %v", want, k, n, err)
		}
	}
	for _, bad := range []string{"ff", "ff03000000000000000000", "ff030000000000000001", "ff01000000", "ff020000000000000000", "ff02ffffffffffffffff"} {
		b, _ := hex.DecodeString(bad)
		if _, _, err := Parse(b); err == nil {
			t.Errorf("%s is a command", bad)
		}
	}
	if Is(nil) || Is([]byte{0x7f}) {
		t.Error("what is none is one")
	}
}
