package pace

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Pacer brings its thread back at absolute times. A sleeping thread comes back late: 40–130 µs were measured on an
// idle virtual machine, most of it leaving the halted state, against a permitted lag of 20 µs. So the pacer asks to be
// woken a margin early and spins over what is left. The margin follows the lateness that is observed, so that a host
// that wakes promptly (or is busy, and so never halts) spins little.
//
// Tried and dropped: a margin fixed by a calibration at the start, which was wrong as soon as the load began, because
// a busy CPU wakes far faster than an idle one.
//
// Used by one locked thread.
type Pacer struct {
	// MaxSpinNS bounds the margin: at most so much of each wait is spent spinning. 0 never spins.
	MaxSpinNS int64
	// Quantile of the lateness is what the margin covers, 0 to 1: the rest of the waits end late by what they exceed it, and the others spin over what
	// they do not use. 0 is marginQuantile.
	Quantile float64

	marginNS float64
	waits    uint64
}

const (
	// The margin tracks a quantile of lateness with a stochastic approximation: of the 99.5th percentile, up by stepNS×0.995 when
	// a wake-up was later than the margin, down by stepNS×0.005 when it was not. Half of the 1% that may exceed
	// the permitted lag is left for other causes.
	marginQuantile = 0.995
	stepNS         = 8_000
	// Every probeEvery-th wait ignores the margin: without it a schedule denser than the margin would spin forever and
	// never learn that waking up has become cheap. 1 in 512 stays well below the 1% that p99 lag looks at.
	probeEvery = 512
)

// WakeAt returns when to ask the kernel to be woken in order to be awake at deadline. At or before now it means: do
// not sleep, spin.
func (p *Pacer) WakeAt(deadline int64) int64 {
	p.waits++
	if p.waits%probeEvery == 0 {
		return deadline
	}
	return deadline - p.MarginNS()
}

// Woke tells the pacer that a sleep that was to end at wake ended at now.
func (p *Pacer) Woke(wake, now int64) {
	q := cmp.Or(p.Quantile, marginQuantile)
	if float64(now-wake) > p.marginNS {
		p.marginNS += stepNS * q
	} else {
		p.marginNS -= stepNS * (1 - q)
	}
	p.marginNS = min(max(p.marginNS, 0), float64(p.MaxSpinNS))
}

// MarginNS is how much early the pacer asks to be woken, in nanoseconds.
func (p *Pacer) MarginNS() int64 { return int64(p.marginNS) }

// SleepUntil returns at deadline (CLOCK_MONOTONIC, ns) or as soon after it as the host allows, and says what time it is.
func (p *Pacer) SleepUntil(deadline int64) int64 {
	at := Now()
	if at >= deadline {
		return at
	}
	if wake := p.WakeAt(deadline); wake > at {
		sleep(wake)
		at = Now()
		p.Woke(wake, at)
	}
	for at < deadline {
		at = Now()
	}
	return at
}

func sleep(until int64) {
	ts := unix.NsecToTimespec(until)
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		if err == nil {
			return
		}
		// The runtime's preemption signals interrupt sleeps; the deadline is absolute, so just sleep on.
		if !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("pace: clock_nanosleep until %d ns: %v", until, err))
		}
	}
}
