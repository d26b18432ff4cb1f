package wire

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"ackline/loadgen/pace"
)

// alarm wakes one goroutine at absolute times. The runtime's own timers may be a millisecond late, which is more than the way across
// a region. A thread for each wire in clock_nanosleep was no way out: each would keep a processor of the runtime's from the goroutines that
// read the sockets, until the runtime takes it away, which may take 10 ms. So it is a timerfd that the runtime's poller watches: as exact
// as the poller's wake-up, and whoever has something earlier sets it anew without waking anybody.
type alarm struct {
	file *os.File
	fd   int
	pace pace.Pacer
}

// spinNS is how much of a wait may be spent spinning to be there in time. More would take from what is measured.
const spinNS = 50_000

// median has half of the waits end late, by the microseconds that a wake-up takes longer than most, so that the other half spins no longer. A packet
// has milliseconds to go, and a write to five regions is many packets: with the margin of a generator, which may be late once in two hundred times, clients
// and wires together took 695 to 778 µs of CPU a write, with this one 578 to 651 (slices of two launches each, in turns), and the medians of the round
// trips were as far off before as after.
const median = 0.5

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netlab: timerfd_create: %w", err)
	}
	return &alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd, pace: pace.Pacer{MaxSpinNS: spinNS, Quantile: median}}, nil
}

// set has wait return shortly before the deadline, and returns when. Not after close.
func (a *alarm) set(deadlineNS int64) (wakeNS int64) {
	wakeNS = max(1, a.pace.WakeAt(deadlineNS)) // 0 would disarm it
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(wakeNS)}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic(fmt.Sprintf("netlab: timerfd_settime to %d ns: %v", wakeNS, err))
	}
	return wakeNS
}

// wait returns when the time has come that was set; false after close.
func (a *alarm) wait() bool {
	var expirations [8]byte
	for {
		n, err := a.file.Read(expirations[:])
		if err != nil {
			return false
		}
		if n == len(expirations) && binary.NativeEndian.Uint64(expirations[:]) > 0 {
			return true
		}
	}
}

func (a *alarm) close() error { return a.file.Close() }
