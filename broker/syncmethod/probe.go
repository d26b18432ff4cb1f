package syncmethod

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"ackline/broker/vfs"
)

// How Probe measures. A round is one slice of each method, in an order that turns round every time (A B B A),
// so that a disk which gets slower or faster meanwhile hits all methods alike.
const (
	probeSize   = vfs.BlockSize
	probeRing   = 1 << 20
	probeSlice  = 8               // writes, after one that is not counted: it pays for the change of method
	probeRounds = 50              // at most
	probeLeast  = 5               // at least, however long they take
	probeTime   = 2 * time.Second // when it is over and probeLeast is reached no further round begins

	// tie: a method must be this much faster at the median to be preferred to an earlier one. The median of 400
	// writes does not resolve less on a shared disk.
	tie = 1.05
)

// Result is what Probe learned of one method.
type Result struct {
	Method  Method
	P50     time.Duration
	P99     time.Duration // of a few hundred writes at most: good enough to choose by, not to publish
	Samples int
	Err     error // the method does not work here, and the figures are zero
}

func (r Result) String() string {
	if r.Err != nil {
		return fmt.Sprintf("%-18s %v", r.Method, r.Err)
	}
	return fmt.Sprintf("%-18s p50 %8.1f µs  p99 %8.1f µs  %d writes", r.Method, float64(r.P50)/1e3, float64(r.P99)/1e3, r.Samples)
}

// Probe measures every method with 4 KiB writes in files of its own in dir, which it removes, and returns the
// one with the lowest median, or an earlier one of All that comes within 5% of it. cadence is the time that
// passes between one write's return and the next write, 0 for none: a disk that idles answers later, and not
// equally so for each method. The results are in the order of All. It takes about two seconds, longer on disks
// that need tens of milliseconds. Methods that the file system does not support are left out with Err set; any
// other failure, or none that works, is an error.
func Probe(fs vfs.FS, dir string, cadence time.Duration) (best Method, table []Result, err error) {
	p, err := NewPacer()
	if err != nil {
		return "", nil, err
	}
	defer p.Close()
	return probe(fs, dir, cadence, p)
}

func probe(fs vfs.FS, dir string, cadence time.Duration, c Clock) (best Method, table []Result, err error) {
	lanes := make([]*Lane, len(All()))
	defer func() {
		for _, l := range lanes {
			if l != nil {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	table = make([]Result, len(All()))
	samples := make([][]int64, len(All()))
	for i, m := range All() {
		table[i].Method = m
		lanes[i], err = NewLane(fs, path.Join(dir, "probe-"+string(m)), m, probeSize, probeRing, nil)
		if err != nil && !Unsupported(err) {
			return "", table, err
		}
		table[i].Err = err
	}

	order := make([]int, len(lanes))
	for i := range order {
		order[i] = i
	}
	begin := c.Now()
	for round := range probeRounds {
		if round >= probeLeast && c.Now()-begin > int64(probeTime) {
			break
		}
		for _, i := range order {
			if table[i].Err != nil {
				continue
			}
			first := true
			err := lanes[i].Slice(c, 1+probeSlice, cadence, func(ns int64) {
				if !first {
					samples[i] = append(samples[i], ns)
				}
				first = false
			})
			if err != nil && !Unsupported(err) {
				return "", table, err
			}
			table[i].Err = err
		}
		slices.Reverse(order)
	}
	for i := range table {
		if table[i].Err == nil {
			table[i].summarize(samples[i])
		}
	}
	best, err = choose(table)
	return best, table, err
}

// Unsupported tells what a file system cannot do from what went wrong: O_DIRECT gives EINVAL at open, at the
// latest at the first write, RWF_DSYNC gives EOPNOTSUPP, and a kernel without pwritev2 ENOSYS.
func Unsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS)
}

func (r *Result) summarize(ns []int64) {
	slices.Sort(ns)
	r.Samples = len(ns)
	r.P50 = time.Duration(ns[len(ns)/2])
	r.P99 = time.Duration(ns[len(ns)*99/100])
}

// choose returns the first method whose median is within a tie of the lowest.
func choose(table []Result) (Method, error) {
	lowest := time.Duration(-1)
	var errs []string
	for _, r := range table {
		switch {
		case r.Err != nil:
			errs = append(errs, r.String())
		case lowest < 0 || r.P50 < lowest:
			lowest = r.P50
		}
	}
	for _, r := range table {
		if r.Err == nil && float64(r.P50) <= tie*float64(lowest) {
			return r.Method, nil
		}
	}
	return "", fmt.Errorf("syncmethod: no method works here:\n%s", strings.Join(errs, "\n"))
}
