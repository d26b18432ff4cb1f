// Package raw measures what a disk can do, below any WAL: durable writes by each sync method, the best durable
// sequential rate, and the best read rate.
//
// The problem is that a disk has no speed. On one virtual machine the same durable write took 50 µs in a tight
// loop, 100 µs when 200 µs passed between writes, 250 µs at 2 ms, and drifted twofold within minutes. Measured
// one after the other, two methods differ by the drift; measured in a loop, both flatter. So every row has a
// cadence, and rows are measured in small slices in an order that turns round every time (A B B A): whatever
// the disk does meanwhile, it does to all of them. Measuring each row in one piece was tried first, and ranked
// the methods differently on each run.
package raw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// Config says what Run measures: every combination of method, size and cadence is a row.
type Config struct {
	Methods   []syncmethod.Method
	Sizes     []int           // bytes of one write; multiples of vfs.BlockSize
	Cadences  []time.Duration // what passes between one write's return and the next one's start; 0 is a tight loop
	Count     int             // writes per row, at least; 0: For decides
	For       time.Duration   // time that each row is measured, pauses between its writes included; 0: Count decides
	Writers   int             // how many write at once, each to a file of its own
	RingBytes int64           // size of each file; it is overwritten again and again
}

// Default returns the configuration that walbench raw starts from. 10,000 writes are the least that a p99 needs.
func Default() Config {
	return Config{
		Methods:   syncmethod.All(),
		Sizes:     []int{vfs.BlockSize},
		Cadences:  []time.Duration{0, 200 * time.Microsecond, 2 * time.Millisecond},
		Count:     10_000,
		Writers:   1,
		RingBytes: 16 << 20,
	}
}

// Validate says what is wrong with a configuration, and what would be right.
func (c Config) Validate() error {
	switch {
	case len(c.Methods) == 0 || len(c.Sizes) == 0 || len(c.Cadences) == 0:
		return errors.New("raw: no methods, sizes or cadences; want at least one of each")
	case c.Count < 0 || c.For < 0 || (c.Count == 0) == (c.For == 0):
		return fmt.Errorf("raw: count %d and time %v; want exactly one of them above 0", c.Count, c.For)
	case c.Writers < 1 || c.Writers > 1024:
		return fmt.Errorf("raw: %d writers; want 1 to 1024", c.Writers)
	case c.RingBytes > 1<<40:
		return fmt.Errorf("raw: ring of %d bytes; want at most 1 TiB", c.RingBytes)
	}
	for _, m := range c.Methods {
		if _, err := syncmethod.Parse(string(m)); err != nil {
			return err
		}
	}
	for _, s := range c.Sizes {
		if s <= 0 || s%vfs.BlockSize != 0 || int64(s) > c.RingBytes {
			return fmt.Errorf("raw: write size %d; want a multiple of %d up to the ring's %d", s, vfs.BlockSize, c.RingBytes)
		}
	}
	for _, d := range c.Cadences {
		if d < 0 {
			return fmt.Errorf("raw: cadence %v; want 0 or more", d)
		}
	}
	return nil
}

// Needs is how many bytes of disk Run fills.
func (c Config) Needs() int64 {
	return int64(len(c.Methods)) * int64(len(c.Sizes)) * int64(c.Writers) * c.RingBytes
}

// Row is what Run learned of one combination.
type Row struct {
	Method  syncmethod.Method
	Size    int
	Cadence time.Duration
	Writers int

	Err         error                   // the method does not work here, and the rest is zero
	Latency     *hdrhistogram.Histogram // of single writes, ns
	Elapsed     time.Duration           // sum of the slices' wall time, pauses included
	Slices      int
	UserBytes   int64 // written, those left out of Latency included
	DeviceBytes int64 // that the device wrote meanwhile, foreign writes included; 0 when it does not tell
}

// HighestLatency is the largest latency that a histogram holds, in ns. A write that takes longer fails the run.
const HighestLatency = int64(600 * time.Second)

// NewHistogram returns a histogram for nanoseconds up to HighestLatency with three digits. Its unit is 1 ns:
// one that began at 1 µs would be exact to half a microsecond only, which is 1% of a fast disk's write.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, HighestLatency, 3) }

// Percentile returns the p-th percentile (0 < p < 100) of the latency, and false unless 100 samples lie beyond
// it: a tail made of fewer changes from run to run.
func (r Row) Percentile(p float64) (time.Duration, bool) {
	if r.Latency == nil || float64(r.Latency.TotalCount())*(100-p)/100 < 100-1e-6 {
		return 0, false
	}
	return time.Duration(r.Latency.ValueAtPercentile(p)), true
}

// PerSecond returns the durable writes per second of all writers together, pauses included.
func (r Row) PerSecond() float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return float64(r.Latency.TotalCount()) / r.Elapsed.Seconds()
}

// Amplification returns how many bytes the device wrote per byte of ours, and false when it does not tell.
func (r Row) Amplification() (float64, bool) {
	if r.DeviceBytes == 0 || r.UserBytes == 0 {
		return 0, false
	}
	return float64(r.DeviceBytes) / float64(r.UserBytes), true
}

// Progress is told how far a run has come: what it is doing, and the fraction of that which is done.
type Progress func(phase string, fraction float64)

// report calls p if there is one.
func (p Progress) report(phase string, done, total float64) {
	if p != nil && total > 0 {
		p(phase, min(1, done/total))
	}
}

const (
	warmup    = 10                    // writes of a row before it counts, per writer
	sliceTime = 50 * time.Millisecond // what a slice takes in a run by time
	sliceMin  = 10                    // writes of a slice, per writer, where the count allows
	sliceMax  = 10_000                // writes of a slice, per writer, in a run by time
	slicesMax = 200                   // per row, in a run by count
)

// Run measures every row of c in files in dir, which it removes, and reads the files back in the end: a write
// that was reported durable and is not there fails the run. A method that the file system does not support
// gives a row with Err. device returns the bytes that the disk has written so far; it may be nil, as may
// progress.
func Run(ctx context.Context, fs vfs.FS, dir string, c Config, device func() int64, progress Progress) (rows []Row, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if device == nil {
		device = func() int64 { return 0 }
	}
	r := &rig{fs: fs, dir: dir, c: c, device: device, progress: progress}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	return r.rows, r.verify(ctx)
}

// measure runs slices until every row has what it needs.
func (r *rig) measure(ctx context.Context) error {
	order := make([]int, len(r.rows))
	for i := range order {
		order[i] = i
		if err := r.warm(ctx, i); err != nil {
			return err
		}
	}
	for {
		done := 0.0
		for _, i := range order {
			if r.done(i) >= 1 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.slice(i); err != nil {
				return err
			}
		}
		for _, i := range order {
			done += min(1, r.done(i))
		}
		r.progress.report("measuring", done, float64(len(order)))
		if done == float64(len(order)) {
			return nil
		}
		slices.Reverse(order)
	}
}

// done is the fraction of a row that is measured.
func (r *rig) done(i int) float64 {
	row := &r.rows[i]
	switch {
	case row.Err != nil:
		return 1
	case r.c.Count > 0:
		return float64(row.Latency.TotalCount()) / float64(r.c.Count)
	}
	return float64(row.Elapsed) / float64(r.c.For)
}

// perSlice decides how many writes each writer makes in a slice of a row, knowing how long one took when warm.
// By count, all rows get the same number of slices, so that they end together.
func (c Config) perSlice(write time.Duration) int {
	if c.Count > 0 {
		n := float64(c.Count) / float64(c.Writers)
		rounds := max(1, min(slicesMax, math.Floor(n/sliceMin)))
		return int(math.Ceil(n / rounds))
	}
	return min(sliceMax, max(sliceMin, int(sliceTime/max(1, write))))
}
