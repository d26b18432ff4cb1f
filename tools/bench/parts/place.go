package parts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Place lets every thread of a process run on these CPUs only. Threads that it starts later inherit that from those that
// start them; so it looks until it finds no new one.
func Place(pid int, cpus unix.CPUSet) error {
	placed := map[int]bool{}
	for {
		tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*"))
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("process %d has no threads to place: %w", pid, errors.Join(err, os.ErrNotExist))
		}
		before := len(placed)
		for _, t := range tasks {
			tid, err := strconv.Atoi(filepath.Base(t))
			if err == nil && !placed[tid] {
				if err = unix.SchedSetaffinity(tid, &cpus); err == unix.ESRCH {
					err = nil // it has ended meanwhile
				}
				placed[tid] = true
			}
			if err != nil {
				return fmt.Errorf("thread %s: sched_setaffinity: %w", t, err)
			}
		}
		if len(placed) == before {
			return nil
		}
	}
}

// Split divides the CPUs that this process may use into one for what is measured and the rest for who measures. With a
// single one both have it.
func Split() (all, one, rest unix.CPUSet, err error) {
	if err = unix.SchedGetaffinity(0, &all); err != nil {
		return all, one, rest, fmt.Errorf("sched_getaffinity: %w", err)
	}
	rest = all
	for cpu := len(all)*strconv.IntSize - 1; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if all.Count() > 1 {
		for cpu := range len(all) * strconv.IntSize {
			if one.IsSet(cpu) {
				rest.Clear(cpu)
			}
		}
	}
	return all, one, rest, nil
}
