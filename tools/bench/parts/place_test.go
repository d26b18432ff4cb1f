package parts

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlace(t *testing.T) {
	all, one, rest, err := Split()
	if err != nil {
		t.Fatal(err)
	}
	if one.Count() != 1 || all.Count() > 1 && one.Count()+rest.Count() != all.Count() || all.Count() == 1 && rest != all {
		t.Errorf("%d CPUs are split into %d and %d", all.Count(), one.Count(), rest.Count())
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	for _, want := range []unix.CPUSet{one, rest, all} {
		var got unix.CPUSet
		if err := Place(pid, want); err != nil {
			t.Error(err)
		} else if err := unix.SchedGetaffinity(pid, &got); err != nil || got != want {
			t.Errorf("placed on %v, %v, want %v", got, err, want)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := Place(pid, all); err == nil {
		t.Error("a process that has ended was placed")
	}
}
