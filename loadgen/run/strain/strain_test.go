package strain

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// A generator that collects garbage all the time says so. The monitor is moved by hand: how long a collection takes, and so how
// much of the time it covers, is the machine's.
func TestCollectingGeneratorIsInvalid(t *testing.T) {
	at := pace.Now()
	mon := &Monitor{gcAt: at, gcBefore: at, cycles: collections()}
	window := result.Span{From: at, To: at + 100*collectEvery.Nanoseconds()}
	tail := result.Tail{Total: 10_000, Window: window}
	for at < window.To {
		runtime.GC()
		at += collectEvery.Nanoseconds()
		mon.lookGarbage(at)
		tail.Ops = append(tail.Ops, result.TailOp{Intended: at - 500_000, Acked: at})
	}
	tail.Garbage = mon.garbage
	if v := result.Judge(result.Evidence{Set: hist.NewSet(), Tail: tail}); !v.Has(result.Garbage) {
		t.Errorf("garbage %+v in %+v: %+v", mon.garbage, window, v)
	}
}

// machine writes the files that a monitor reads.
type machine struct{ root string }

func (m machine) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A host that takes the CPU away, and a control group that is throttled, are seen in either version of control groups.
func TestCPULimitIsInvalid(t *testing.T) {
	for name, c := range map[string]struct{ cgroup, file, before, after, stolen, says string }{
		"steal":     {"0::/\n", "sys/fs/cgroup/cpu.stat", "throttled_usec 5\n", "throttled_usec 5\n", "900", "the host took CPU time away"},
		"version 2": {"0::/user/x\n", "sys/fs/cgroup/user/x/cpu.stat", "usage_usec 1\nthrottled_usec 5\n", "usage_usec 9\nthrottled_usec 900000\n", "100", "CPU limit was reached"},
		"version 1": {"4:memory:/y\n3:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu,cpuacct/x/cpu.stat", "throttled_time 5\n", "throttled_time 900000000\n", "100", "CPU limit was reached"},
	} {
		m := machine{t.TempDir()}
		m.write(t, "proc/self/cgroup", c.cgroup)
		m.write(t, c.file, c.before)
		m.write(t, "proc/stat", "cpu  1 2 3 4 5 6 7 100 0 0\ncpu0 1 2 3 4 5 6 7 100 0 0\n")
		mon, err := Start(m.root)
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, c.file, c.after)
		m.write(t, "proc/stat", "cpu  1 2 3 4 5 6 7 "+c.stolen+" 0 0\n")
		if _, err := mon.Finish(); err != nil {
			t.Fatal(err)
		}
		if len(mon.limited) != 1 || mon.limitedBy() == "" {
			t.Errorf("%s: spans %+v, %q", name, mon.limited, mon.limitedBy())
			continue
		}
		// A tail that fell into that stretch, which is a hundredth of the window.
		span := mon.limited[0]
		length := span.To - span.From
		tail := result.Tail{Total: 10_000, Window: result.Span{From: span.From, To: span.From + 100*length}, Limited: mon.limited, LimitedBy: mon.limitedBy()}
		for i := range int64(300) {
			op := result.TailOp{Intended: span.To + length + i, Acked: span.To + length + i + 300_000}
			if i%2 == 0 {
				op = result.TailOp{Intended: span.To - 1, Acked: span.To + 5_000_000 + i}
			}
			tail.Ops = append(tail.Ops, op)
		}
		set := hist.NewSet()
		v := result.Judge(result.Evidence{Set: set, Tail: tail})
		if !v.Has(result.CPULimit) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// A counter that cannot be read for once has not grown when it can be read again.
func TestUnreadableCountersAreNoLimit(t *testing.T) {
	m := machine{t.TempDir()}
	m.write(t, "proc/self/cgroup", "0::/\n")
	const stat, group = "cpu  1 2 3 4 5 6 7 100 0 0\n", "throttled_usec 5\n"
	mon := &Monitor{root: m.root, reasons: map[string]bool{}}
	look := func(stat, group string) {
		m.write(t, "proc/stat", stat)
		m.write(t, "sys/fs/cgroup/cpu.stat", group)
		mon.lookLimits(pace.Now())
	}
	m.write(t, "sys/fs/cgroup/cpu.stat", group)
	mon.group = cpuStat(m.root)
	m.write(t, "proc/stat", stat)
	mon.limits = mon.read()
	before := mon.limits
	look("", "")
	look(stat, group)
	if len(mon.limited) != 0 || mon.limits != before || before.stolen != 1 || before.throttled == 0 {
		t.Errorf("limited %+v, %q, counters %+v then %+v", mon.limited, mon.limitedBy(), before, mon.limits)
	}
	look("cpu  1 2 3 4 5 6 7 200 0 0\n", group)
	if len(mon.limited) != 1 {
		t.Errorf("what was taken after that counts %+v", mon.limited)
	}
}

// On a machine that knows neither, nothing is made up.
func TestNoLimitsToRead(t *testing.T) {
	mon, err := Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mon.Finish(); err != nil {
		t.Fatal(err)
	}
	if len(mon.limited) != 0 || mon.limits != (limits{}) {
		t.Errorf("%+v, %+v", mon.limited, mon.limits)
	}
}

func TestDelaysGrowWhenThereIsNoCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, err := OpenDelays()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.fd < 0 {
		t.Skip("needs schedstat: the kernel does not count the time that threads wait for a CPU")
	}
	if got := secondNumber([]byte("138417 92397 2\n")); got != 92397 {
		t.Errorf("second number %d", got)
	}
	if lap := d.Lap(); lap < 0 {
		t.Errorf("lap of %d ns", lap)
	}
}
