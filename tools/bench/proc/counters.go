package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Counters are what the kernel has counted about a process since it began. All but the resident size only grow.
type Counters struct {
	CPUNs               int64 // time on a CPU, all threads that are alive
	VoluntarySwitches   int64 // of threads that are alive: waits
	InvoluntarySwitches int64 // of threads that are alive: preemptions
	ReadBytes           int64 // from a device
	Calls               int64 // of the read and write families, on files and sockets
	CallBytes           int64 // passed to write calls of any kind, sockets included
	WriteBytes          int64 // to a device: direct writes as they happen, buffered ones when the page gets dirty; see OnDevice
	CancelledBytes      int64 // dirty pages that were dropped before they were written
	ResidentBytes       int64 // now
}

// Add returns what was counted about two processes together.
func (c Counters) Add(o Counters) Counters {
	return Counters{
		CPUNs:               c.CPUNs + o.CPUNs,
		VoluntarySwitches:   c.VoluntarySwitches + o.VoluntarySwitches,
		InvoluntarySwitches: c.InvoluntarySwitches + o.InvoluntarySwitches,
		ReadBytes:           c.ReadBytes + o.ReadBytes,
		Calls:               c.Calls + o.Calls,
		CallBytes:           c.CallBytes + o.CallBytes,
		WriteBytes:          c.WriteBytes + o.WriteBytes,
		CancelledBytes:      c.CancelledBytes + o.CancelledBytes,
		ResidentBytes:       c.ResidentBytes + o.ResidentBytes,
	}
}

// Sub returns what was counted between o and c; the resident size is c's.
func (c Counters) Sub(o Counters) Counters {
	return Counters{
		CPUNs:               c.CPUNs - o.CPUNs,
		VoluntarySwitches:   c.VoluntarySwitches - o.VoluntarySwitches,
		InvoluntarySwitches: c.InvoluntarySwitches - o.InvoluntarySwitches,
		ReadBytes:           c.ReadBytes - o.ReadBytes,
		Calls:               c.Calls - o.Calls,
		CallBytes:           c.CallBytes - o.CallBytes,
		WriteBytes:          c.WriteBytes - o.WriteBytes,
		CancelledBytes:      c.CancelledBytes - o.CancelledBytes,
		ResidentBytes:       c.ResidentBytes,
	}
}

// OnDevice is how much of what was counted went, or will go, to a device, when socketBytes of it went to sockets. Neither
// counter is right by itself: WriteBytes counts a buffered write of 4 KiB as 1 MiB where the page cache keeps the file in
// folios of that size (seen with ext4 on Linux 6.18), and CallBytes holds replies too.
func (c Counters) OnDevice(socketBytes int64) int64 {
	return max(0, min(c.WriteBytes-c.CancelledBytes, c.CallBytes-socketBytes))
}

// AtMost is how much of what was counted can have gone to a device: the larger of the two counters that OnDevice weighs. What
// the device wrote beyond it, somebody else wrote.
func (c Counters) AtMost(socketBytes int64) int64 {
	return max(0, c.WriteBytes-c.CancelledBytes, c.CallBytes-socketBytes)
}

// Read reads the counters of pid below root, which is "/proc" but in tests. CPU time comes from the scheduler's own
// nanoseconds (task/*/schedstat) and not from the ticks of stat, which are 10 ms: as long as a whole slice of an idle
// process.
func Read(root string, pid int) (Counters, error) {
	var c Counters
	dir := filepath.Join(root, strconv.Itoa(pid))
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return c, fmt.Errorf("counters: %w", err)
	}
	for _, t := range tasks {
		if err := c.addTask(filepath.Join(dir, "task", t.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return c, fmt.Errorf("counters: %w", err)
		}
	}
	for _, f := range []struct {
		file, key string
		into      *int64
		factor    int64
	}{
		{"io", "read_bytes", &c.ReadBytes, 1}, {"io", "write_bytes", &c.WriteBytes, 1},
		{"io", "wchar", &c.CallBytes, 1}, {"io", "syscr", &c.Calls, 1}, {"io", "syscw", &c.Calls, 1},
		{"io", "cancelled_write_bytes", &c.CancelledBytes, 1}, {"status", "VmRSS", &c.ResidentBytes, 1024},
	} {
		n, err := value(filepath.Join(dir, f.file), f.key)
		if err != nil {
			return c, fmt.Errorf("counters: %w", err)
		}
		*f.into += n * f.factor
	}
	return c, nil
}

// Peak is the most memory of pid that was ever resident, in bytes.
func Peak(root string, pid int) (int64, error) {
	n, err := value(filepath.Join(root, strconv.Itoa(pid), "status"), "VmHWM")
	if err != nil {
		return 0, fmt.Errorf("counters: %w", err)
	}
	return n * 1024, nil
}

// addTask adds one thread. A thread that ends meanwhile is os.ErrNotExist.
func (c *Counters) addTask(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "schedstat"))
	if err != nil {
		return gone(err)
	}
	on, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(on, 10, 64)
	if err != nil {
		return fmt.Errorf("%s/schedstat: %q: want three numbers", dir, text)
	}
	voluntary, err := value(filepath.Join(dir, "status"), "voluntary_ctxt_switches")
	if err != nil {
		return gone(err)
	}
	involuntary, err := value(filepath.Join(dir, "status"), "nonvoluntary_ctxt_switches")
	if err != nil {
		return gone(err)
	}
	c.CPUNs += ns
	c.VoluntarySwitches += voluntary
	c.InvoluntarySwitches += involuntary
	return nil
}

// gone maps the two ways in which a thread's files say that the thread has ended to one.
func gone(err error) error {
	if strings.Contains(err.Error(), "no such process") {
		return os.ErrNotExist
	}
	return err
}

// value returns the number behind "key:" in a file of such lines.
func value(file, key string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			word := strings.Fields(rest)
			if len(word) == 0 {
				break
			}
			return strconv.ParseInt(word[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", file, key)
}
