package raw

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ackline/broker/vfs"
)

// Point is a way to move bytes, and how fast it was.
type Point struct {
	Mode  string    // "each", "group" (see SeqConfig) or "read"
	Block int       // bytes of one call
	Depth int       // calls in flight
	Rates []float64 // bytes per second, by round
}

// Rate returns the median of the rounds.
func (p Point) Rate() float64 {
	if len(p.Rates) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(p.Rates))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Sweep is what a search for the best rate gives.
type Sweep struct {
	Points []Point // all that were tried
	Best   []Point // the best of each mode, measured afresh: the maximum of many noisy figures is too high, a new look at it is not
}

// sweep measures every point rounds times, in an order that turns round every time, and the best of each mode
// again.
func sweep(ctx context.Context, points []Point, rounds int, one func(context.Context, Point) (rate float64, err error),
	progress Progress) (Sweep, error) {
	measure := func(phase string, points []Point) error {
		order := make([]int, len(points))
		for i := range order {
			order[i] = i
		}
		for round := range rounds {
			for k, i := range order {
				progress.report(phase, float64(round*len(order)+k), float64(rounds*len(order)))
				rate, err := one(ctx, points[i])
				if err != nil {
					return err
				}
				points[i].Rates = append(points[i].Rates, rate)
			}
			slices.Reverse(order)
		}
		return nil
	}
	if err := measure("sweeping", points); err != nil {
		return Sweep{}, err
	}
	s := Sweep{Points: points}
	for _, p := range points {
		i := slices.IndexFunc(s.Best, func(b Point) bool { return b.Mode == p.Mode })
		if i < 0 {
			s.Best = append(s.Best, p)
		} else if p.Rate() > s.Best[i].Rate() {
			s.Best[i] = p
		}
	}
	for i := range s.Best {
		s.Best[i].Rates = nil
	}
	return s, measure("confirming", s.Best)
}

// points returns every combination of block size and depth.
func points(mode string, blocks, depths []int) []Point {
	var ps []Point
	for _, b := range blocks {
		for _, d := range depths {
			ps = append(ps, Point{Mode: mode, Block: b, Depth: d})
		}
	}
	return ps
}

// parallel runs work on depth goroutines, each with an aligned buffer of its own, until all return false or one
// fails. The buffers come from bufs and go back there.
func parallel(depth, block int, bufs *buffers, work func(buf []byte) (more bool, err error)) (time.Duration, error) {
	own := make([][]byte, depth)
	for i := range own {
		own[i] = bufs.get(i, block)
	}
	var wg sync.WaitGroup
	errs := make([]error, depth)
	start := time.Now()
	for i, buf := range own {
		wg.Go(func() {
			for more := true; more && errs[i] == nil; {
				more, errs[i] = work(buf)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return took, err
		}
	}
	return took, nil
}

// buffers are incompressible, and kept from slice to slice, so that filling them is not measured.
type buffers struct {
	all  [][]byte
	free []func()
}

// release gives the memory back.
func (b *buffers) release() {
	for _, free := range b.free {
		free()
	}
}

func (b *buffers) get(i, size int) []byte {
	for len(b.all) <= i {
		b.all, b.free = append(b.all, nil), append(b.free, func() {})
	}
	if len(b.all[i]) < size {
		b.free[i]()
		b.all[i], b.free[i] = vfs.Huge(size)
		rng := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
		_, _ = rng.Read(b.all[i])
	}
	return b.all[i][:size]
}
