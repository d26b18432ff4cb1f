package run

import (
	"sync"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// Progress is one second of a running slice.
type Progress = result.Second

// collector gathers the workers' seconds while a slice runs: for the series, for progress, and to tell when the system has
// settled, whereupon it opens the measured window.
type collector struct {
	spec      Spec
	win       *window
	recorders []*recorder
	watch     func(result.Portion) // nil: nobody does

	open   map[int64]*hist.Set // seconds that may still grow
	counts map[int64]*result.Second
	next   int64 // the oldest second that is not final
	series []result.Second
	warm   *result.WarmUp

	stop chan struct{}
	wg   sync.WaitGroup
}

const (
	collectTick = 100 * time.Millisecond
	// secondGrace is how long after its end a second is final. Workers hand theirs over within 50 ms.
	secondGrace = 300 * time.Millisecond
)

func startCollector(spec Spec, win *window, recorders []*recorder, watch func(result.Portion)) *collector {
	c := &collector{spec: spec, win: win, recorders: recorders, watch: watch, open: map[int64]*hist.Set{}, counts: map[int64]*result.Second{}, stop: make(chan struct{})}
	if spec.WarmUp > 0 {
		c.warm = &result.WarmUp{}
	}
	c.wg.Go(func() {
		t := time.NewTicker(collectTick)
		defer t.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-t.C:
				c.gather()
				c.finalize((pace.Now() - win.start - secondGrace.Nanoseconds()) / 1e9)
			}
		}
	})
	return c
}

// gather takes what the workers have handed over.
func (c *collector) gather() {
	for i, r := range c.recorders {
		for more := true; more; {
			select {
			case s := <-r.full:
				c.add(i, s, false)
				s.set.Reset()
				*s = second{set: s.set}
				select {
				case r.free <- s:
				default:
				}
			default:
				more = false
			}
		}
	}
}

// add merges a worker's second. One that comes after its time counts in the oldest that is open.
func (c *collector) add(worker int, s *second, last bool) {
	if c.watch != nil {
		p := s.all
		p.Worker, p.Set, p.Over = worker, s.set, last
		c.watch(p)
	}
	n := max(s.number, c.next)
	set := c.open[n]
	if set == nil {
		set = hist.NewSet()
		c.open[n], c.counts[n] = set, &result.Second{Second: n}
	}
	set.Merge(s.set)
	k := c.counts[n]
	k.Acked += s.acked
	k.Failed += s.failed
	k.Records += s.records
}

// finalize closes every second before end.
func (c *collector) finalize(end int64) {
	for ; c.next < end; c.next++ {
		set, sec := c.open[c.next], c.counts[c.next]
		if set == nil {
			set, sec = hist.NewSet(), &result.Second{Second: c.next}
		}
		sec.WarmUp = c.win.warm(c.next)
		us := func(v hist.Value) float64 { return float64(v.NS) / 1e3 }
		sec.P50US, sec.P99US, sec.MaxUS = us(set.Response.Percentile(50, 0)), us(set.Response.Percentile(99, 0)), us(hist.Value{NS: set.Response.Max()})
		sec.LagP99US = us(set.Lag.Percentile(99, 0))
		sec.BacklogUS, sec.BacklogMax = us(set.Backlog.Percentile(99, 0)), us(hist.Value{NS: set.Backlog.Max()})
		c.series = append(c.series, *sec)
		if c.spec.Seconds != nil {
			start := pace.Wall(c.win.start + c.next*1e9)
			c.spec.Seconds(start, start.Add(time.Second), sec.WarmUp, set)
		}
		if c.spec.Progress != nil {
			c.spec.Progress(*sec)
		}
		if c.warm != nil && c.win.from.Load() == never {
			c.settle(sec, set)
		}
		delete(c.open, c.next)
		delete(c.counts, c.next)
	}
}

// settle looks whether the warm-up is over, and if so opens the measured window at the next whole second.
func (c *collector) settle(sec *result.Second, set *hist.Set) {
	p50 := sec.P50US
	if set.Response.Percentile(50, 0).AtLeast {
		p50 = 0 // most of it failed; this never counts as settled
	}
	c.warm.P50US = append(c.warm.P50US, p50)
	c.warm.Settled = result.Settled(c.warm.P50US)
	limit := time.Duration(len(c.warm.P50US)) * time.Second
	if !c.warm.Settled && limit < c.spec.WarmUp {
		return
	}
	if !c.warm.Settled {
		c.warm.Why = "five medians of a second each that agree within 5% and do not move one way were not seen within " + c.spec.WarmUp.String()
	}
	c.warm.Seconds = float64((pace.Now()-c.win.start)/1e9 + 1)
	from := c.win.start + ((pace.Now()-c.win.start)/1e9+1)*1e9
	c.win.to.Store(from + c.spec.For.Nanoseconds())
	c.win.end(from + c.spec.For.Nanoseconds())
	c.win.from.Store(from)
}

// finish gathers what is left when every worker has ended.
func (c *collector) finish() {
	close(c.stop)
	c.wg.Wait()
	c.gather()
	last := c.next
	for i, r := range c.recorders {
		c.add(i, r.second, true)
		last = max(last, r.second.number+1)
	}
	c.finalize(last)
}
