// Package geo runs one launch of a cluster across regions: brokers, floor and producers are hosts of an emulated network (tools/netlab), and
// none of them knows.
//
// What a producer waits for is decided by where the leader is: its own way there and back, and the leader's to a majority. So every
// placement of the leader is measured from every region: the best and the worst by the distances, and the one that the brokers come to by
// themselves. All regions produce at once; a region's turn by itself would find an idle cluster. Each placement has a topic of its own, and the
// floor, which has a node on every host too, is led from the same host: the two take turns, A B B A, as everywhere.
//
// Over such distances a ratio says nothing: 5% of 70 ms would hide 3.5 ms of broker. What is judged is the difference. So that a p99 of it has
// ten thousand requests behind it, those of all regions count together, each moved by what its distance is away from the mean (crowd).
// Beside what was measured stands what the distances and a durable write allow (tools/netlab/advise).
//
// An emulator that is late makes results of a network that nobody described. So its round trips are measured with the load on, before and after
// what counts, and a launch in which one is off publishes nothing.
package geo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/parts"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
	"ackline/tools/netlab/advise"
	"ackline/tools/netlab/lab"
)

type side = record.Side

// trip is a Plan that is being run.
type trip struct {
	launch.Plan
	rec    *record.Launch
	began  time.Time
	work   string // fresh directory on the disk
	others int    // reasons that a host which takes CPU time away does not explain

	net     *network
	longest time.Duration // round trip
	advice  *advise.Result
	brokers *target.Brokers
	meter   meter.Meter
	slices  []record.Slice
	lag     map[side]*hist.Hist
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench itself cannot go on.
func Run(ctx context.Context, p launch.Plan) (record.Launch, error) {
	return newTrip(p).run(ctx)
}

func newTrip(p launch.Plan) *trip {
	now := time.Now()
	return &trip{Plan: p, began: now, lag: map[side]*hist.Hist{record.System: hist.NewDelay(), record.Floor: hist.NewDelay()},
		rec: &record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed, Started: now.UTC().Truncate(time.Millisecond), Verdict: record.OK}}
}

func (l *trip) run(ctx context.Context) (record.Launch, error) {
	var err error
	if l.work, err = os.MkdirTemp(l.Dir, "bench-"); err != nil {
		return *l.rec, err
	}
	before, err := proc.ReadCPU("/proc")
	if err == nil {
		err = l.measure(ctx)
	}
	after, readErr := proc.ReadCPU("/proc")
	err = errors.Join(err, readErr, os.RemoveAll(l.work))
	l.rec.Seconds = time.Since(l.began).Seconds()
	if ctx.Err() != nil {
		return *l.rec, context.Cause(ctx)
	}
	if err != nil {
		l.fail("%v", err)
	}
	l.finish(after.Sub(before).StolenFraction())
	return *l.rec, nil
}

// measure runs everything between an empty directory and a full record.
func (l *trip) measure(ctx context.Context) (err error) {
	topology := l.Suite.TopologyOf(l.Scenario)
	t, err := region.Load(topology.Region)
	if err != nil {
		return err
	}
	if l.net, err = openNetwork(t, lab.Mode(topology.Network), l.sub(7)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.net.close()) }()
	if why := l.net.lab.Without(); why != nil {
		l.rec.Notes = append(l.rec.Notes, fmt.Sprintf("the network is emulated by relays, because namespaces are not permitted here (%v): "+
			"TCP itself does not cross the distance", why))
	}
	l.longest = topology.LongestTrip()
	if err := l.advise(); err != nil {
		return err
	}
	l.step("starting a broker on each of %d hosts", len(t.Hosts))
	w := &l.Scenario.Workload
	l.brokers, err = l.net.startBrokers(ctx, l.Programs, target.BrokerConfig{DataDir: filepath.Join(l.work, "broker"), RingBytes: w.RingBytes,
		SyncMethod: l.Method, Tuning: l.Suite.Tuning, File: filepath.Join(l.work, "broker"), Log: l.path("broker")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.brokers.Stop(target.StopTimeout)) }()
	for i := range w.Placements {
		where := w.Placements[(i+l.Number-1)%len(w.Placements)] // none is always first, on brokers that are fresh
		if err := l.placement(ctx, where, i == 0, i == len(w.Placements)-1); err != nil {
			return errors.Join(fmt.Errorf("leader %s: %w", where, err), l.brokers.Err())
		}
	}
	return l.conclude()
}

// syncSlice is how long the disk alone is looked at.
const syncSlice = 200 * time.Millisecond

// advise computes what the distances allow, with a durable write as it is here and now, at the cadence of the load.
func (l *trip) advise() error {
	l.step("a durable write by itself")
	w := &l.Scenario.Workload
	lane, err := parts.Lane(filepath.Join(l.work, "raw"), l.Method, w.RecordBytes)
	if err != nil {
		return err
	}
	us, err := parts.Sync(lane, time.Duration(1e9/w.RatePerSecond), syncSlice, nil)
	if err = errors.Join(err, lane.Close()); err != nil {
		return err
	}
	l.figure(record.Host, "raw_sync_us_p50", "us", us)
	l.advice, err = advise.Advise(l.net.t, advise.Config{Sync: time.Duration(us * 1e3)})
	return err
}

// host is the number of the one that leads in a placement; false leaves that to the brokers.
func (l *trip) host(where string) (int, bool) {
	all := l.advice.Placements // the best first
	switch where {
	case profiles.Best:
		return l.net.t.Index(all[0].Leader), true
	case profiles.Worst:
		return l.net.t.Index(all[len(all)-1].Leader), true
	}
	return 0, false
}

// clients are a producer in each region, or zone, that has a host, with what they are to wait for when a host leads.
func (l *trip) clients(lead int) (out []client) {
	var theory []time.Duration
	for _, p := range l.advice.Placements {
		if p.Leader == l.net.t.Hosts[lead].Name {
			theory = p.Latency
		}
	}
	for i, c := range l.advice.Clients {
		for _, h := range l.net.t.Hosts {
			if c.Name != h.Region && c.Name != h.Region+"/"+h.Zone {
				continue
			}
			near, far, close := new(atomic.Bool), l.net.from(h.Name), l.net.near()
			out = append(out, client{name: c.Name, host: h.Name, theory: theory[i], near: near, way: func(addr string, connect func(string) error) error {
				if near.Load() {
					return close(addr, connect)
				}
				return far(addr, connect)
			}})
			break
		}
	}
	return out
}

// conclude says what is known of all placements together.
func (l *trip) conclude() error {
	l.rec.Slices = l.slices
	l.rec.Figures = append(l.rec.Figures, sum.Figures(l.slices)...)
	for _, sl := range l.slices {
		if sl.Verdict == record.OK && sl.Side == record.System {
			l.rec.Requests += sl.Requests
		}
	}
	for _, s := range []side{record.System, record.Floor} {
		l.rec.Histograms = append(l.rec.Histograms, record.Histogram{Side: s, Name: "lag", Hist: l.lag[s]})
	}
	return nil
}

// sub derives a seed of this launch for one purpose.
func (l *trip) sub(n uint64) uint64 { return launch.Mix(l.Seed + n) }

// path names a file of this launch in the out directory.
func (l *trip) path(suffix string) string {
	return filepath.Join(l.Out, fmt.Sprintf("launch-%02d-%s-%s", l.Number, l.Scenario.Name, suffix))
}

func (l *trip) step(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}
