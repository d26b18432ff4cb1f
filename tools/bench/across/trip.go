// Package across runs launches on an emulated network (tools/netlab): brokers and clients are its hosts, and none of them knows.
//
// Whatever is measured across regions needs the same around it: a network, a broker on each host, an account of what the distances allow
// (tools/netlab/advise), and the proof that the distances were those that the profile names. An emulator that is late makes results of a network that
// nobody described; so its round trips are measured before and after what counts (Calibrate), and a launch in which one is off publishes nothing.
package across

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ackline/profiles/region"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/parts"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/bench/verdict"
	"ackline/tools/netlab/advise"
	"ackline/tools/netlab/lab"
)

// Trip is a Plan that is being run. What stands below Work is there while Run measures. Used by one goroutine.
type Trip struct {
	launch.Plan
	verdict.Book
	Began time.Time
	Racks bool // brokers know their region: consumers that say theirs are served there
	// Placing is how leaders follow producers; zero: they do not. Brokers that choose know their regions (Racks).
	Placing target.Placing
	Work    string // fresh directory on the disk

	Net     *Network
	Longest time.Duration // round trip, by the profile
	Advice  *advise.Result
	Brokers *target.Brokers
}

// New is a trip that has not begun.
func New(p launch.Plan) *Trip {
	now := time.Now()
	return &Trip{Plan: p, Began: now, Book: verdict.Book{Rec: &record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed,
		Started: now.UTC().Truncate(time.Millisecond), Verdict: record.OK}}}
}

// Run starts the network and a broker on each host, measures, and removes everything. The record says everything that went wrong with the
// measurement; an error means that the bench itself cannot go on.
func (l *Trip) Run(ctx context.Context, measure func(ctx context.Context) error) (record.Launch, error) {
	var err error
	if l.Work, err = os.MkdirTemp(l.Dir, "bench-"); err != nil {
		return *l.Rec, err
	}
	before, err := proc.ReadCPU("/proc")
	if err == nil {
		err = l.around(ctx, measure)
	}
	after, readErr := proc.ReadCPU("/proc")
	err = errors.Join(err, readErr, os.RemoveAll(l.Work))
	l.Rec.Seconds = time.Since(l.Began).Seconds()
	if ctx.Err() != nil {
		return *l.Rec, context.Cause(ctx)
	}
	if err != nil {
		l.Fail("%v", err)
	}
	l.Finish(after.Sub(before).StolenFraction())
	return *l.Rec, nil
}

// around runs everything between an empty directory and a full record.
func (l *Trip) around(ctx context.Context, measure func(ctx context.Context) error) (err error) {
	topology := l.Suite.TopologyOf(l.Scenario)
	t, err := region.Load(topology.Region)
	if err != nil {
		return err
	}
	if l.Net, err = openNetwork(t, lab.Mode(topology.Network), l.Sub(7)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Net.close()) }()
	if why := l.Net.Lab.Without(); why != nil {
		l.Rec.Notes = append(l.Rec.Notes, fmt.Sprintf("the network is emulated by relays, because namespaces are not permitted here (%v): "+
			"TCP itself does not cross the distance", why))
	}
	l.Longest = topology.LongestTrip()
	if err := l.advise(); err != nil {
		return err
	}
	l.Step("starting a broker on each of %d hosts", len(t.Hosts))
	l.Brokers, err = l.Net.startBrokers(ctx, l.Programs, l.Racks, target.BrokerConfig{DataDir: filepath.Join(l.Work, "broker"), RingBytes: l.Scenario.Workload.RingBytes,
		SyncMethod: l.Method, Tuning: l.Suite.Tuning, Placing: l.Placing, File: filepath.Join(l.Work, "broker"), Log: l.Path("broker")})
	if err != nil {
		return err
	}
	defer func() { // whole: who stops hands over what it leads
		err = errors.Join(err, l.Net.Lab.HealAll(), l.Brokers.Stop(target.StopTimeout))
	}()
	if err := measure(ctx); err != nil {
		return errors.Join(err, l.Brokers.Err())
	}
	return nil
}

// syncSlice is how long the disk alone is looked at, syncsPerSecond the cadence where the load has no schedule.
const (
	syncSlice      = 200 * time.Millisecond
	syncsPerSecond = 1000
)

// advise computes what the distances allow, with a durable write as it is here and now, at the cadence of the load.
func (l *Trip) advise() error {
	l.Step("a durable write by itself")
	w := &l.Scenario.Workload
	lane, err := parts.Lane(filepath.Join(l.Work, "raw"), l.Method, w.RecordBytes)
	if err != nil {
		return err
	}
	rate := w.RatePerSecond
	if rate == 0 {
		rate = syncsPerSecond
	}
	us, err := parts.Sync(lane, time.Duration(1e9/rate), syncSlice, nil)
	if err = errors.Join(err, lane.Close()); err != nil {
		return err
	}
	l.Figure(record.Host, "raw_sync_us_p50", "us", us)
	l.Advice, err = advise.Advise(l.Net.T, advise.Config{Sync: time.Duration(us * 1e3)})
	return err
}

// Nodes are the brokers, asked over no distance; the leader of a topic's first partition is the one that is meant.
func (l *Trip) Nodes(topic string) target.Nodes {
	return target.Nodes{Brokers: l.Brokers, Topic: topic, Timeout: l.Scenario.Workload.Timeout(), Way: l.Net.Near()}
}

// Sub derives a seed of this launch for one purpose.
func (l *Trip) Sub(n uint64) uint64 { return launch.Mix(l.Seed + n) }

// Path names a file of this launch in the out directory.
func (l *Trip) Path(suffix string) string {
	return filepath.Join(l.Out, fmt.Sprintf("launch-%02d-%s-%s", l.Number, l.Scenario.Name, suffix))
}

// Step tells whoever watches what begins.
func (l *Trip) Step(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}
