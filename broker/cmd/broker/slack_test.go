package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A broker begins again, once and with the same process id, with a timer slack of its own, unless it is told to leave that alone.
func TestTimerSlack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.toml")
	if err := os.WriteFile(file, []byte("[limits]\ntimer_slack_us = -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		again bool
		ns    string
	}{{nil, true, "1000000"}, {[]string{"--config", file}, false, "50000"}} {
		p := startProcess(t, t.TempDir(), c.args...)
		proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
		env, err := os.ReadFile(proc + "environ")
		if err != nil {
			t.Fatal(err)
		}
		if again := bytes.Contains(env, []byte(slackVariable+"=1")); again != c.again {
			t.Errorf("%v: began again: %v, want %v; %s", c.args, again, c.again, p.err.String())
		}
		// Only the privileged may ask for another process's.
		if ns, err := os.ReadFile(proc + "timerslack_ns"); err == nil && strings.TrimSpace(string(ns)) != c.ns {
			t.Errorf("%v: a timer slack of %s ns, want %s", c.args, ns, c.ns)
		}
		if comm, err := os.ReadFile(proc + "comm"); err != nil || string(comm) != "broker\n" {
			t.Errorf("%v: the process is called %q, %v", c.args, comm, err)
		}
		p.stop(t)
	}
}
