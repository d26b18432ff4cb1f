package launch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ackline/tools/bench/parts"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/stats"
)

// The floor answers for itself beside its parts, in turns that mirror each other, so often: E P R F F R P E. E is the bare
// TCP echo, R the raw sync, F the floor, and P the TCP echo that pauses before each answer for about as long as R takes.
// Package parts says why.
const checkRounds = 2

// usualTrip is a round trip for the one raw sync that is made before any was measured: the one that says how long P pauses,
// which needs to be about right only.
const usualTrip = 20 * time.Microsecond

// part is one of the things that the check compares.
type part struct {
	name string
	run  func(ctx context.Context, length time.Duration, seed uint64) (p50us float64, err error)
	p50s []float64
}

func (p *part) us() float64 { return stats.LogMean(p.p50s) }

// selfCheck measures the floor's parts alone, in slices between slices of the floor. A slow floor would flatter every
// ratio; record.Judge knows the bar.
func (c *contest) selfCheck(ctx context.Context) (err error) {
	c.step("the floor answers for itself")
	w := &c.Scenario.Workload
	lane, err := parts.Lane(filepath.Join(c.work, "raw"), c.Method, w.RecordBytes*w.RecordsPerRequest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lane.Close()) }()
	length := time.Duration(c.Suite.CheckSliceMs) * time.Millisecond / (2 * checkRounds)
	syncUs, err := parts.Sync(lane, usualTrip, length, nil)
	if err != nil {
		return err
	}
	bare, stop, err := c.openCheck(ctx, 0, "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	paused, stopPaused, err := c.openCheck(ctx, time.Duration(syncUs*1e3), "paused.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPaused()) }()
	all, one, rest, err := parts.Split()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, parts.Place(c.meter.PIDs[record.Floor][0], all), parts.Place(os.Getpid(), all))
	}()
	for _, pid := range []int{c.meter.PIDs[record.Floor][0], bare.floor.PID(), paused.floor.PID()} {
		if err := parts.Place(pid, one); err != nil {
			return err
		}
	}
	if err := parts.Place(os.Getpid(), rest); err != nil {
		return err
	}

	e, p := under("tcp_echo_us_p50", bare), under("paused_echo_us_p50", paused)
	f := under("floor_us_p50_beside_its_parts", c.loads[record.Floor])
	r := &part{name: "raw_sync_us_p50", run: func(ctx context.Context, d time.Duration, _ uint64) (float64, error) {
		// Between two syncs of the floor lies one round trip: the disk idles as long before each of these.
		return parts.Sync(lane, time.Duration(e.us()*1e3), d, &one)
	}}
	for round := range checkRounds {
		for i, p := range []*part{e, p, r, f, f, r, p, e} {
			v, err := p.run(ctx, length, c.sub(uint64(2000+round*8+i)))
			if err != nil {
				return err
			}
			p.p50s = append(p.p50s, v)
		}
	}
	pauseUs, err := paused.floor.StopPaused()
	if err != nil {
		return err
	}
	for _, p := range []*part{r, e, p, f} {
		c.figure(record.Host, p.name, "us", p.us())
	}
	c.figure(record.Host, "pause_us_p50", "us", pauseUs)
	c.figure(record.Host, record.FloorCheck, "ratio", parts.Ratio(f.us(), r.us(), e.us(), p.us(), pauseUs))
	return nil
}

// checked is an echo with a load on it.
type checked struct {
	load
	floor *target.Floor
}

// openCheck starts an echo and connects to it; stop ends both.
func (c *contest) openCheck(ctx context.Context, pause time.Duration, log string) (_ *checked, stop func() error, err error) {
	floor, err := c.startEcho(ctx, pause, c.loads[record.System].replyBytes(), log)
	if err != nil {
		return nil, nil, err
	}
	s, err := openFloor(ctx, c.Scenario.Workload, floor.Addr, c.sub(3))
	if err != nil {
		return nil, nil, errors.Join(err, floor.Stop(target.StopTimeout))
	}
	return &checked{s, floor}, func() error { return errors.Join(s.close(), floor.Stop(target.StopTimeout)) }, nil
}

// under is the part that a load under the workload's arrivals is.
func under(name string, l load) *part {
	return &part{name: name, run: func(ctx context.Context, d time.Duration, seed uint64) (float64, error) {
		smp, err := l.slice(ctx, stretch{length: d, seed: seed})
		if err != nil {
			return 0, err
		}
		return smp.p50us(), nil
	}}
}
