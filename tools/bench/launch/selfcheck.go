package launch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ackline/tools/bench/parts"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
	"ackline/tools/stats"
)

// selfCheck measures the floor's parts alone, in slices between slices of the floor. A slow floor would flatter every
// ratio; record.Judge knows the bar.
func (c *contest) selfCheck(ctx context.Context) (err error) {
	w := &c.Scenario.Workload
	lane, err := parts.Lane(filepath.Join(c.work, "raw"), c.Method, w.RecordBytes*w.RecordsPerRequest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lane.Close()) }()
	all, one, rest, err := parts.Split()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, parts.Place(c.meter.PIDs[record.Floor][0], all), parts.Place(os.Getpid(), all))
	}()
	r := parts.Durable{Part: parts.Part{Name: "raw_sync_us_p50"}}
	r.Measure = func(_ context.Context, gap, d time.Duration, placed bool) (float64, error) {
		if !placed {
			return parts.Sync(lane, gap, d, nil)
		}
		return parts.Sync(lane, gap, d, &one)
	}
	r.Place = func(echoes ...int) error {
		for _, pid := range append(echoes, c.meter.PIDs[record.Floor][0]) {
			if err := parts.Place(pid, one); err != nil {
				return err
			}
		}
		return parts.Place(os.Getpid(), rest)
	}
	return c.besideItsParts(ctx, &r)
}

// quorumCheck is selfCheck for a floor of several nodes.
func (c *contest) quorumCheck(ctx context.Context) (err error) {
	w := &c.Scenario.Workload
	q, err := parts.OpenQuorum(filepath.Join(c.work, "raw"), c.Method, c.followers, w.RecordBytes*w.RecordsPerRequest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if err := c.besideItsParts(ctx, &parts.Durable{Part: parts.Part{Name: record.QuorumTrial}, Measure: q.Measure}); err != nil {
		return err
	}
	c.Figure(record.Host, "follower_hop_us_p50", "us", stats.LogMean(q.HopUs))
	c.Figure(record.Host, "sync_of_each_node_us_p50", "us", stats.LogMean(q.SyncUs))
	c.Figure(record.Host, "hop_and_sync_us_p50", "us", stats.LogMean(q.SumUs))
	return nil
}

// besideItsParts has the floor, its parts and the echoes take turns, as package parts says.
func (c *contest) besideItsParts(ctx context.Context, r *parts.Durable) (err error) {
	c.step("the floor answers for itself")
	length := time.Duration(c.Suite.CheckSliceMs) * time.Millisecond / (2 * parts.Rounds)
	firstUs, err := r.Measure(ctx, parts.UsualTrip, length, false)
	if err != nil {
		return err
	}
	bare, stop, err := c.openCheck(ctx, 0, "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	paused, stopPaused, err := c.openCheck(ctx, time.Duration(firstUs*1e3), "paused.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPaused()) }()
	if r.Place != nil {
		if err := r.Place(bare.floor.PID(), paused.floor.PID()); err != nil {
			return err
		}
	}
	e, p := under("tcp_echo_us_p50", bare), under("paused_echo_us_p50", paused)
	f := under("floor_us_p50_beside_its_parts", c.loads[record.Floor])
	if err := parts.Turns(ctx, length, func(n uint64) uint64 { return c.sub(2000 + n) }, e, p, r, f); err != nil {
		return err
	}
	pauseUs, err := paused.floor.StopPaused()
	if err != nil {
		return err
	}
	for _, p := range []*parts.Part{&r.Part, e, p, f} {
		c.Figure(record.Host, p.Name, "us", p.Us())
	}
	c.Figure(record.Host, "pause_us_p50", "us", pauseUs)
	c.Figure(record.Host, record.FloorCheck, "ratio", parts.Ratio(f.Us(), r.Us(), e.Us(), p.Us(), pauseUs))
	return nil
}

// checked is an echo with a load on it.
type checked struct {
	load
	floor *target.Floor
}

// openCheck starts an echo and connects to it; stop ends both.
func (c *contest) openCheck(ctx context.Context, pause time.Duration, log string) (_ *checked, stop func() error, err error) {
	floor, err := c.startEcho(ctx, pause, c.loads[record.System].ReplyBytes(), log)
	if err != nil {
		return nil, nil, err
	}
	s, err := session.OpenFloor(ctx, c.Scenario.Workload, floor.Addr, c.topic, c.sub(3))
	if err != nil {
		return nil, nil, errors.Join(err, floor.Stop(target.StopTimeout))
	}
	return &checked{s, floor}, func() error { return errors.Join(s.Close(), floor.Stop(target.StopTimeout)) }, nil
}

// under is the part that a load under the workload's arrivals is.
func under(name string, l load) *parts.Part {
	return &parts.Part{Name: name, Run: func(ctx context.Context, d time.Duration, seed uint64) (float64, error) {
		smp, err := l.Slice(ctx, session.Stretch{Length: d, Seed: seed})
		if err != nil {
			return 0, err
		}
		return smp.P50us(), nil
	}}
}
