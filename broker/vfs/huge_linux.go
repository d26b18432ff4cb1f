package vfs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// Huge returns n zero bytes for direct reads, aligned as Aligned has them, in huge pages where the kernel has such, and what gives them
// back: they are outside the heap, and gone then. A direct read into small pages is pinned page by page and cut into requests of as many
// as the device's queue takes, 1 MiB often, which is the likely reason why 290 MB of a WAL were read in 0.6 of the time. Less than a huge page comes from the heap.
func Huge(n int) (buf []byte, free func()) {
	if n < hugePage {
		return Aligned(n), func() {}
	}
	m, err := unix.Mmap(-1, 0, n+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return Aligned(n), func() {}
	}
	skip := int(-uintptr(unsafe.Pointer(&m[0])) & (hugePage - 1))
	buf = m[skip : skip+n : skip+int(RoundUp(int64(n)))]
	_ = unix.Madvise(m[skip:skip+n&^(hugePage-1)], unix.MADV_HUGEPAGE) // or small pages do
	return buf, func() { _ = unix.Munmap(m) }
}
