// Package parts is what a floor's check is made of: raw sync, TCP echo, and where they run. The problem: a floor is believed
// because it takes hardly longer than its parts, and parts that are measured alone are measured under better conditions.
//
// A launch takes E, the bare TCP echo, R, the raw sync, F, the floor, and P, the TCP echo that pauses before each answer for
// about as long as R takes. F's p50 may be at most record.FloorCheckBar × (R + what P takes beside its pauses). E is there to
// explain, and to bound what P may say. At first it was the second term, and that compared unlike things: the bare echo
// answers while every CPU is awake; after a disk's time server and client have both gone to sleep, and on a virtual machine
// their waking up costs 3 to 12 µs that no program could spare. Beside a sync of 100 µs that was nothing, beside one of 36 µs
// it was the bar. P idles just so, in the code that E runs, and what it waits is measured as the raw sync is and taken off.
// Whatever the floor does with a request beyond reading, writing and answering is in F alone, and fails the check.
//
// With several nodes R is a majority of followers' hops and syncs beside one another (Quorum), and nobody is placed: all of them
// share the CPUs in either.
//
// Servers and raw sync of one node run on one CPU meanwhile, the client on the others: a disk with one queue interrupts one CPU, and a
// thread that waits on that one has its write done in 36 µs where it takes 47 on the other. Which one a thread is on is the
// kernel's choice, and it chose differently for each of the parts.
package parts

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/stats"
)

// idleAtMost bounds what idling may be said to cost an answer, as a multiple of the bare echo. On a busy host the pauses
// tell nothing, and then the check shall rather fail than pass.
const idleAtMost = 2

// Ratio is the floor's p50 as a multiple of what a durable answer takes at least. NaN, which is no figure, when the
// echo was faster than its pauses.
func Ratio(floorUs, syncUs, echoUs, pausedUs, pauseUs float64) float64 {
	if pausedUs <= pauseUs {
		return math.NaN()
	}
	return floorUs / (syncUs + min(pausedUs-pauseUs, idleAtMost*echoUs))
}

// ring is large enough for the disk not to see the same block twice in a row, and small enough to be filled at once.
const ring = 4 << 20

// requestOverhead is about what a Produce frame holds beside its records' values.
const requestOverhead = 160

// blockBytes is what the floor writes for one request with values of so many bytes.
func blockBytes(valueBytes int) int {
	return int(vfs.RoundUp(int64(echo.HeaderBytes + valueBytes + requestOverhead)))
}

// Lane makes the file that Sync writes to, in blocks as large as the floor's for one request with values of so many bytes.
func Lane(name, method string, valueBytes int) (*syncmethod.Lane, error) {
	m, err := syncmethod.Parse(method)
	if err != nil {
		return nil, err
	}
	return syncmethod.NewLane(vfs.OS(), name, m, blockBytes(valueBytes), ring, nil)
}

// Sync writes for about length, on the given CPUs unless they are nil, and returns the median in µs.
func Sync(lane *syncmethod.Lane, gap, length time.Duration, on *unix.CPUSet) (float64, error) {
	us, err := Syncs(lane, gap, length, on)
	if err != nil {
		return 0, err
	}
	return stats.Median(us), nil
}

// Syncs is Sync that returns what each write took, in µs, in the order of the writes.
func Syncs(lane *syncmethod.Lane, gap, length time.Duration, on *unix.CPUSet) (us []float64, err error) {
	p, err := syncmethod.NewPacer() // which locks the thread
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if on != nil {
		var before unix.CPUSet
		if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, on)); err != nil {
			return nil, fmt.Errorf("raw sync: affinity: %w", err)
		}
		defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
	}
	for end := p.Now() + length.Nanoseconds(); p.Now() < end; {
		if err := lane.Slice(p, 16, gap, func(ns int64) { us = append(us, float64(ns)/1e3) }); err != nil {
			return nil, fmt.Errorf("raw sync: %w", err)
		}
	}
	return us, nil
}
