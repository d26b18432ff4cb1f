package pace

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// latencyFile takes, for as long as it is open, how long leaving the idle state may take, in µs (Linux's
// Documentation/power/pm_qos_interface.rst). With 0 idle CPUs poll.
const latencyFile = "/dev/cpu_dma_latency"

// KeepAwake has the idle CPUs of this machine poll instead of halting until release is called, or the process ends. On a virtual
// machine leaving the halted state costs a sleeper 40–130 µs, which is several times the permitted lag; what programs that measure
// wake-ups do about it (cyclictest) is this. It needs the permission to write to the file, and a driver for idle CPUs that
// heeds it. All programs of the machine wake faster.
func KeepAwake() (release func(), err error) {
	// Not an os.File, which the garbage collector would close for a caller that never releases.
	fd, err := unix.Open(latencyFile, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keep CPUs from halting: %s: %w", latencyFile, err)
	}
	if _, err := unix.Write(fd, binary.NativeEndian.AppendUint32(nil, 0)); err != nil {
		return nil, errors.Join(fmt.Errorf("keep CPUs from halting: %s: %w", latencyFile, err), unix.Close(fd))
	}
	return func() { _ = unix.Close(fd) }, nil
}

// LockRealtime is LockThread, and gives the thread the lowest real-time priority: when it wakes it does not queue behind programs of
// the usual kind. It needs CAP_SYS_NICE or a limit RLIMIT_RTPRIO of 1; without them it is LockThread, and granted says so. Only
// for threads that sleep most of the time: the kernel takes the CPU from one that runs for 95% of a second (sched(7)).
func LockRealtime() (granted bool, release func(), err error) {
	unlock, err := LockThread()
	if err != nil {
		return false, nil, err
	}
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}
	if err != nil {
		return false, unlock, nil
	}
	return true, func() {
		// Lowering one's priority is always permitted.
		_ = unix.SchedSetAttr(0, before, 0)
		unlock()
	}, nil
}
