package parts

import (
	"context"
	"time"

	"ackline/tools/stats"
)

// Rounds is how often the turns are taken: E P R F F R P E, so that a steady drift hits all alike.
const Rounds = 2

// UsualTrip is a round trip for the one R that is made before any was measured: the one that says how long P pauses, which
// needs to be about right only.
const UsualTrip = 20 * time.Microsecond

// Part is one of the things that the check compares.
type Part struct {
	Name string
	Run  func(ctx context.Context, length time.Duration, seed uint64) (p50us float64, err error)
	p50s []float64
}

// Us is what it took, over its turns so far.
func (p *Part) Us() float64 { return stats.LogMean(p.p50s) }

// Durable is R: what the floor does between a request and its answer, without the floor.
type Durable struct {
	Part
	// Measure takes so long, with a pause before each answer, and returns the p50 in µs. The first time nothing is placed yet.
	Measure func(ctx context.Context, gap, length time.Duration, placed bool) (float64, error)
	Place   func(echoes ...int) error // gives everybody the CPUs to run on; nil: the kernel does
}

// Turns has all of them take turns of so long. Between two requests of the floor lies one round trip: the disk idles as long
// before each of R's.
func Turns(ctx context.Context, length time.Duration, seed func(n uint64) uint64, e, p *Part, r *Durable, f *Part) error {
	r.Run = func(ctx context.Context, d time.Duration, _ uint64) (float64, error) {
		return r.Measure(ctx, time.Duration(e.Us()*1e3), d, true)
	}
	for round := range Rounds {
		for i, p := range []*Part{e, p, &r.Part, f, f, &r.Part, p, e} {
			v, err := p.Run(ctx, length, seed(uint64(round*8+i)))
			if err != nil {
				return err
			}
			p.p50s = append(p.p50s, v)
		}
	}
	return nil
}
