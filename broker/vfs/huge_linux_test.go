package vfs

import (
	"testing"
	"unsafe"
)

func TestHuge(t *testing.T) {
	for _, n := range []int{1, BlockSize, hugePage - 1, hugePage, hugePage + 1, 2*hugePage + BlockSize} {
		b, free := Huge(n)
		if len(b) != n || int64(cap(b)) != RoundUp(int64(n)) {
			t.Errorf("%d bytes: len %d, cap %d", n, len(b), cap(b))
		}
		if at := uintptr(unsafe.Pointer(&b[0])); at%BlockSize != 0 || n >= hugePage && at%hugePage != 0 {
			t.Errorf("%d bytes at %x", n, at)
		}
		for i := range b[:cap(b)] {
			if b[:cap(b)][i] != 0 {
				t.Fatalf("%d bytes: byte %d is not zero", n, i)
			}
			b[:cap(b)][i] = 1
		}
		free()
	}
}
