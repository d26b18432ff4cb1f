package vfs

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

const (
	sectorSize     = 512 // what a disk writes whole or not at all
	pageSize       = BlockSize
	sectorsPerPage = pageSize / sectorSize

	// Bounds on what is remembered of a page or a size that is changed again and again without a sync. Beyond
	// them versions from the middle are forgotten, which makes some crashes impossible to draw, never a wrong
	// one possible.
	maxVersions = 16
	maxSizes    = 64
)

// A page is never changed once an image or a version refers to it, so that clones and images share pages. A nil
// page holds zeros.
type page [pageSize]byte

type pages []*page

func (ps pages) get(i int64) *page {
	if i < int64(len(ps)) {
		return ps[i]
	}
	return nil
}

func (ps *pages) set(i int64, p *page) {
	if i >= int64(len(*ps)) {
		if p == nil {
			return
		}
		*ps = append(*ps, make(pages, i+1-int64(len(*ps)))...)
	}
	(*ps)[i] = p
}

// edited returns a copy of p with b at offset at.
func edited(p *page, at int, b []byte) *page {
	var n *page
	if at == 0 && len(b) == pageSize {
		if allZero(b) {
			return nil // a zero-filled file costs no memory
		}
		n = new(page)
	} else {
		n = new(page)
		if p != nil {
			*n = *p
		}
	}
	copy(n[at:], b)
	return n
}

func allZero(b []byte) bool {
	var zero [sectorSize]byte
	for len(b) > 0 {
		n := min(len(b), len(zero))
		if !bytes.Equal(b[:n], zero[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// content is a file's bytes: what is read, what is safe, and what lies between. Beyond its size an image holds
// zeros.
type content struct {
	size     int64 // volatile
	data     pages // volatile
	safeSize int64
	safe     pages
	sizes    []sizeChange        // since safeSize, oldest first
	pending  map[int64][]version // by page: writes that are not safe, oldest first
}

type sizeChange struct {
	size int64
	seq  uint64
}

// version is a page after a write that is not safe yet.
type version struct {
	page    *page
	sectors uint8  // a bit for each sector that the write touched; the others are none of its business
	cut     bool   // not a write but a truncation: it survives if, and only if, the size changes up to seq do
	seq     uint64 // order among writes and size changes
}

// span calls f for each page of [off, off+n), with the part of it that lies inside, and its position in the range.
func span(off, n int64, f func(i int64, lo, hi int, pos int64)) {
	for pos := int64(0); pos < n; {
		lo := (off + pos) % pageSize
		part := min(pageSize-lo, n-pos)
		f((off+pos)/pageSize, int(lo), int(lo+part), pos)
		pos += part
	}
}

// touched returns the sectors that [lo, hi) of a page overlaps, and those that it covers.
func touched(lo, hi int) (some, all uint8) {
	for s := range sectorsPerPage {
		if lo < (s+1)*sectorSize && hi > s*sectorSize {
			some |= 1 << s
		}
		if lo <= s*sectorSize && hi >= (s+1)*sectorSize {
			all |= 1 << s
		}
	}
	return some, all
}

// write changes the volatile image and remembers the versions.
func (c *content) write(p []byte, off int64, seq uint64) {
	span(off, int64(len(p)), func(i int64, lo, hi int, pos int64) {
		c.put(i, lo, p[pos:pos+int64(hi-lo)], false, seq)
	})
	if end := off + int64(len(p)); end > c.size {
		c.setSize(end, seq)
	}
}

func (c *content) put(i int64, lo int, b []byte, cut bool, seq uint64) {
	next := edited(c.data.get(i), lo, b)
	some, _ := touched(lo, lo+len(b))
	c.data.set(i, next)
	if c.pending == nil {
		c.pending = map[int64][]version{}
	}
	vs := append(c.pending[i], version{page: next, sectors: some, cut: cut, seq: seq})
	if n := len(vs); n > maxVersions {
		// A truncation must stay: it takes away what was before it. The newest must stay: it is what is read.
		if mid := slices.IndexFunc(vs[n/2:n-1], func(v version) bool { return !v.cut }); mid >= 0 {
			vs = slices.Delete(vs, n/2+mid, n/2+mid+1)
		}
	}
	c.pending[i] = vs
}

func (c *content) setSize(size int64, seq uint64) {
	c.size = size
	if n := len(c.sizes); n >= maxSizes {
		c.sizes = slices.Delete(c.sizes, n/2, n/2+1)
	}
	c.sizes = append(c.sizes, sizeChange{size, seq})
}

// resize is truncate, either way.
func (c *content) resize(size int64, seq uint64) {
	if size < c.size {
		zeros := make([]byte, pageSize)
		span(size, c.size-size, func(i int64, lo, hi int, _ int64) {
			if c.data.get(i) != nil {
				c.put(i, lo, zeros[lo:], true, seq)
			}
		})
		c.data = c.data[:min(int64(len(c.data)), RoundUp(size)/pageSize)]
	}
	if size != c.size {
		c.setSize(size, seq)
	}
}

// secure makes [off, off+n) of the volatile image durable, and the size if these bytes cannot be read without it.
func (c *content) secure(off, n int64) {
	n = min(n, c.size-off) // a truncation may have come between
	if n <= 0 {
		return
	}
	span(off, n, func(i int64, lo, hi int, _ int64) {
		now := c.data.get(i)
		if lo == 0 && hi == pageSize {
			c.safe.set(i, now)
			delete(c.pending, i)
			return
		}
		var bytes []byte
		if now != nil {
			bytes = now[lo:hi]
		} else {
			bytes = make([]byte, hi-lo)
		}
		c.safe.set(i, edited(c.safe.get(i), lo, bytes))
		if c.pending[i] = overlay(c.pending[i], lo, bytes); len(c.pending[i]) == 0 {
			delete(c.pending, i)
		}
	})
	end := off + n
	c.sizes = slices.DeleteFunc(c.sizes, func(s sizeChange) bool { return s.size < end })
	if c.safeSize < end {
		c.safeSize = end
		if c.size == end {
			c.sizes = nil
		}
	}
}

// overlay returns what of vs remains when b, at lo, is durable: nothing of the sectors that b covers; b
// together with their other bytes in the sectors that it covers in part.
func overlay(vs []version, lo int, b []byte) []version {
	_, all := touched(lo, lo+len(b))
	kept := vs[:0]
	for _, v := range vs {
		v.sectors &^= all
		if v.sectors != 0 {
			v.page = edited(v.page, lo, b)
			kept = append(kept, v)
		}
	}
	return kept
}

// sync makes everything durable.
func (c *content) sync() {
	for i := range c.pending {
		c.safe.set(i, c.data.get(i))
	}
	clear(c.pending)
	c.safe = c.safe[:min(int64(len(c.safe)), RoundUp(c.size)/pageSize)]
	c.safeSize, c.sizes = c.size, nil
}

func (m *Mem) nextSeq() uint64 {
	m.lastSeq++
	return m.lastSeq
}

// reserve accounts for a new size, or refuses it.
func (m *Mem) reserve(n *inode, size int64) error {
	if n.gone {
		return nil
	}
	more := RoundUp(size) - RoundUp(n.file.size)
	if m.capacity > 0 && more > 0 && m.used+more > m.capacity {
		return syscall.ENOSPC
	}
	m.used += more
	return nil
}

func (m *Mem) resize(n *inode, size int64) error {
	if err := m.reserve(n, size); err != nil {
		return err
	}
	n.file.resize(size, m.nextSeq())
	return nil
}

// memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	n      *inode
	name   string
	o      OpenOptions
	closed bool // m.mu
}

// check is what every read and write begins with; m.mu is held.
func (f *memFile) check(op string, p []byte, off int64) error {
	switch {
	case f.closed:
		return pathErr(op, f.name, fs.ErrClosed)
	case off < 0:
		return pathErr(op, f.name, syscall.EINVAL)
	case op != "read" && f.o.ReadOnly:
		return pathErr(op, f.name, syscall.EBADF)
	case f.o.Direct && p != nil:
		return checkDirect(op, f.name, p, off)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.check("read", p, off); err != nil {
		return 0, err
	}
	c := &f.n.file
	n := max(0, min(int64(len(p)), c.size-off))
	span(off, n, func(i int64, lo, hi int, pos int64) {
		if pg := c.data.get(i); pg != nil {
			copy(p[pos:], pg[lo:hi])
		} else {
			clear(p[pos : pos+int64(hi-lo)])
		}
	})
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) { return f.write(p, off, f.o.Dsync) }

func (f *memFile) WriteAtDsync(p []byte, off int64) (int, error) { return f.write(p, off, true) }

func (f *memFile) writeVolatile(p []byte, off int64) (int, error) { return f.write(p, off, false) }

func (f *memFile) write(p []byte, off int64, durable bool) (int, error) {
	if err := f.writeLocked(p, off); err != nil {
		return 0, err
	}
	if durable {
		// In a step of its own, so that a concurrent CrashClone may find the write in flight.
		f.m.mu.Lock()
		defer f.m.mu.Unlock()
		f.n.file.secure(off, int64(len(p)))
	}
	return len(p), nil
}

func (f *memFile) writeLocked(p []byte, off int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", p, off); err != nil {
		return err
	}
	if end := off + int64(len(p)); end > f.n.file.size && len(p) > 0 {
		if err := f.m.reserve(f.n, end); err != nil {
			return pathErr("write", f.name, err)
		}
	}
	if len(p) > 0 {
		f.n.file.write(p, off, f.m.nextSeq())
	}
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathErr("fdatasync", f.name, fs.ErrClosed)
	}
	f.n.file.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", nil, size); err != nil {
		return err
	}
	return pathErr("truncate", f.name, f.m.resize(f.n, size))
}

func (f *memFile) Preallocate(off, length int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("fallocate", nil, off); err != nil {
		return err
	}
	if length <= 0 {
		return pathErr("fallocate", f.name, syscall.EINVAL)
	}
	if off+length <= f.n.file.size {
		return nil
	}
	return pathErr("fallocate", f.name, f.m.resize(f.n, off+length))
}

func (f *memFile) WriteBack(off, length int64) error {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if f.closed {
		return pathErr("sync_file_range", f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if f.closed {
		return 0, pathErr("fstat", f.name, fs.ErrClosed)
	}
	return f.n.file.size, nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathErr("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}
