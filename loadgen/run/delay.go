package run

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// delays tells how long a thread was ready to run and did not: the second figure of /proc/thread-self/schedstat, in ns since
// the thread began. Reading it takes a microsecond. Used by one locked thread.
type delays struct {
	fd   int // -1: the kernel does not say, and nothing is known
	buf  [96]byte
	last int64
}

func openDelays() (*delays, error) {
	fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return &delays{fd: -1}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("schedstat: %w", err)
	}
	d := &delays{fd: fd}
	d.lap()
	return d, nil
}

func (d *delays) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
}

// lap returns the delay since the lap before.
func (d *delays) lap() int64 {
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
