package fingerprint

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Mount is where a directory lives.
type Mount struct {
	Point   string // "/"
	Type    string // "ext4"
	Source  string // "/dev/vda"
	Options string // of the mount and of the file system, sorted as the kernel lists them, without duplicates
	Device  string // "254:0"; the major number is 0 when no block device is behind it
}

// FindMount returns the mount that holds dir, an absolute path without symbolic links. Of several mounts on the same
// point the last one counts: it covers the others.
func FindMount(root fs.FS, dir string) (Mount, error) {
	const table = "proc/self/mountinfo"
	f, err := root.Open(table)
	if err != nil {
		return Mount{}, fmt.Errorf("fingerprint: %w", err)
	}
	defer f.Close()
	var best Mount
	for sc := bufio.NewScanner(f); sc.Scan(); {
		m, ok := parseMount(sc.Text())
		if ok && within(dir, m.Point) && len(m.Point) >= len(best.Point) {
			best = m
		}
	}
	if best.Point == "" {
		return Mount{}, fmt.Errorf("fingerprint: no mount in /%s holds %s", table, dir)
	}
	return best, nil
}

// parseMount reads one line of mountinfo(5):
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (Mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return Mount{}, false
	}
	options := strings.Split(l[5], ",")
	if len(r) > 2 {
		options = append(options, strings.Split(r[2], ",")...)
	}
	var unique []string
	seen := map[string]bool{}
	for _, o := range options {
		if !seen[o] {
			seen[o] = true
			unique = append(unique, o)
		}
	}
	return Mount{Point: unescape(l[4]), Device: l[2], Type: r[0], Source: unescape(r[1]), Options: strings.Join(unique, ",")}, true
}

// unescape undoes the octal escapes that mountinfo uses for white space and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func within(dir, point string) bool {
	return point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
}

// Disk is the block device behind a mount.
type Disk struct {
	Name  string // whole disk, as in /proc/diskstats: "vda", "nvme0n1", "dm-0"
	Below string // disks that a mapped device or RAID lies on, comma-separated; "" for none
	dir   string // its directory in sysfs, relative to the root
}

// FindDisk returns the whole disk that holds the mount, and false when there is no block device behind it (tmpfs,
// overlay, a network file system, file systems with device numbers of their own).
func FindDisk(root fs.FS, m Mount) (Disk, bool) {
	link := "sys/dev/block/" + m.Device
	target, err := fs.ReadLink(root, link)
	if err != nil {
		return Disk{}, false
	}
	dir := path.Join(path.Dir(link), target)
	if _, err := fs.Stat(root, path.Join(dir, "partition")); err == nil {
		dir = path.Dir(dir)
	}
	d := Disk{Name: path.Base(dir), dir: dir}
	if below, err := fs.ReadDir(root, path.Join(dir, "slaves")); err == nil {
		names := make([]string, len(below))
		for i, b := range below {
			names[i] = b.Name()
		}
		d.Below = strings.Join(names, ",")
	}
	return d, true
}
