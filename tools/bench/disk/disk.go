// Package disk reads what the block device itself counts, so that a slice's figures can be told from somebody else's
// writes, and empties the page cache, so that a cold start is one.
//
// What a program believes it wrote and what reached the device differ: padding, journals, write-back that happens after
// the clock stopped. And on a shared machine a neighbour's burst doubles a latency without leaving a trace in any process.
// The device's own counters see both.
package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Counters are a device's since boot; all of them only grow.
type Counters struct {
	Reads, ReadBytes   int64
	Writes, WriteBytes int64
	Flushes            int64 // cache flushes; 0 on kernels before 5.5
	BusyNs             int64 // time with at least one request in flight, in steps of a millisecond
}

// Sub returns what was counted between o and c.
func (c Counters) Sub(o Counters) Counters {
	return Counters{Reads: c.Reads - o.Reads, ReadBytes: c.ReadBytes - o.ReadBytes, Writes: c.Writes - o.Writes,
		WriteBytes: c.WriteBytes - o.WriteBytes, Flushes: c.Flushes - o.Flushes, BusyNs: c.BusyNs - o.BusyNs}
}

// The columns of a line of diskstats behind major, minor and name, counted from 0
// (the kernel's Documentation/admin-guide/iostats.rst). Sectors are 512 bytes whatever the device's are.
const (
	colReads          = 0
	colSectorsRead    = 2
	colWrites         = 4
	colSectorsWritten = 6
	colInFlight       = 8
	colBusyMs         = 9
	colDiscards       = 11
	colFlushes        = 15
	columnsAtLeast    = 10
	sectorBytes       = 512
)

// Read returns the counters of a device ("vda") from proc/diskstats below root, which is "/" but in tests.
func Read(root, device string) (Counters, error) {
	c, err := columns(root, device)
	if err != nil {
		return Counters{}, err
	}
	return Counters{Reads: c[colReads], ReadBytes: c[colSectorsRead] * sectorBytes, Writes: c[colWrites],
		WriteBytes: c[colSectorsWritten] * sectorBytes, Flushes: c[colFlushes], BusyNs: c[colBusyMs] * 1e6}, nil
}

// columns is a device's line behind its name. What an older kernel does not have is 0.
func columns(root, device string) (c [colFlushes + 1]int64, err error) {
	f, err := os.Open(filepath.Join(root, "proc/diskstats"))
	if err != nil {
		return c, fmt.Errorf("device counters: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 3+columnsAtLeast || words[2] != device {
			continue
		}
		for i := range min(len(c), len(words)-3) {
			if c[i], err = strconv.ParseInt(words[3+i], 10, 64); err != nil {
				return c, fmt.Errorf("device counters of %s: column %d is %q, want a number", device, i, words[3+i])
			}
		}
		return c, nil
	}
	return c, fmt.Errorf("device counters: %s has no line for %q", f.Name(), device)
}

// WriteBack writes back everything dirty on the whole machine: what was built or cleaned up just before would reach the disk half a
// minute later, in the middle of somebody's slice. Then it waits until the device, if it has a name, has trimmed what removed files
// occupied, which a file system mounted with discard has it do behind the sync, and during which it answers nobody: 0.2 s for a GiB on
// the disk that this was written on.
func WriteBack(device string) {
	unix.Sync()
	if device != "" {
		settle(func() (flight, discards int64, err error) {
			c, err := columns("/", device)
			return c[colInFlight], c[colDiscards], err
		})
	}
}

const (
	trimPoll  = 10 * time.Millisecond
	trimQuiet = 10 // polls in a row without a change, with nothing in flight
	trimLimit = 10 * time.Second
)

// settle returns when the device trims nothing any more. An error ends it: whoever reads the counters of a slice says what is wrong.
func settle(look func() (flight, discards int64, err error)) {
	was, limit := int64(-1), time.Now().Add(trimLimit)
	for quiet := 0; quiet < trimQuiet && time.Now().Before(limit); time.Sleep(trimPoll) {
		flight, discards, err := look()
		if err != nil {
			return
		}
		if quiet++; flight > 0 || discards != was {
			quiet = 0
		}
		was = discards
	}
}

// DropCaches writes back everything dirty and empties the page cache of the whole machine. It needs root.
func DropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200); err != nil {
		return fmt.Errorf("empty the page cache: %w", err)
	}
	return nil
}

// Evict drops what the page cache holds of the files below dir, which needs no root: they are synced and then advised
// away one by one. Pages that another process has mapped stay.
func Evict(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("%s: fadvise: %w", name, err)
		}
		return nil
	})
}
