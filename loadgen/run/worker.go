package run

import (
	"math"
	"sync/atomic"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run/strain"
)

const never = int64(math.MaxInt64)

// window is what the workers of a slice share. Times are CLOCK_MONOTONIC, ns.
type window struct {
	start int64 // of the schedule
	// from and to are the measured window: operations with from ≤ intended < to. Set by the collector; never until it knows.
	from, to atomic.Int64
	// stop ends the arrivals; it is to, or earlier when the run is interrupted or broke.
	stop atomic.Int64
	// drain is how long after stop an answer is waited for.
	drain atomic.Int64
}

// end makes t the end of the arrivals, unless they end sooner.
func (w *window) end(t int64) {
	for {
		old := w.stop.Load()
		if old <= t || w.stop.CompareAndSwap(old, t) {
			return
		}
	}
}

// warm reports whether a second lies wholly before the measured window. Such a second shows every operation; any other shows
// those of the window only, so that the seconds of an interval log add up to the whole.
func (w *window) warm(second int64) bool {
	from := w.from.Load()
	return from == never || w.start+(second+1)*1e9 <= from
}

// worker is one thread of load: it takes arrivals from its schedule, hands them to the driver, and records the answers.
type worker struct {
	driver client.Worker
	stream *pace.Stream
	open   bool // arrivals come from the schedule
	// realtime: the thread is to have a real-time priority; run makes it false when that is not permitted.
	realtime bool
	win      *window
	ledger   *check.Ledger // nil: nothing is kept
	join     *join         // nil: no consumer
	pacer    *pace.Pacer
	rec      *recorder
	delays   *strain.Delays
	quota    int64 // measured operations left to submit

	next    int64 // intended time of the next arrival
	wake    int64 // when to be woken for it
	wakeFor int64 // the arrival that wake was computed for
	full    bool  // the window was full when last looked at
	freedAt int64 // when it last ceased to be
	done    func(*client.Op)
	seen    int64 // answers
	lapped  bool  // delay is of this wake-up
	delay   int64 // ns that the thread was ready and had no CPU, between the answers of the wake-up before and these
	delayed int64 // the same in all
}

const tickNS = int64(50 * time.Millisecond)

// run drives the load to its end. It locks the goroutine to its thread meanwhile. The error says that the system cannot be
// reached any more.
func (k *worker) run() error {
	release, err := k.lock()
	if err != nil {
		return err
	}
	defer release()
	if k.delays, err = strain.OpenDelays(); err != nil {
		return err
	}
	defer k.delays.Close()
	defer func(before int64) {
		k.delays.Lap()
		k.delayed = k.delays.Total() - before
	}(k.delays.Total())
	k.done = k.answered
	k.next = k.win.start + k.stream.Next()
	for {
		now := pace.Now()
		k.rec.turn((now - k.win.start) / 1e9)
		more := k.submit(now)
		inFlight := k.driver.InFlight()
		k.rec.second.all.InFlight, k.rec.second.all.OverdueNS = inFlight, k.overdue(now)
		if !more && inFlight == 0 {
			break
		}
		if stop := k.win.stop.Load(); stop != never && now >= stop+k.win.drain.Load() {
			k.driver.Abandon(k.done)
			break
		}
		k.lapped = false
		if err := k.wait(now, inFlight, more); err != nil {
			k.win.end(pace.Now())
			k.driver.Abandon(k.done)
			k.unsent()
			return err
		}
	}
	k.unsent()
	return nil
}

// realtimeSpinNS bounds how long a thread of real-time priority spins before an arrival: whoever else wants its CPU waits meanwhile, and
// threads that spin make each other late, which has them spin longer. Eight of them starved a machine of two CPUs.
const realtimeSpinNS = 50_000

// lock locks the goroutine to its thread, with the priority that the worker is to have.
func (k *worker) lock() (release func(), err error) {
	if !k.realtime {
		return pace.LockThread()
	}
	if k.realtime, release, err = pace.LockRealtime(); k.realtime {
		k.pacer.MaxSpinNS = min(k.pacer.MaxSpinNS, realtimeSpinNS)
	}
	return release, err
}

// submit hands over every arrival that is due and has room. more: there are arrivals left.
func (k *worker) submit(now int64) (more bool) {
	stop := k.win.stop.Load()
	room := k.driver.Room()
	if k.full && room > 0 {
		k.full, k.freedAt = false, now
	}
	any := false
	for ; room > 0 && k.quota > 0; room-- {
		intended, ready := k.next, now
		if k.open {
			if intended > now || intended >= stop {
				break
			}
			if intended <= k.freedAt {
				ready = intended // it waited for room, not for the generator
			} else if any {
				ready = pace.Now() // it waited for the ones before it, which is the generator's doing
			}
			k.next = k.win.start + k.stream.Next()
		} else {
			if any {
				now = pace.Now()
			}
			if now >= stop {
				break
			}
			intended, ready = now, now
		}
		if k.measures(intended) {
			k.quota--
			k.rec.arrivals++
		}
		k.driver.Submit(intended, ready)
		any = true
		if room == 1 {
			room += k.driver.Room() // there may be more than it could say
		}
	}
	if any {
		k.driver.Flush()
	}
	k.full = room == 0
	if k.quota <= 0 {
		return false
	}
	if k.open {
		return k.next < stop
	}
	return now < stop
}

// wait waits for an answer or for the next arrival, whichever comes first.
func (k *worker) wait(now int64, inFlight int, more bool) error {
	tick := now + tickNS
	if !k.open || !more || k.full {
		return k.driver.Wait(tick, k.done)
	}
	if inFlight == 0 {
		k.driver.Prepare()
		if k.next <= tick {
			k.pacer.SleepUntil(k.next)
			return nil
		}
		// Nothing is in flight, so this only notices that a connection broke.
		return k.driver.Wait(tick, k.done)
	}
	if k.wakeFor != k.next {
		k.wakeFor, k.wake = k.next, k.pacer.WakeAt(k.next)
	}
	if k.wake > tick {
		return k.driver.Wait(tick, k.done)
	}
	before := k.seen
	err := k.driver.Wait(k.wake, k.done)
	if after := pace.Now(); k.wake > now && after >= k.wake && k.seen == before {
		k.pacer.Woke(k.wake, after)
	}
	return err
}

// overdue is how long the oldest arrival has been due that found no room.
func (k *worker) overdue(now int64) int64 {
	if !k.open || !k.full {
		return 0
	}
	return max(now-k.next, 0)
}

// measures reports whether an operation belongs to the measured window.
func (k *worker) measures(intended int64) bool {
	return intended >= k.win.from.Load() && intended < k.win.to.Load()
}

// answered records an operation that the driver hands back.
func (k *worker) answered(op *client.Op) {
	if k.ledger != nil && op.Err == nil {
		k.ledger.Acked(op.Stream, op.Seq, op.Records, op.Base)
	}
	from := k.win.from.Load()
	measured := op.Intended >= from && op.Intended < k.win.to.Load()
	at := op.Acked
	if op.Err != nil {
		at = pace.Now()
	}
	second := (at - k.win.start) / 1e9
	k.rec.turn(second)
	k.rec.op(op, measured, measured || k.win.warm(second))
	k.seen++
	if op.Err != nil {
		return
	}
	if k.join != nil {
		k.join.acked(op, measured)
	}
	if !k.lapped {
		k.lapped, k.delay = true, k.delays.Lap()
		if measured {
			k.rec.delays.Record(k.delay)
		}
	}
	// What counts is the wait that kept this answer from being seen, not all that the thread waited for since the operation began:
	// the answer was not there yet. (Waiting before an operation was sent shows as lag.)
	if took := op.Acked - op.Intended; measured && k.rec.slow.Wants(took) {
		k.rec.slow.Add(result.TailOp{Intended: op.Intended, Acked: op.Acked, DelayNS: k.delay})
	}
}

// unsent counts the arrivals that were due within the window and never found room.
func (k *worker) unsent() {
	if !k.open {
		return
	}
	stop := k.win.stop.Load()
	for ; k.next < stop && k.quota > 0; k.next = k.win.start + k.stream.Next() {
		if k.measures(k.next) {
			k.quota--
			k.rec.arrivals++
			k.rec.unsent++
		}
	}
	k.rec.failed += k.rec.unsent
	k.rec.set.Unsent(k.rec.unsent)
}
