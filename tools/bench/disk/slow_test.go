package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kernel is a tree that looks like the kernel's: a disk vda with a partition, process 7 in a group, and files.
func kernel(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	put := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("sys/devices/x/vda/dev", "254:0\n")
	put("sys/devices/x/vda/vda1/dev", "254:1\n")
	put("sys/devices/x/vda/vda1/partition", "1\n")
	if err := os.MkdirAll(filepath.Join(root, "sys/class/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"vda": "../../devices/x/vda", "vda1": "../../devices/x/vda/vda1"} {
		if err := os.Symlink(to, filepath.Join(root, "sys/class/block", link)); err != nil {
			t.Fatal(err)
		}
	}
	put("proc/7/cgroup", "7:blkio:/jobs\n0::/there\n")
	for _, f := range files {
		put(f, "")
	}
	return root
}

// Groups cannot be made in a tree of plain files, since the kernel puts the files into each: what is asked of it is told from the error.
func TestSlowAsksTheRightGroup(t *testing.T) {
	for _, c := range []struct {
		name, device string
		files        []string
		want         string // of the file that is not there
	}{
		{"older form, a partition", "vda1", []string{"sys/fs/cgroup/blkio/cgroup.procs", "sys/fs/cgroup/blkio/jobs/cgroup.procs"}, "blkio.throttle.write_iops_device"},
		{"newer form", "vda", []string{"sys/fs/cgroup/cgroup.subtree_control", "sys/fs/cgroup/there/cgroup.procs"}, "io.max"},
		{"newer form, no right to it", "vda", []string{"sys/fs/cgroup/cgroup.procs"}, "cgroup.subtree_control"},
		{"no device", "", nil, "no device"},
		{"another device", "sdb", nil, "sdb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Slow{Root: kernel(t, c.files...), Device: c.device, WritesPerSecond: 20}
			_, err := s.Down(7)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want something of %s", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Root, "sys/fs/cgroup/*/ackline*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if err := s.Permitted(); err == nil || !strings.Contains(err.Error(), "cannot be made slow here") {
				t.Errorf("permitted: %v", err)
			}
		})
	}
}

// The disk's number is that of the whole disk, and a process's group that of the form in use.
func TestSlowReadsTheKernel(t *testing.T) {
	root := kernel(t)
	for _, device := range []string{"vda", "vda1"} {
		if n, err := (Slow{Root: root, Device: device}).number(); err != nil || n != "254:0" {
			t.Errorf("%s: %q, %v", device, n, err)
		}
	}
	if g, err := (Slow{Root: root}).group(7); err != nil || g != "/jobs" {
		t.Errorf("group %q, %v", g, err)
	}
}
