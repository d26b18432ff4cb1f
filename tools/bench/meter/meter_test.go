package meter

import (
	"os"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
)

func TestForeignWrites(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		device, own, other int64
		want               string
	}{
		{100 * mib, 100 * mib, 0, ""},
		{101 * mib, 100 * mib, 0, ""},                    // just below 1%
		{103 * mib, 100 * mib, 0, "somebody else wrote"}, //
		{200 << 10, 0, 0, ""},                            // a journal's commit on an idle disk
		{300 << 10, 0, 0, "somebody else wrote"},         //
		{100 * mib, 90 * mib, 10 * mib, "should have been idle"},
		{100 * mib, 100 * mib, 1 * mib, ""},
		{90 * mib, 100 * mib, 0, ""}, // written and not yet on the device
	} {
		if got := Foreign(0, 0, c.device, c.own, c.other); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("device %d, own %d, other %d: %q, want %q", c.device, c.own, c.other, got, c.want)
		}
	}
}

// A file's time of modification moves once a tick, and takes a block of the disk with it.
func TestInodeWritesAreNotForeign(t *testing.T) {
	second := int64(time.Second/tick()) * inodeBlock
	if why := Foreign(time.Second, 0, 10e6+second, 10e6, 0); why != "" {
		t.Error(why)
	}
	if why := Foreign(time.Second, 0, 10e6+2*second+foreignAllowance, 10e6, 0); why == "" {
		t.Error("two blocks a tick were put down to one file")
	}
	for files, want := range map[int64]bool{1000: true, 400: false} {
		if why := Foreign(time.Second, files, 10e6+second+1000*4*inodeBlock, 10e6, 0); (why == "") != want {
			t.Errorf("two blocks for each of 1,000 files, %d of which are known: %q", files, why)
		}
	}
}

// The counters of a side's processes are added up, those of the one in front stand beside them.
func TestProcessesOfASideAreAddedUp(t *testing.T) {
	self := os.Getpid()
	m := Meter{PIDs: map[record.Side][]int{record.System: {self, self}, record.Floor: {self}}}
	r, err := m.Take(record.System)
	if err != nil {
		t.Fatal(err)
	}
	if r.Lead.ResidentBytes <= 0 || r.Own.ResidentBytes < r.Lead.ResidentBytes*3/2 || r.Other.ResidentBytes <= 0 || r.Own.CPUNs < r.Lead.CPUNs {
		t.Errorf("read %+v", r)
	}
	if r, err := m.Take(record.Floor); err != nil || r.Lead.ResidentBytes != 0 || r.Other.ResidentBytes < r.Own.ResidentBytes {
		t.Errorf("a side of one process: %+v, %v", r, err)
	}
	twin := Meter{PIDs: map[record.Side][]int{record.System: {self, self}}, Twin: true}
	if r, err := twin.Take(record.Floor); err != nil || r.Lead.ResidentBytes <= 0 || r.Other.ResidentBytes != 0 {
		t.Errorf("two loads on the same processes: %+v, %v", r, err)
	}
	m.PIDs[record.Floor] = []int{1 << 30}
	if _, err := m.Take(record.System); err == nil || !strings.Contains(err.Error(), "floor") {
		t.Errorf("a process that is gone: %v", err)
	}
}
