package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that can crash. Beside what a program sees, the volatile image, it keeps what
// a power cut would leave, the durable image, and every version in between, per 512-byte sector; likewise for
// file sizes and directory entries. CrashClone draws a state from these; Clone keeps them all, as kill -9 does.
//
// It is stricter than any one disk, as a program should be that runs on all of them: sectors written by one
// call survive independently of each other and of the order of calls, and a durable write carries no earlier
// write with it. It is not stricter than Linux: a rename is atomic, changes of one name keep their order, and a
// surviving size change brings the truncations before it along.
//
// All methods may be called concurrently.
type Mem struct {
	mu       sync.RWMutex
	root     *inode          // mu
	names    []nameOp        // mu; changes of directory entries that no SyncDir covered, oldest first
	locked   map[*inode]bool // mu; held by Lock
	capacity int64           // mu; bytes, 0 is unbounded
	used     int64           // mu; sizes of all files, each rounded up to BlockSize
	lastID   uint64          // mu; of inodes
	lastSeq  uint64          // mu; of writes and size changes
}

// inode is a file or a directory. Its fields belong to Mem.mu.
type inode struct {
	id   uint64 // the same in every clone: the seed of the inode's fate
	dir  bool
	live map[string]*inode // directories: what List shows
	safe map[string]*inode // directories: what a crash leaves at least
	gone bool              // removed from the volatile tree; open handles go on
	file content
}

// entry is a place in a directory.
type entry struct {
	dir  *inode
	name string
}

// nameOp is a change of one directory entry, or of the two of a rename. It survives a crash whole or not at all.
type nameOp struct {
	node *inode
	from entry // zero when node was created
	to   entry // zero when node was removed
}

// NewMem returns an empty file system of unbounded size that holds only the root directory.
func NewMem() *Mem {
	m := &Mem{locked: map[*inode]bool{}}
	m.root = m.newInode(true)
	return m
}

// SetCapacity bounds the sum of all file sizes, each rounded up to BlockSize: what would go beyond fails with
// ENOSPC. 0 lifts the bound. A capacity below what is in use takes nothing away.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

func (m *Mem) newInode(dir bool) *inode {
	m.lastID++
	n := &inode{id: m.lastID, dir: dir}
	if dir {
		n.live, n.safe = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

func parts(name string) []string {
	return strings.FieldsFunc(path.Clean("/"+name), func(r rune) bool { return r == '/' })
}

// lookup returns the entry that name means, in a directory that exists, and the inode there or nil.
func (m *Mem) lookup(name string) (entry, *inode, error) {
	ps := parts(name)
	if len(ps) == 0 {
		return entry{}, m.root, nil
	}
	d := m.root
	for _, p := range ps[:len(ps)-1] {
		next := d.live[p]
		if next == nil {
			return entry{}, nil, syscall.ENOENT
		}
		if !next.dir {
			return entry{}, nil, syscall.ENOTDIR
		}
		d = next
	}
	last := ps[len(ps)-1]
	return entry{d, last}, d.live[last], nil
}

// find is lookup for what has to exist.
func (m *Mem) find(name string) (entry, *inode, error) {
	e, n, err := m.lookup(name)
	if err == nil && n == nil {
		err = syscall.ENOENT
	}
	return e, n, err
}

func pathErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// bind puts a new inode at e.
func (m *Mem) bind(e entry, n *inode) {
	e.dir.live[e.name] = n
	m.names = append(m.names, nameOp{node: n, to: e})
}

// unbind takes the inode at e away.
func (m *Mem) unbind(e entry) {
	n := e.dir.live[e.name]
	delete(e.dir.live, e.name)
	m.names = append(m.names, nameOp{node: n, from: e})
	m.release(n)
}

func (m *Mem) release(n *inode) {
	n.gone = true
	m.used -= RoundUp(n.file.size)
}

// Open implements FS.
func (m *Mem) Open(name string, o OpenOptions) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.open(name, o)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	return &memFile{m: m, n: n, name: name, o: o}, nil
}

func (m *Mem) open(name string, o OpenOptions) (*inode, error) {
	e, n, err := m.lookup(name)
	switch {
	case err != nil:
		return nil, err
	case n == nil && !o.Create:
		return nil, syscall.ENOENT
	case n != nil && o.Create && o.Exclusive:
		return nil, syscall.EEXIST
	case n != nil && n.dir:
		return nil, syscall.EISDIR
	}
	if n == nil {
		n = m.newInode(false)
		m.bind(e, n)
	}
	if o.Truncate && n.file.size > 0 {
		return n, m.resize(n, 0)
	}
	return n, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, n, err := m.find(name)
	switch {
	case err != nil:
	case n == m.root:
		err = syscall.EBUSY
	case n.dir && len(n.live) > 0:
		err = syscall.ENOTEMPTY
	default:
		m.unbind(e)
	}
	return pathErr("remove", name, err)
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, n, err := m.lookup(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && n == nil:
		return nil
	case err == nil && n == m.root:
		err = syscall.EBUSY
	case err == nil:
		m.removeTree(e, n)
	}
	return pathErr("removeall", dir, err)
}

func (m *Mem) removeTree(e entry, n *inode) {
	for _, name := range sortedNames(n.live) {
		m.removeTree(entry{n, name}, n.live[name])
	}
	m.unbind(e)
}

// Rename implements FS.
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldname, newname); err != nil {
		return &fs.PathError{Op: "rename", Path: oldname + " to " + newname, Err: err}
	}
	return nil
}

func (m *Mem) rename(oldname, newname string) error {
	from, n, err := m.find(oldname)
	if err != nil {
		return err
	}
	to, old, err := m.lookup(newname)
	switch {
	case err != nil:
		return err
	case n == m.root || old == m.root:
		return syscall.EBUSY
	case n == old:
		return nil
	case n.dir && slices.Equal(parts(oldname), parts(newname)[:min(len(parts(oldname)), len(parts(newname)))]):
		return syscall.EINVAL // into itself
	case old != nil && n.dir && !old.dir:
		return syscall.ENOTDIR
	case old != nil && !n.dir && old.dir:
		return syscall.EISDIR
	case old != nil && old.dir && len(old.live) > 0:
		return syscall.ENOTEMPTY
	}
	if old != nil {
		m.release(old) // no entry of its own in names: the rename that replaces it is one step
	}
	delete(from.dir.live, from.name)
	to.dir.live[to.name] = n
	m.names = append(m.names, nameOp{node: n, from: from, to: to})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, p := range parts(dir) {
		next := d.live[p]
		if next == nil {
			next = m.newInode(true)
			m.bind(entry{d, p}, next)
		}
		if !next.dir {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
		d = next
	}
	return nil
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, n, err := m.find(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathErr("list", dir, err)
	}
	return sortedNames(n.live), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, n, err := m.find(name)
	if err != nil {
		return Info{}, pathErr("stat", name, err)
	}
	return Info{Size: n.file.size, Dir: n.dir}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, err := m.find(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathErr("syncdir", dir, err)
	}
	m.settleNames(func(op nameOp) bool { return op.from.dir == n || op.to.dir == n })
	return nil
}

// Lock implements FS. A clone starts with no locks held.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.open(name, OpenOptions{Create: true})
	if err == nil && m.locked[n] {
		err = ErrLocked
	}
	if err != nil {
		return nil, pathErr("lock", name, err)
	}
	m.locked[n] = true
	return &memLock{m: m, n: n}, nil
}

type memLock struct {
	m *Mem
	n *inode // m.mu; nil once closed
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.n == nil {
		return fs.ErrClosed
	}
	delete(l.m.locked, l.n)
	l.n = nil
	return nil
}

// Free implements FS. An unbounded Mem reports 1 PiB.
func (m *Mem) Free(dir string) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, _, err := m.find(dir); err != nil {
		return 0, pathErr("statfs", dir, err)
	}
	if m.capacity == 0 {
		return 1 << 50, nil
	}
	return max(0, m.capacity-m.used), nil
}
