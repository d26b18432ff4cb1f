// Package meter reads everything that the kernel counts before and after a slice.
//
// A slice's figures are its side's only if nobody else used the disk meanwhile. So beside the counters of the processes that are
// measured stand those of the side that should have been idle, of the client, of the whole machine and of the device, and
// Foreign says what does not add up.
package meter

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ackline/tools/bench/disk"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
)

// Reading is everything the kernel counts at one moment.
type Reading struct {
	At     time.Time
	CPU    proc.CPU // of the whole machine
	Device disk.Counters
	Own    proc.Counters // of the side that is being measured, all of its processes
	Lead   proc.Counters // of the one of them that leads, where there are several
	Other  proc.Counters // of the side that should be idle
	Bench  proc.Counters // of this process, which is the client
}

// Meter reads counters before and after a slice.
type Meter struct {
	Device string                // "" when there is no block device: then nothing is known about foreign writes
	PIDs   map[record.Side][]int // of the processes that are running, the one that leads in front
	Twin   bool                  // both sides are loads on the system's processes: none should be idle
}

// Take reads them all. s is the side that is measured.
func (m *Meter) Take(s record.Side) (Reading, error) {
	r := Reading{At: time.Now()}
	var err error
	if r.CPU, err = proc.ReadCPU("/proc"); err != nil {
		return r, err
	}
	if m.Device != "" {
		if r.Device, err = disk.Read("/", m.Device); err != nil {
			return r, err
		}
	}
	if m.Twin {
		s = record.System
	}
	for who, pids := range m.PIDs {
		for i, pid := range pids {
			c, err := proc.Read("/proc", pid)
			if err != nil {
				return r, fmt.Errorf("%s: %w", who, err)
			}
			switch {
			case who != s:
				r.Other = r.Other.Add(c)
			case i == 0 && len(pids) > 1:
				r.Own, r.Lead = r.Own.Add(c), c
			default:
				r.Own = r.Own.Add(c)
			}
		}
	}
	r.Bench, err = proc.Read("/proc", os.Getpid())
	return r, err
}

// What may be written by nobody that we know of: 1% of what the device wrote, but at least a few commits of the file
// system's own journal, which kernel threads write on behalf of whoever touched a file.
const (
	foreignShare     = 0.01
	foreignAllowance = 256 << 10
)

// inodeBlock is what a sync writes beside the data when the file's time of modification has moved since the last one: the
// block that the inode lies in. The time moves with the kernel's tick, however many writes there are between two.
const inodeBlock = 4096

// blocksPerFile is how many such blocks there are for each of many files that have grown within a slice and are then synced: the
// inode, the journal's copy of it, and the first and the last block of that transaction.
const blocksPerFile = 4

// tick is the resolution of the clock that files' times are taken from.
var tick = sync.OnceValue(func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &ts); err != nil || ts.Nano() <= 0 {
		return time.Millisecond // the finest tick that Linux is built with
	}
	return time.Duration(ts.Nano())
})

// Foreign explains why a slice's figures may be somebody else's, "" when nothing speaks for it. own is what the measured
// side and the client wrote to the device, other what the side wrote that should have been idle. files is how many
// files were written to beside the log, when they are many.
func Foreign(length time.Duration, files int64, deviceBytes, ownBytes, otherBytes int64) string {
	limit := max(int64(foreignShare*float64(deviceBytes)), foreignAllowance)
	if otherBytes > limit {
		return fmt.Sprintf("the side that should have been idle wrote %d bytes of the device's %d: it had not drained", otherBytes, deviceBytes)
	}
	times := (int64(length/tick()) + 1 + blocksPerFile*files) * inodeBlock
	if extra := deviceBytes - ownBytes - otherBytes - times; extra > limit {
		return fmt.Sprintf("somebody else wrote %d of the %d bytes that the device wrote, more than %.0f%%: another program uses this disk",
			extra, deviceBytes, 100*foreignShare)
	}
	return ""
}
