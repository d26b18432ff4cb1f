package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// ReadFile returns all of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	} else if int64(n) != size {
		return nil, fmt.Errorf("vfs: read %s: %d bytes of %d: %w", name, n, size, io.ErrUnexpectedEOF)
	}
	return b, nil
}

// WriteFileAtomic makes data the content of the file name, durably: after a crash at any moment the file holds
// either what it held before (or is missing, as before) or data. It writes name.tmp, syncs it, renames it and
// syncs the directory. Two callers for one name must not run at once.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := fsys.Open(tmp, OpenOptions{Create: true, Truncate: true})
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// MkdirAllDurable creates dir and the missing directories above it, and makes their names durable. A directory
// that exists may have been created a moment before the process died, so the name of each is synced before
// anything is created in it, and the name of dir in any case.
func MkdirAllDurable(fsys FS, dir string) error {
	dir = path.Clean(dir)
	parent := path.Dir(dir)
	if parent == dir {
		return fsys.MkdirAll(dir)
	}
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := MkdirAllDurable(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// ZeroFill writes zeros to [off, off+length) and syncs them, so that overwriting the range later needs no block
// allocation and no conversion of unwritten extents, which a mere Preallocate leaves to the first write of each
// block. The range must be aligned to BlockSize when f is direct. progress, which may be nil, is told the bytes
// done, about every MiB. f should not be opened Dsync, or each MiB waits for the disk.
func ZeroFill(f File, off, length int64, progress func(done, total int64)) error {
	const chunk = 1 << 20
	buf := Aligned(int(min(chunk, length)))
	for done := int64(0); done < length; {
		n := min(chunk, length-done)
		if _, err := f.WriteAt(buf[:n], off+done); err != nil {
			return err
		}
		done += n
		if progress != nil {
			progress(done, length)
		}
	}
	return f.Sync()
}
