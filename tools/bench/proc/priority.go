package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// generatorNice is the nice value of the client. On a machine with few CPUs the client shares them with what it measures;
// a client that waits for a CPU measures its own wait. It is the same for both sides of every pair.
const generatorNice = -10

// Prefer gives every thread of this process, and those that they will start, precedence over the programs that it
// starts, which stay at the nice value that this process had. It needs CAP_SYS_NICE. Call it before the first Start.
func Prefer() error {
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return fmt.Errorf("getpriority: %w", err)
	}
	const zero = 20 // the system call returns 20 less the nice value, so that nothing is negative
	set := make(chan error)
	forks() <- func() { set <- nil } // the thread that forks exists now
	<-set
	if err := each(generatorNice); err != nil {
		return err
	}
	forks() <- func() { set <- unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), zero-before) }
	return <-set
}

// each sets the nice value of all threads of this process.
func each(nice int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("/proc/self/task: %w", err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("setpriority: %w", err)
		}
	}
	return nil
}
