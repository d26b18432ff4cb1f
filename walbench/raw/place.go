package raw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ackline/broker/vfs"
	"ackline/tools/hostinfo/fingerprint"
)

// Place is a directory to measure in, and what is known of the disk below it.
type Place struct {
	Dir       string // absolute, without symbolic links
	Mount     fingerprint.Mount
	Host      fingerprint.Info
	FreeBytes int64

	disk fingerprint.Disk
	root fs.FS
}

// pretenders are file systems whose durable writes say nothing about a disk: the first lie in memory; overlay
// adds a layer, and copies a file up at its first write.
var pretenders = []string{"tmpfs", "ramfs", "devtmpfs", "overlay"}

// FindPlace looks dir up. It refuses the file systems that have no disk of their own unless allow names their type.
func FindPlace(dir string, allow []string) (Place, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return Place{}, fmt.Errorf("raw: %w; want a directory on the disk to be measured", err)
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return Place{}, fmt.Errorf("raw: %s is not a directory (%v); want one on the disk to be measured", abs, err)
	}
	p := Place{Dir: abs, root: os.DirFS("/")}
	if p.Mount, err = fingerprint.FindMount(p.root, abs); err != nil {
		return Place{}, err
	}
	if err := checkType(p.Mount, allow); err != nil {
		return Place{}, err
	}
	if p.Host, err = fingerprint.Collect(p.root, abs); err != nil {
		return Place{}, err
	}
	p.disk, _ = fingerprint.FindDisk(p.root, p.Mount)
	p.FreeBytes, err = vfs.OS().Free(abs)
	return p, err
}

func checkType(m fingerprint.Mount, allow []string) error {
	if !slices.Contains(pretenders, m.Type) || slices.Contains(allow, m.Type) {
		return nil
	}
	return fmt.Errorf("raw: %s is %s, which has no disk of its own: figures from it mean nothing. Give a directory on a real file "+
		"system, or --allow-fs %s if that is what you want to see", m.Point, m.Type, m.Type)
}

// Written returns the bytes that the disk has written since boot, by anybody; 0 when there is no disk or it
// does not tell.
func (p Place) Written() int64 {
	b, err := fs.ReadFile(p.root, path.Join("sys/class/block", p.disk.Name, "stat"))
	if err != nil || p.disk.Name == "" {
		return 0
	}
	const sectorsWritten = 6 // field 7 of Documentation/block/stat.rst, in units of 512 bytes whatever the disk's sectors
	f := strings.Fields(string(b))
	if len(f) <= sectorsWritten {
		return 0
	}
	n, err := strconv.ParseInt(f[sectorsWritten], 10, 64)
	if err != nil {
		return 0
	}
	return n * 512
}

// String describes the place in a line per fact, for people.
func (p Place) String() string {
	get := p.Host.Get
	return fmt.Sprintf("dir          %s\nfile system  %s on %s (%s), %.1f GiB free\ndisk         %s; write cache: %s; FUA: %s; rotational: %s; "+
		"scheduler: %s\nhost         %s × %s, %s, kernel %s\n", p.Dir, p.Mount.Type, p.Mount.Point, p.Mount.Options,
		float64(p.FreeBytes)/(1<<30), get("device"), get("write_cache"), get("fua"), get("rotational"), get("io_scheduler"),
		get("cpus"), get("cpu"), get("virtualization"), get("kernel"))
}

// workName is the directory that a Workspace makes, so that whatever a killed run leaves behind is in one known
// place.
const workName = "walbench.tmp"

// Workspace makes an empty directory in dir, for one run at a time, and returns it with the function that
// removes it and all that is in it. What a killed run left there is removed first. It refuses to fill the disk:
// needs bytes must be free, and a twentieth more.
func Workspace(fsys vfs.FS, dir string, needs int64) (work string, remove func() error, err error) {
	work = path.Join(dir, workName)
	lockName := path.Join(work, "LOCK")
	if err := fsys.MkdirAll(work); err != nil {
		return "", nil, err
	}
	lock, err := fsys.Lock(lockName)
	if errors.Is(err, vfs.ErrLocked) {
		return "", nil, fmt.Errorf("raw: another run is measuring in %s: %w", dir, err)
	}
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return errors.Join(lock.Close(), fsys.RemoveAll(work)) }
	names, err := fsys.List(work)
	for _, name := range names {
		if err == nil && name != path.Base(lockName) {
			err = fsys.RemoveAll(path.Join(work, name))
		}
	}
	var free int64
	if err == nil {
		free, err = fsys.Free(dir)
	}
	if want := needs + needs/20; err == nil && free < want {
		err = fmt.Errorf("raw: %s has %.2f GiB free, the run needs %.2f: fewer or smaller files, or another disk", dir,
			float64(free)/(1<<30), float64(want)/(1<<30))
	}
	if err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return work, remove, nil
}
