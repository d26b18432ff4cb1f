// Package strain tells what the machine does to the generator: a thread that is ready and has no CPU, a collection of garbage, a host
// or a control group that takes the CPU away.
//
// The problem: a slow answer and a generator that was late to take it look the same. Whoever says that a system has a slow tail has
// to know that the generator was not held up when it happened.
package strain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// Monitor watches, from outside of the workers, what the machine does to the generator: garbage collections of this process, CPU
// time that the host of a virtual machine took away, and a control group's throttling. It notes the stretches of time in which each
// happened. Its own cost is a few microseconds per collectEvery and about a hundred per limitEvery.
type Monitor struct {
	root   string // of /proc and /sys; another one in tests
	group  string // the control group's cpu.stat, "" when there is none
	before usage  // as it was at the start
	stop   chan struct{}
	done   chan struct{}

	// Used by the monitor's goroutine until done is closed.
	cycles   int64
	garbage  []result.Span
	limits   limits
	limited  []result.Span
	reasons  map[string]bool
	gcAt     int64
	limitAt  int64
	gcBefore int64
}

// limits are counters that only grow, in seconds.
type limits struct {
	stolen    float64 // of all CPUs together
	throttled float64
}

const (
	collectEvery = 10 * time.Millisecond
	limitEvery   = 50 * time.Millisecond
	// clockTick is the unit of /proc/stat: USER_HZ, which is 100 on every Linux that Go runs on.
	clockTick = 0.01
)

// Start begins to watch. root is "/" outside of tests.
func Start(root string) (*Monitor, error) {
	m := &Monitor{root: root, group: cpuStat(root), stop: make(chan struct{}), done: make(chan struct{}), reasons: map[string]bool{}}
	now := pace.Now()
	m.gcAt, m.gcBefore, m.limitAt = now, now, now
	m.cycles = collections()
	m.limits = m.read()
	var err error
	if m.before, err = readUsage(m.limits); err != nil {
		return nil, err
	}
	go m.watch()
	return m, nil
}

func (m *Monitor) watch() {
	defer close(m.done)
	t := time.NewTicker(collectEvery)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			m.lookGarbage(pace.Now())
			m.lookLimits(pace.Now())
			return
		case <-t.C:
		}
		now := pace.Now()
		m.lookGarbage(now)
		if now-m.limitAt >= limitEvery.Nanoseconds() {
			m.lookLimits(now)
		}
	}
}

// Finish ends the watching, and says what the process used since Start. The spans may be read afterwards.
func (m *Monitor) Finish() (result.Generator, error) {
	close(m.stop)
	<-m.done
	after, err := readUsage(m.limits)
	if err != nil {
		return result.Generator{}, err
	}
	return after.since(m.before), nil
}

// Garbage is when collections were under way.
func (m *Monitor) Garbage() []result.Span { return m.garbage }

// Limited is when the CPU was taken away, and by whom.
func (m *Monitor) Limited() (spans []result.Span, by string) { return m.limited, m.limitedBy() }

// collections is the number of completed collections. (debug.ReadGCStats would allocate 4 KiB for it.)
func collections() int64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// lookGarbage notes a collection that ended since the last look. It may have begun before that, so the stretch is
// taken from the look before.
func (m *Monitor) lookGarbage(now int64) {
	if n := collections(); n != m.cycles {
		m.cycles = n
		m.garbage = extend(m.garbage, result.Span{From: m.gcBefore, To: now})
	}
	m.gcBefore, m.gcAt = m.gcAt, now
}

func (m *Monitor) lookLimits(now int64) {
	l := m.read()
	if l.stolen > m.limits.stolen {
		m.reasons["the host took CPU time away from this virtual machine"] = true
	}
	if l.throttled > m.limits.throttled {
		m.reasons["the control group's CPU limit was reached"] = true
	}
	if l.stolen > m.limits.stolen || l.throttled > m.limits.throttled {
		m.limited = extend(m.limited, result.Span{From: m.limitAt, To: now})
	}
	m.limits, m.limitAt = l, now
}

// extend appends s, joined with the last span when they touch.
func extend(spans []result.Span, s result.Span) []result.Span {
	if n := len(spans); n > 0 && s.From <= spans[n-1].To {
		spans[n-1].To = s.To
		return spans
	}
	return append(spans, s)
}

func (m *Monitor) limitedBy() string {
	var out []string
	for r := range m.reasons {
		out = append(out, r)
	}
	return strings.Join(out, "; ")
}

// read reads the counters. One that cannot be read stays what it was, or what it is again afterwards would look like growth;
// at first that is 0: not every machine has a host or a limit.
func (m *Monitor) read() limits {
	l := m.limits
	if b, err := os.ReadFile(filepath.Join(m.root, "proc/stat")); err == nil {
		line, _, _ := bytes.Cut(b, []byte("\n"))
		if f := strings.Fields(string(line)); len(f) > 8 && f[0] == "cpu" {
			l.stolen = number(f[8]) * clockTick
		}
	}
	if m.group != "" {
		if b, err := os.ReadFile(m.group); err == nil {
			for line := range strings.Lines(string(b)) {
				switch f := strings.Fields(line); {
				case len(f) != 2:
				case f[0] == "throttled_usec":
					l.throttled = number(f[1]) / 1e6
				case f[0] == "throttled_time": // version 1
					l.throttled = number(f[1]) / 1e9
				}
			}
		}
	}
	return l
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return v
}

// cpuStat finds the file in which this process's control group counts throttling.
func cpuStat(root string) string {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		// number:controllers:path, with no controllers for version 2
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		base := ""
		switch {
		case f[1] == "":
			base = "sys/fs/cgroup"
		case strings.Contains(","+f[1]+",", ",cpu,"):
			base = "sys/fs/cgroup/" + f[1]
		default:
			continue
		}
		// Inside of a container the path may be the host's and the file at the top.
		for _, p := range []string{filepath.Join(root, base, f[2], "cpu.stat"), filepath.Join(root, base, "cpu.stat")} {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return ""
}

// usage is what this process used so far.
type usage struct {
	user, system       time.Duration
	voluntary, preempt int64
	collections        int64
	limits             limits
}

func readUsage(l limits) (usage, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return usage{}, fmt.Errorf("getrusage: %w", err)
	}
	return usage{user: time.Duration(ru.Utime.Nano()), system: time.Duration(ru.Stime.Nano()), voluntary: ru.Nvcsw, preempt: ru.Nivcsw,
		collections: collections(), limits: l}, nil
}

// since turns two readings into what a result says about the generator.
func (u usage) since(before usage) result.Generator {
	return result.Generator{
		GOMAXPROCS:         runtime.GOMAXPROCS(0),
		CPUs:               runtime.NumCPU(),
		UserSeconds:        (u.user - before.user).Seconds(),
		SystemSeconds:      (u.system - before.system).Seconds(),
		VoluntarySwitches:  u.voluntary - before.voluntary,
		Preemptions:        u.preempt - before.preempt,
		GarbageCollections: u.collections - before.collections,
		StolenSeconds:      u.limits.stolen - before.limits.stolen,
		ThrottledSeconds:   u.limits.throttled - before.limits.throttled,
	}
}
