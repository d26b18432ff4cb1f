package selftest

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func closeFD(fd int) error { return unix.Close(fd) }

// oneCPU puts the whole generator on one CPU and the responder on the others, until undo is called: every thread, those that
// gather and those that collect garbage included, so that "one core" is no more than that. how says what was done. responder
// is a process, 0 to leave it where it is.
func oneCPU(responder int) (undo func() error, how string, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, "", fmt.Errorf("sched_getaffinity: %w", err)
	}
	mine, others := split(all)
	me := os.Getpid()
	undo = func() error {
		err := bind(me, all)
		if responder != 0 {
			err = errors.Join(err, bind(responder, all))
		}
		return err
	}
	if err := bind(me, mine); err != nil {
		return nil, "", errors.Join(err, undo())
	}
	how = "all threads of the generator on one CPU (sched_setaffinity), one of them making load"
	switch {
	case others.Count() == 0:
		return undo, how + "; the responder on the same one, because there is no other: what is measured is both", nil
	case responder == 0:
		return undo, how, nil
	}
	if err := bind(responder, others); err != nil {
		return nil, "", errors.Join(err, undo())
	}
	return undo, how + "; the responder on another", nil
}

// split takes the last CPU from the others: the first is where a host's interrupts go more often than not.
func split(all unix.CPUSet) (last, others unix.CPUSet) {
	others = all
	for cpu := len(all)*64 - 1; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			last.Set(cpu)
			others.Clear(cpu)
			break
		}
	}
	return last, others
}

// bind gives every thread of a process the given CPUs. A thread that is made meanwhile has those of its maker, so it goes over them
// until there is none that it has not seen.
func bind(pid int, cpus unix.CPUSet) error {
	seen := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("threads of process %d: %w", pid, err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || seen[id] {
				continue
			}
			seen[id], fresh = true, true
			if err := unix.SchedSetaffinity(id, &cpus); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("sched_setaffinity of thread %d: %w", id, err)
			}
		}
	}
	return nil
}
