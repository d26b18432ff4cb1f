// Package fdcache bounds the descriptors that many logs keep open. The problem: ten thousand partitions have several hundred
// thousand segment files, of which a process may not hold all open, and opening one for every read costs more than the read.
// So files are opened when they are used and stay open until others have been used more recently.
package fdcache

import (
	"errors"
	"sync"

	"ackline/broker/vfs"
)

// ErrGone is returned by Acquire once the files were abandoned.
var ErrGone = errors.New("fdcache: files are gone")

// FilesPerSet is how many files a Set has.
const FilesPerSet = 4

// Owner opens the files of a set, numbered from 0.
type Owner interface {
	OpenFile(n int, create bool) (vfs.File, error)
}

// Set is a few files that live and die together. The zero Set has none open.
type Set struct {
	open  [FilesPerSet]*Handle // Cache.mu
	gone  bool                 // Cache.mu
	after []func()             // Cache.mu; when none is open any more
}

// Cache is the set of open descriptors. Those in use stay open; of the others it keeps the most recently used, up to its
// capacity less those in use. All methods may be called concurrently.
type Cache struct {
	max int

	mu   sync.Mutex // a leaf lock: nothing else is locked, and no file touched, while it is held
	open int        // mu; handles in sets, in use or idle
	idle Handle     // mu; head of the ring of unused handles: next is the least recently used
}

// Handle is one use of an open file.
type Handle struct {
	set  *Set
	n    int
	once sync.Once // opens the file; file and err are constant afterwards
	file vfs.File
	err  error

	users      int     // Cache.mu
	prev, next *Handle // Cache.mu; in Cache.idle while there are no users
}

// File is the open file. It must not be closed.
func (h *Handle) File() vfs.File { return h.file }

// New returns a cache that keeps about max descriptors open; a use is never refused. max below 1 means that an unused
// descriptor is closed at once.
func New(max int) *Cache {
	c := &Cache{max: max}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	return c
}

// Open returns how many descriptors are open, in use or not.
func (c *Cache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Acquire opens file n of a set, or finds it open. The caller gives it back with Release. Errors are ErrGone or OpenFile's.
func (c *Cache) Acquire(s *Set, o Owner, n int, create bool) (*Handle, error) {
	c.mu.Lock()
	if s.gone {
		c.mu.Unlock()
		return nil, ErrGone
	}
	h := s.open[n]
	if h == nil {
		h = &Handle{set: s, n: n}
		s.open[n] = h
		c.open++
	} else if h.users == 0 {
		h.unlink()
	}
	h.users++
	old := c.evict()
	c.mu.Unlock()
	closeAll(old)
	h.once.Do(func() { h.file, h.err = o.OpenFile(n, create) })
	if h.err == nil {
		return h, nil
	}
	err := h.err
	if c.Release(h) {
		err = ErrGone // and with it perhaps the name: what OpenFile said is no surprise then
	}
	return nil, err
}

// Release gives back what Acquire returned. It reports whether the set was abandoned.
func (c *Cache) Release(h *Handle) (gone bool) {
	c.mu.Lock()
	var old *Handle
	gone = h.set.gone
	if h.users--; h.users == 0 {
		if h.err != nil || gone {
			c.forget(h)
			old = h
		} else {
			h.prev, h.next = c.idle.prev, &c.idle
			h.prev.next, h.next.prev = h, h
			old = c.evict()
		}
	}
	c.mu.Unlock()
	closeAll(old)
	if gone {
		c.ended(h.set)
	}
	return gone
}

// Abandon makes a set unavailable: Acquire fails from now on, and what is open is closed by its last user.
func (c *Cache) Abandon(s *Set) {
	c.mu.Lock()
	s.gone = true
	var old *Handle
	for _, h := range s.open {
		if h != nil && h.users == 0 {
			h.unlink()
			c.forget(h)
			h.next, old = old, h
		}
	}
	c.mu.Unlock()
	closeAll(old)
}

// After calls f when no file of an abandoned set is open any more: at once, or on the goroutine of its last user.
func (c *Cache) After(s *Set, f func()) {
	c.mu.Lock()
	s.after = append(s.after, f)
	c.mu.Unlock()
	c.ended(s)
}

// ended calls what After was given, if the time has come.
func (c *Cache) ended(s *Set) {
	c.mu.Lock()
	var now []func()
	if s.gone && s.open == [FilesPerSet]*Handle{} {
		now, s.after = s.after, nil
	}
	c.mu.Unlock()
	for _, f := range now {
		f()
	}
}

// evict takes the least recently used idle handles out of their sets, as far as the capacity demands, and returns them
// chained by next for closeAll. mu must be held.
func (c *Cache) evict() *Handle {
	var old *Handle
	for c.open > c.max && c.idle.next != &c.idle {
		h := c.idle.next
		h.unlink()
		c.forget(h)
		h.next, old = old, h
	}
	return old
}

// forget takes h out of its set. mu must be held.
func (c *Cache) forget(h *Handle) {
	h.set.open[h.n] = nil
	c.open--
}

func (h *Handle) unlink() {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
}

// closeAll closes handles that nobody can find any more. Errors of closing say nothing that counts: what must be on the
// disk was synced while its handle was in use.
func closeAll(h *Handle) {
	for h != nil {
		next := h.next
		h.next = nil
		if h.file != nil {
			_ = h.file.Close()
		}
		h = next
	}
}
