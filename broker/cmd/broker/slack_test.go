package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// All threads of a broker have a timer slack of their own, unless it is told to leave that alone: those of a privileged one as it is, another begins
// again for it, once and with the same process id.
func TestTimerSlack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.toml")
	if err := os.WriteFile(file, []byte("[limits]\ntimer_slack_us = -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", os.Getppid()))
	privileged := err == nil
	for _, c := range []struct {
		name  string
		drop  bool // of the privilege
		args  []string
		again bool
		ns    string
	}{
		{"as the test", false, nil, !privileged, "1000000"},
		{"unprivileged", true, nil, true, "1000000"},
		{"told not to", false, []string{"--config", file}, false, "50000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.drop && privileged {
				runtime.LockOSThread() // for good: a thread without the right ends with this goroutine
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_NICE, 0, 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			p := startProcess(t, t.TempDir(), c.args...)
			proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
			env, err := os.ReadFile(proc + "environ")
			if err != nil {
				t.Fatal(err)
			}
			if again := bytes.Contains(env, []byte(slackVariable+"=1")); again != c.again {
				t.Errorf("began again: %v, want %v; %s", again, c.again, p.err.String())
			}
			threads, err := os.ReadDir(proc + "task")
			if err != nil || len(threads) < 3 {
				t.Fatalf("%d threads, %v", len(threads), err)
			}
			for _, thread := range threads {
				// Only the privileged may ask for another process's.
				if ns, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns"); err == nil && strings.TrimSpace(string(ns)) != c.ns {
					t.Errorf("a thread has a timer slack of %s ns, want %s", bytes.TrimSpace(ns), c.ns)
				}
			}
			if comm, err := os.ReadFile(proc + "comm"); err != nil || string(comm) != "broker\n" {
				t.Errorf("the process is called %q, %v", comm, err)
			}
			p.stop(t)
		})
	}
}
