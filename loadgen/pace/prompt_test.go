package pace

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// latency is what all programs of the machine together have asked for.
func latency(t *testing.T) uint32 {
	t.Helper()
	b, err := os.ReadFile(latencyFile)
	if err != nil || len(b) != 4 {
		t.Fatalf("%s: % x, %v", latencyFile, b, err)
	}
	return binary.NativeEndian.Uint32(b)
}

func TestKeepAwake(t *testing.T) {
	release, err := KeepAwake()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs %s: %v", latencyFile, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := latency(t); got != 0 {
		t.Errorf("idle CPUs may take %d µs to wake, want 0", got)
	}
	release()
	if again, err := KeepAwake(); err != nil {
		t.Error("a second time:", err)
	} else {
		again()
	}
}

func policy(t *testing.T) uint32 {
	t.Helper()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Policy
}

func TestLockRealtime(t *testing.T) {
	// The goroutine is locked throughout, so that what is looked at afterwards is the same thread.
	unlock, err := LockThread()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	before := policy(t)
	granted, release, err := LockRealtime()
	if err != nil {
		t.Fatal(err)
	}
	if want := map[bool]uint32{true: unix.SCHED_FIFO, false: before}[granted]; policy(t) != want {
		t.Errorf("granted %t: policy %d, want %d", granted, policy(t), want)
	}
	release()
	if got := policy(t); got != before {
		t.Errorf("afterwards policy %d, before %d", got, before)
	}
	if !granted {
		t.Skip("needs cap_sys_nice: a real-time priority")
	}
}
