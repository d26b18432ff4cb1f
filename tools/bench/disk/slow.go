package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Slow makes a device slow for a single process, by the kernel's own means: a control group in which only so many writes a second pass
// to it (io.max, or blkio.throttle in the older form). What is queued there waits as it would in front of a disk that is worn out or shared:
// the process's writes and syncs take longer, and nothing fails. It needs root.
type Slow struct {
	Root            string // "/", but in tests
	Device          string // as in /proc/diskstats
	WritesPerSecond int
}

// Where the groups are: that of the newer form, and of the older.
const (
	unified = "sys/fs/cgroup"
	older   = "sys/fs/cgroup/blkio"
)

// Permitted says why it cannot be done here, nil when it can.
func (s Slow) Permitted() error {
	undo, err := s.Down(0)
	if err != nil {
		return fmt.Errorf("a disk cannot be made slow here: %w", err)
	}
	return undo()
}

// Down makes the device slow for a process until undo is called. Process 0 only finds out whether that can be done.
func (s Slow) Down(pid int) (undo func() error, err error) {
	number, err := s.number()
	if err != nil {
		return nil, err
	}
	top, file, rule := filepath.Join(s.Root, older), "blkio.throttle.write_iops_device", fmt.Sprintf("%s %d", number, s.WritesPerSecond)
	if _, err := os.Stat(top); err != nil {
		top, file, rule = filepath.Join(s.Root, unified), "io.max", fmt.Sprintf("%s wiops=%d", number, s.WritesPerSecond)
		if err := put(filepath.Join(top, "cgroup.subtree_control"), "+io"); err != nil {
			return nil, err
		}
	}
	before, err := s.group(pid)
	if err != nil {
		return nil, err
	}
	group, err := os.MkdirTemp(top, fmt.Sprintf("ackline-slow-%d-", pid)) // others may be asking, too
	if err != nil {
		return nil, err
	}
	undo = func() error {
		var err error
		if pid != 0 {
			if err = put(filepath.Join(top, before, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
				if _, gone := os.Stat(filepath.Join(s.Root, "proc", strconv.Itoa(pid))); gone != nil {
					err = nil // it has ended
				}
			}
		}
		return errors.Join(err, os.Remove(group))
	}
	err = put(filepath.Join(group, file), rule)
	if err == nil && pid != 0 {
		err = put(filepath.Join(group, "cgroup.procs"), strconv.Itoa(pid))
	}
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// number is the device's, MAJOR:MINOR; of a partition that of its disk, which is what groups know.
func (s Slow) number() (string, error) {
	if s.Device == "" {
		return "", errors.New("the directory is on no device of its own")
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(s.Root, "sys/class/block", s.Device))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "dev"))
	return strings.TrimSpace(string(text)), err
}

// group is that in which a process is, of the form that is in use.
func (s Slow) group(pid int) (string, error) {
	if pid == 0 {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join(s.Root, "proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return "", err
	}
	in := ""
	for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		parts := strings.SplitN(l, ":", 3)
		if len(parts) == 3 && (parts[1] == "blkio" || parts[1] == "" && in == "") {
			in = parts[2]
		}
	}
	return in, nil
}

// put writes to a file that is there.
func put(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
