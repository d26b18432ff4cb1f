package proc

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// After Prefer this process comes first and its children do not.
func TestPrefer(t *testing.T) {
	before := nice(t)
	if err := Prefer(); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		t.Skip("needs cap_sys_nice: a lower nice value")
	} else if err != nil {
		t.Fatal(err)
	}
	defer each(before)
	if got := nice(t); got != generatorNice {
		t.Errorf("this process runs at nice %d, want %d", got, generatorNice)
	}
	p, err := shell(t, context.Background(), `echo ready nice=$(nice); while :; do sleep 0.01; done`)
	if err != nil {
		t.Fatal(err)
	}
	if got := Fields(p.Line())["nice"]; got != strconv.Itoa(before) {
		t.Errorf("a child runs at nice %s, want %d as before", got, before)
	}
}

func nice(t *testing.T) int {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return 20 - n
}
