// Package syncmethod makes a block of a preallocated file durable. The problem: Linux offers half a dozen ways
// to do it, which promise the same and differ by a factor of two in latency, and which of them is the fastest
// depends on the disk, the file system and the time since the last write. So the way is a value, that the WAL
// writes with, walbench compares, the floor shares, and Probe chooses by measuring where the data will lie.
//
// All methods overwrite blocks that are allocated and written already (vfs.ZeroFill); then no method has
// metadata to write, and all are one write and one flush, or one write with the force-unit-access bit where the
// disk has it:
//
//	                  open flags            write                   then
//	direct-dsync      O_DIRECT|O_DSYNC      pwrite
//	direct-fdatasync  O_DIRECT              pwrite                  fdatasync
//	direct-rwf-dsync  O_DIRECT              pwritev2(RWF_DSYNC)
//	buffered-…        the same without O_DIRECT: through the page cache
//
// Fsync is not among them: it adds the inode's times to what fdatasync writes, and nothing that a WAL needs.
package syncmethod

import (
	"fmt"
	"strings"

	"ackline/broker/vfs"
)

// Method is a way to make a write durable. The zero value is none and fails; take one of All, Parse or Probe.
type Method string

// The methods. Their order is the order of preference where they are equally fast.
const (
	DirectDsync       Method = "direct-dsync"
	DirectFdatasync   Method = "direct-fdatasync"
	DirectRWFDsync    Method = "direct-rwf-dsync"
	BufferedDsync     Method = "buffered-dsync"
	BufferedFdatasync Method = "buffered-fdatasync"
	BufferedRWFDsync  Method = "buffered-rwf-dsync"
)

// All returns the methods in order of preference. Direct ones come first, because their cost does not depend on
// the page cache, and fewer system calls come before more.
func All() []Method {
	return []Method{DirectDsync, DirectFdatasync, DirectRWFDsync, BufferedDsync, BufferedFdatasync, BufferedRWFDsync}
}

// Parse returns the method of that name.
func Parse(s string) (Method, error) {
	for _, m := range All() {
		if string(m) == s {
			return m, nil
		}
	}
	names := make([]string, 0, len(All()))
	for _, m := range All() {
		names = append(names, string(m))
	}
	return "", fmt.Errorf("syncmethod: no method %q; there are %s", s, strings.Join(names, ", "))
}

// UnmarshalText is Parse, for flags and TOML.
func (m *Method) UnmarshalText(text []byte) (err error) {
	*m, err = Parse(string(text))
	return err
}

// Direct reports whether the method bypasses the page cache, so that offsets, lengths and memory must be
// multiples of vfs.BlockSize.
func (m Method) Direct() bool {
	return m == DirectDsync || m == DirectFdatasync || m == DirectRWFDsync
}

// Open opens a file for Write: o with Direct and Dsync as the method needs them.
func (m Method) Open(fs vfs.FS, name string, o vfs.OpenOptions) (vfs.File, error) {
	if _, err := Parse(string(m)); err != nil {
		return nil, err
	}
	o.Direct = m.Direct()
	o.Dsync = m == DirectDsync || m == BufferedDsync
	return fs.Open(name, o)
}

// Write writes p at off to a file that Open of the same method returned. On return p is durable; on error
// nobody can tell, and asking again proves nothing (see vfs).
func (m Method) Write(f vfs.File, p []byte, off int64) error {
	var err error
	switch m {
	case DirectDsync, BufferedDsync:
		_, err = f.WriteAt(p, off)
	case DirectRWFDsync, BufferedRWFDsync:
		_, err = f.WriteAtDsync(p, off)
	case DirectFdatasync, BufferedFdatasync:
		if _, err = f.WriteAt(p, off); err == nil {
			err = f.Sync()
		}
	default:
		_, err = Parse(string(m))
	}
	return err
}
