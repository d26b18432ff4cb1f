package fdcache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"ackline/broker/vfs"
)

// fake opens files that count, and fails while it is told to.
type fake struct {
	mem    *vfs.Mem
	open   atomic.Int64
	opened atomic.Int64
	fail   atomic.Bool
}

var errOpen = errors.New("no such file today")

func (f *fake) OpenFile(n int, create bool) (vfs.File, error) {
	if f.fail.Load() {
		return nil, errOpen
	}
	file, err := f.mem.Open(fmt.Sprint(n), vfs.OpenOptions{Create: create})
	if err != nil {
		return nil, err
	}
	f.open.Add(1)
	f.opened.Add(1)
	return &counted{file, f}, nil
}

type counted struct {
	vfs.File
	f *fake
}

func (c *counted) Close() error {
	c.f.open.Add(-1)
	return c.File.Close()
}

func acquire(t *testing.T, c *Cache, s *Set, f *fake, n int) *Handle {
	t.Helper()
	h, err := c.Acquire(s, f, n, true)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func expect(t *testing.T, c *Cache, f *fake, open, opened int) {
	t.Helper()
	if c.Open() != open || f.open.Load() != int64(open) || f.opened.Load() != int64(opened) {
		t.Errorf("%d open by count, %d in fact, %d opened so far; want %d and %d", c.Open(), f.open.Load(), f.opened.Load(), open, opened)
	}
}

func TestLeastRecentlyUsed(t *testing.T) {
	f, c, s := &fake{mem: vfs.NewMem()}, New(2), make([]Set, 3)
	for i := range s {
		c.Release(acquire(t, c, &s[i], f, 0))
	}
	expect(t, c, f, 2, 3)
	c.Release(acquire(t, c, &s[1], f, 0)) // was kept
	expect(t, c, f, 2, 3)
	c.Release(acquire(t, c, &s[0], f, 0)) // was evicted; evicts 2, not 1
	c.Release(acquire(t, c, &s[1], f, 0))
	expect(t, c, f, 2, 4)
}

func TestInUseStaysOpen(t *testing.T) {
	f, c := &fake{mem: vfs.NewMem()}, New(1)
	var s [4]Set
	var hs []*Handle
	for i := range s {
		hs = append(hs, acquire(t, c, &s[i], f, 0))
	}
	if again := acquire(t, c, &s[0], f, 0); again != hs[0] {
		t.Error("a second use opened the file again")
	}
	expect(t, c, f, 4, 4)
	for _, h := range hs {
		if _, err := h.File().WriteAt([]byte("x"), 0); err != nil {
			t.Error(err)
		}
		c.Release(h)
	}
	expect(t, c, f, 1, 4) // 0 is in use still
	c.Release(hs[0])
	expect(t, c, f, 1, 4)
}

// What is to happen after an abandoned set happens once, when its last file was closed.
func TestAfter(t *testing.T) {
	f, c := &fake{mem: vfs.NewMem()}, New(10)
	var s Set
	a, b := acquire(t, c, &s, f, 0), acquire(t, c, &s, f, 1)
	c.Release(acquire(t, c, &s, f, 2))
	calls := 0
	c.Abandon(&s)
	for range 2 {
		c.After(&s, func() {
			if calls++; f.open.Load() != 0 {
				t.Errorf("called while %d files are open", f.open.Load())
			}
		})
	}
	c.Release(b)
	if calls != 0 {
		t.Error("called while a file is in use")
	}
	c.Release(a)
	if calls != 2 {
		t.Errorf("%d calls behind the last use, want 2", calls)
	}
	c.After(&s, func() { calls++ })
	if calls != 3 {
		t.Errorf("%d calls when nothing is open, want 3", calls)
	}
}

func TestAbandon(t *testing.T) {
	f, c := &fake{mem: vfs.NewMem()}, New(10)
	var s Set
	idle, used := acquire(t, c, &s, f, 0), acquire(t, c, &s, f, 1)
	c.Release(idle)
	c.Abandon(&s)
	expect(t, c, f, 1, 2)
	if _, err := c.Acquire(&s, f, 0, true); err != ErrGone {
		t.Errorf("acquire after Abandon: %v", err)
	}
	if _, err := used.File().WriteAt([]byte("x"), 0); err != nil {
		t.Errorf("the last user lost its file: %v", err)
	}
	if !c.Release(used) {
		t.Error("Release does not report that the set is gone")
	}
	expect(t, c, f, 0, 2)
}

func TestOpenFails(t *testing.T) {
	f, c := &fake{mem: vfs.NewMem()}, New(10)
	var s Set
	f.fail.Store(true)
	if _, err := c.Acquire(&s, f, 0, true); err != errOpen {
		t.Errorf("acquire: %v", err)
	}
	expect(t, c, f, 0, 0)
	f.fail.Store(false)
	c.Release(acquire(t, c, &s, f, 0))
	expect(t, c, f, 1, 1)
}

// TestConcurrent: whatever many users do at once, files in use are open and in the end the count is right.
func TestConcurrent(t *testing.T) {
	f, c := &fake{mem: vfs.NewMem()}, New(3)
	sets := make([]Set, 20)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(k), 1))
			for range 3000 {
				h, err := c.Acquire(&sets[rng.IntN(len(sets))], f, rng.IntN(FilesPerSet), true)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := h.File().WriteAt([]byte{1}, 0); err != nil {
					t.Error(err)
				}
				c.Release(h)
			}
		})
	}
	wg.Wait()
	if c.Open() > 3 {
		t.Errorf("%d open, want at most 3", c.Open())
	}
	expect(t, c, f, c.Open(), int(f.opened.Load()))
	for i := range sets {
		c.Abandon(&sets[i])
	}
	expect(t, c, f, 0, int(f.opened.Load()))
}
