package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDiskMiB has room for what the test writes while nobody fills it.
const smallDiskMiB = 256

// mount makes a small file system at dir.
func mount(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a small file system is mounted, to be filled")
	}
	for _, command := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skip("needs " + command + ": a small file system is made and mounted, to be filled")
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	image := dir + ".ext4"
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image, fmt.Sprintf("%dM", smallDiskMiB)).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skip("needs loop devices: " + err.Error() + " " + string(out))
	}
	t.Cleanup(func() { // behind those that end its processes
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	if err := os.Remove(filepath.Join(dir, "lost+found")); err != nil {
		t.Fatal(err)
	}
}

// What freezes a file system, and what thaws it: FIFREEZE and FITHAW of linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// freeze has the third node's file system take no write, as a disk does that hangs: whoever writes waits.
func (s *stack) freeze() (heal func()) {
	s.t.Helper()
	dir, err := os.Open(s.nodes[2].dir)
	if err != nil {
		s.t.Fatal(err)
	}
	tell := func(what uint) error { return unix.IoctlSetInt(int(dir.Fd()), what, 0) }
	if err := tell(fiFreeze); err != nil {
		s.t.Fatalf("freezing the file system of %s: %v", dir.Name(), err)
	}
	return func() {
		if err := errors.Join(tell(fiThaw), dir.Close()); err != nil {
			s.t.Errorf("thawing the file system of %s: %v", dir.Name(), err)
		}
		s.ready(s.nodes...)
	}
}

// fill takes what is free on dir's file system, but so many bytes; heal gives it back.
func fill(t *testing.T, dir string, but int64) (heal func()) {
	t.Helper()
	name := filepath.Join(dir, "other.people")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	end := int64(0)
	for piece := int64(fs.Bavail)*fs.Bsize - but; piece >= 1<<10; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, end, piece); err {
		case nil:
			if end += piece; but > 0 {
				piece = 0
			}
		case syscall.ENOSPC:
			piece /= 2
		case syscall.EINTR:
		default:
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}
