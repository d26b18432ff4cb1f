package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/node/config"
)

// ownProcess is true in the command itself. Tests that call run are guests of a process that may not be replaced.
var ownProcess bool

// slackVariable stands in the environment of a process that has been replaced once already.
const slackVariable = "ACKLINE_TIMER_SLACK_SET"

// setTimerSlack makes the kernel wake this process's threads from timed sleeps up to slack later than asked for, so that Go's
// monitor thread, which would sleep 20 µs at a time whenever a goroutine has been in a system call, leaves the CPU to those who
// have a request. The monitor is started before any code of ours and has the slack that the process began with. The privileged may
// change that (CAP_SYS_NICE); for others the process begins again with the same arguments, environment and id, which costs them about
// five milliseconds. Whoever asked for a larger slack (systemd's TimerSlackNSec=) keeps it.
func setTimerSlack(slack time.Duration, errOut io.Writer) {
	again := os.Getenv(slackVariable) != ""
	os.Unsetenv(slackVariable)
	if slack <= 0 || again || !ownProcess {
		return
	}
	runtime.LockOSThread() // the slack is the calling thread's, and what it executes inherits it
	defer runtime.UnlockOSThread()
	has, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil && int64(has) >= slack.Nanoseconds() || slackenThreads(slack) == nil {
		return
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0)
	}
	if err == nil {
		env := append(os.Environ(), slackVariable+"=1")
		if path, err := os.Executable(); err == nil {
			syscall.Exec(path, os.Args, env) // returns if it failed: the file is gone, most likely
		}
		err = syscall.Exec("/proc/self/exe", os.Args, env) // the same program under a name that says nothing
	}
	fmt.Fprintf(errOut, "broker: limits.timer_slack_us is without effect, requests may take a tenth longer: %v\n", err)
}

// slackenThreads gives every thread of the process the slack. One that is made meanwhile has that of the thread which makes it, so it is done when
// a look finds no thread that was not seen before.
func slackenThreads(slack time.Duration) error {
	ns := strconv.AppendInt(nil, slack.Nanoseconds(), 10)
	for seen := map[string]bool{}; ; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		before := len(seen)
		for _, t := range threads {
			if seen[t.Name()] {
				continue
			}
			seen[t.Name()] = true
			// Every thread has a directory in /proc itself too, which is not listed.
			err := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", ns, 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) { // these two: it has ended
				return err
			}
		}
		if len(seen) == before {
			return nil
		}
	}
}

// timerSlack is what the configuration means.
func timerSlack(cfg config.Config) time.Duration {
	return time.Duration(cfg.WithDefaults().Limits.TimerSlackUs) * time.Microsecond
}
