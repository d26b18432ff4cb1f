package run

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/client"
	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// idle is a driver whose system answers at once; what takes time is the generator's own, in work.
type idle struct {
	room   int
	work   func(n int) // called for the n-th operation, on the worker's thread
	submit bool        // work is done in Submit, else in Wait
	ops    []client.Op
	n      int

	streams []client.Stream // nil: one
}

func (d *idle) Workers() []client.Worker { return []client.Worker{d} }
func (d *idle) Streams() []client.Stream {
	if d.streams != nil {
		return d.streams
	}
	return []client.Stream{{}}
}
func (d *idle) Effective() client.Effective { return client.Effective{InFlight: d.room, Threads: 1} }
func (d *idle) Close() error                { return nil }
func (d *idle) Room() int                   { return d.room - len(d.ops) }
func (d *idle) InFlight() int               { return len(d.ops) }
func (d *idle) Flush()                      {}
func (d *idle) Prepare()                    {}

func (d *idle) Submit(intended, ready int64) {
	d.n++
	if d.submit {
		d.work(d.n)
	}
	d.ops = append(d.ops, client.Op{Intended: intended, Ready: ready, Sent: pace.Now(), Seq: uint64(d.n), Records: 1})
}

func (d *idle) Wait(_ int64, done func(*client.Op)) error {
	for i := range d.ops {
		if !d.submit {
			d.work(int(d.ops[i].Seq))
		}
		d.ops[i].Acked = max(pace.Now(), d.ops[i].Sent+2000)
		done(&d.ops[i])
	}
	d.ops = d.ops[:0]
	return nil
}

func (d *idle) Abandon(done func(*client.Op)) {
	for i := range d.ops {
		d.ops[i].Err = client.ErrAbandoned
		done(&d.ops[i])
	}
	d.ops = d.ops[:0]
}

func sessionOf(d client.Driver) *Session {
	return &Session{cfg: Config{Floor: "none:1"}.normal(), driver: d, effective: d.Effective()}
}

// A generator that cannot keep up with its schedule, although the system has room, says so.
func TestLateGeneratorIsInvalid(t *testing.T) {
	s := sessionOf(&idle{room: 1 << 20, submit: true, work: func(int) {
		for end := pace.Now() + 100_000; pace.Now() < end; {
		}
	}})
	out := slice(t, s, Spec{Arrivals: constant(20_000), For: 300 * time.Millisecond})
	if v := out.Verdict(); !v.Has(result.Lag) {
		t.Errorf("lag p99 %v, response p99 %v: %+v", out.Set.Lag.Percentile(99, 0), out.Set.Response.Percentile(99, 0), v)
	}
	if p := out.Set.Backlog.Percentile(50, 0).NS; p > int64(10*time.Millisecond) {
		t.Errorf("the generator's own lateness counts as backlog: %v", hist.Value{NS: p})
	}
}

// pin binds the calling thread to one CPU until unpin.
func pin(t *testing.T, cpu int) (unpin func()) {
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		t.Fatal(err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.SchedSetaffinity(0, &old); err != nil {
			t.Error(err)
		}
	}
}

func threadCPU() time.Duration {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &ru) // cannot fail with these arguments
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// A generator whose thread is ready and gets no CPU before it sees some of its answers says so; in a closed loop no lag
// would show it. One answer in ten takes it 3 ms of CPU, on a CPU that it shares with three busy threads.
func TestStarvedGeneratorIsInvalid(t *testing.T) {
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + 6)
	defer runtime.GOMAXPROCS(procs)
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !set.IsSet(cpu) {
		cpu++
	}
	var stop atomic.Bool
	defer stop.Store(true)
	for range 3 {
		go func() {
			runtime.LockOSThread() // never unlocked: the pinned thread ends with its goroutine
			pin(t, cpu)
			for !stop.Load() {
			}
		}()
	}
	s := sessionOf(&idle{room: 1, work: func(n int) {
		if n%10 == 0 {
			unpin := pin(t, cpu)
			for end := threadCPU() + 3*time.Millisecond; threadCPU() < end; {
			}
			unpin()
		}
	}})
	out := slice(t, s, Spec{Arrivals: closed, For: 20 * time.Second, Count: 1500})
	if v := out.Verdict(); !v.Has(result.Starved) {
		t.Errorf("ready without a CPU for %.2f s, response p99 %v: %+v", out.Generator.RunDelaySeconds, out.Set.Response.Percentile(99, 0), v)
	}
}

func TestQuietUndoes(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	undo := Quiet(3)
	if got := runtime.GOMAXPROCS(0); got < runtime.NumCPU()+3 {
		t.Errorf("GOMAXPROCS %d with 3 threads on %d CPUs", got, runtime.NumCPU())
	}
	undo()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("GOMAXPROCS %d, was %d", got, before)
	}
}

// The consumer may have a record before or after its acknowledgement; either way it is counted once.
func TestJoin(t *testing.T) {
	s := sessionOf(&idle{room: 1})
	s.payloads = frame.NewPayloads(1, 64)
	j := newJoin(s.payloads, 1)
	value := func(seq uint64) []byte {
		v := make([]byte, s.payloads.Size())
		s.payloads.Put(v, 0, seq)
		return v
	}
	j.acked(&client.Op{Seq: 0, Sent: 100_000, Acked: 300_000}, true) // first the answer
	j.consumed(value(0), 450_000)
	j.consumed(value(1), 250_000) // first the record
	j.acked(&client.Op{Seq: 1, Sent: 100_000, Acked: 300_000}, true)
	j.acked(&client.Op{Seq: 2, Sent: 1, Acked: 2}, false) // not measured
	j.consumed(value(2), 3)
	j.acked(&client.Op{Seq: 3, Sent: 1, Acked: 2}, true) // never seen
	e2e, wait, early, unread := j.sum()
	if e2e.Count() != 2 || wait.Count() != 2 || early != 1 || unread != 1 {
		t.Errorf("%d end to end, %d delivered, %d early, %d unread; want 2, 2, 1, 1", e2e.Count(), wait.Count(), early, unread)
	}
	if m := e2e.Max(); m < 350_000 || m > 350_999 {
		t.Errorf("end to end up to %d ns, want 350,000", m)
	}
	j.reset()
	j.consumed(value(3), 9)
	if e2e, _, _, unread := j.sum(); e2e.Count() != 0 || unread != 0 {
		t.Error("a record of the slice before is counted in the next")
	}
}
