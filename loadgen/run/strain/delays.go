package strain

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Delays tells how long a thread was ready to run and did not: the second figure of /proc/thread-self/schedstat, in ns since
// the thread began. Reading it takes a microsecond. Used by one locked thread.
type Delays struct {
	fd   int // -1: the kernel does not say, and nothing is known
	buf  [96]byte
	last int64
}

// OpenDelays begins to count for the calling thread, which has to be locked.
func OpenDelays() (*Delays, error) {
	fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return &Delays{fd: -1}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("schedstat: %w", err)
	}
	d := &Delays{fd: fd}
	d.Lap()
	return d, nil
}

// Close ends the counting.
func (d *Delays) Close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
}

// Lap returns the delay since the lap before.
func (d *Delays) Lap() int64 {
	if d.fd < 0 {
		return 0
	}
	n, err := unix.Pread(d.fd, d.buf[:], 0)
	if err != nil {
		return 0 // the next lap covers this one
	}
	before := d.last
	d.last = secondNumber(d.buf[:n])
	return d.last - before
}

// Total is the delay up to the last lap, since the thread began.
func (d *Delays) Total() int64 { return d.last }

// secondNumber returns the second of the numbers in a line.
func secondNumber(line []byte) (v int64) {
	field := 0
	for _, c := range line {
		if c == ' ' {
			field++
			continue
		}
		if field == 1 && c >= '0' && c <= '9' {
			v = v*10 + int64(c-'0')
		}
		if field > 1 {
			break
		}
	}
	return v
}
