package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/floor/echo"
	"ackline/tools/stats"
)

// The floor answers for itself beside its two parts, the bare TCP echo and the raw sync, in turns that mirror each other:
// E R F F R E, so often.
const checkRounds = 2

// rawRing is large enough for the disk not to see the same block twice in a row, and small enough to be filled at once.
const rawRing = 4 << 20

// part is one of the three things that the check compares.
type part struct {
	name string
	run  func(ctx context.Context, length time.Duration, seed uint64) (p50us float64, err error)
	p50s []float64
}

// selfCheck measures raw sync and TCP echo alone, in slices between slices of the floor. A slow floor would flatter every
// ratio; record.Judge compares the three.
func (c *contest) selfCheck(ctx context.Context) (err error) {
	c.step("the floor answers for itself")
	bare, err := c.startFloor(ctx, false, c.loads[record.System].replyBytes(), "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Stop(target.StopTimeout)) }()
	tcp, err := openFloor(ctx, c.Scenario.Workload, bare.Addr, c.sub(3))
	if err != nil {
		return err
	}
	defer tcp.close()
	lane, err := c.newLane()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lane.Close()) }()

	under := func(l load) func(context.Context, time.Duration, uint64) (float64, error) {
		return func(ctx context.Context, d time.Duration, seed uint64) (float64, error) {
			smp, err := l.slice(ctx, stretch{length: d, seed: seed})
			if err != nil {
				return 0, err
			}
			return smp.p50us(), nil
		}
	}
	e, f := &part{name: "tcp_echo_us_p50", run: under(tcp)}, &part{name: "floor_us_p50_beside_its_parts", run: under(c.loads[record.Floor])}
	r := &part{name: "raw_sync_us_p50", run: func(ctx context.Context, d time.Duration, _ uint64) (float64, error) {
		// Between two syncs of the floor lies one round trip: the disk idles as long before each of these.
		return rawSync(lane, time.Duration(stats.LogMean(e.p50s)*1e3), d)
	}}
	length := time.Duration(c.Suite.CheckSliceMs) * time.Millisecond / (2 * checkRounds)
	for round := range checkRounds {
		for i, p := range []*part{e, r, f, f, r, e} {
			v, err := p.run(ctx, length, c.sub(uint64(2000+round*6+i)))
			if err != nil {
				return err
			}
			p.p50s = append(p.p50s, v)
		}
	}
	for _, p := range []*part{r, e, f} {
		c.figure(record.Host, p.name, "us", stats.LogMean(p.p50s))
	}
	c.figure(record.Host, record.FloorCheck, "ratio", stats.LogMean(f.p50s)/(stats.LogMean(r.p50s)+stats.LogMean(e.p50s)))
	return nil
}

// newLane makes the file that raw sync writes to, in blocks as large as the floor's for one request.
func (c *contest) newLane() (*syncmethod.Lane, error) {
	m, err := syncmethod.Parse(c.Method)
	if err != nil {
		return nil, err
	}
	block := int(vfs.RoundUp(int64(echo.HeaderBytes + c.Scenario.Workload.RecordBytes*c.Scenario.Workload.RecordsPerRequest + requestOverhead)))
	return syncmethod.NewLane(vfs.OS(), filepath.Join(c.work, "raw"), m, block, rawRing, nil)
}

// requestOverhead is about what a Produce frame holds beside its records' values.
const requestOverhead = 160

// rawSync writes for about length and returns the median in µs.
func rawSync(lane *syncmethod.Lane, gap, length time.Duration) (float64, error) {
	p, err := syncmethod.NewPacer()
	if err != nil {
		return 0, err
	}
	defer p.Close()
	var us []float64
	for end := p.Now() + length.Nanoseconds(); p.Now() < end; {
		if err := lane.Slice(p, 16, gap, func(ns int64) { us = append(us, float64(ns)/1e3) }); err != nil {
			return 0, fmt.Errorf("raw sync: %w", err)
		}
	}
	return stats.Median(us), nil
}
