// Package launch runs one scenario on fresh processes and judges what came out.
//
// The launch is the replicate of every statistic, so everything that could make two launches differ for another reason
// than chance must be the same in each, and everything that could make one meaningless must be noticed. Broker and floor
// are started anew on empty directories and warmed up until their medians stand still. Then they take turns, A B B A, in
// slices short enough that the disk's mood is the same for both; before the other side's turn the broker is asked to write
// what it owes the disk, and the kernel's counters say whether anybody else wrote, and how much CPU time the host took. Where
// bytes per second are measured, the time of that writing counts too: a rate of bytes that are not on the disk yet is the
// memory's. At the end everything that was acknowledged is read back. A launch that breaks a rule is kept with its reasons and
// published without figures.
//
// Brokers and floor that are there already (There) get the same load in the same turns; what would take a look at their machines is
// left out of the record then.
package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/bench/verdict"
)

// Plan says what to launch.
type Plan struct {
	Suite    *profiles.Suite
	Scenario profiles.Scenario
	Number   int    // of the launch, from 1
	Seed     uint64 // of this launch
	Dir      string // on the disk that is measured; a directory is made in it and removed
	Out      string // where raw files go
	Device   string // as in /proc/diskstats, "" when there is none
	Method   string // sync method of both sides
	Disk     Disk   // nil: what the disk itself can do is not measured
	Programs target.Programs
	Progress func(step string)      // called when a step begins; may be nil
	Cold     func(dir string) error // empties the page cache of what is in dir; nil: of the whole machine, where that is permitted
	There    *There                 // nil: brokers and floor are started for the launch
}

// Disk measures the disk alone.
type Disk interface {
	// DurableRate writes as fast as the disk makes sequential writes durable, for at least length, and returns bytes per second.
	DurableRate(ctx context.Context, length time.Duration) (float64, error)
}

// topic is written to, of brokers that are started for the launch. Its length is part of every frame, on both sides.
const topic = "bench"

// launch is a Plan that is being run.
type launch struct {
	Plan
	verdict.Book
	work  string // fresh directory on the disk
	began time.Time
	links target.Links // between several nodes; nil: nothing
	topic string       // that is measured; on a cluster that is there, it has a name once it is made
	left  []error      // why what was made on a cluster that is there may be there still
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench
// itself cannot go on (no disk space, interrupted).
func Run(ctx context.Context, p Plan) (record.Launch, error) {
	rec := record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed, Started: time.Now().UTC().Truncate(time.Millisecond),
		Verdict: record.OK}
	l := &launch{Plan: p, Book: verdict.Book{Rec: &rec}, began: time.Now()}
	if p.There == nil {
		var err error
		if l.work, err = os.MkdirTemp(p.Dir, "bench-"); err != nil {
			return rec, err
		}
		l.topic = topic
	}
	before, err := proc.ReadCPU("/proc")
	if err != nil {
		return rec, errors.Join(err, os.RemoveAll(l.work))
	}
	run := map[string]func(context.Context) error{
		profiles.Produce: l.produce, profiles.Fetch: l.fetch, profiles.Recovery: l.recovery, profiles.Sweep: l.sweep,
		profiles.Spread: l.spread, profiles.Failover: l.failover, profiles.CatchUp: l.catchUp, profiles.Idle: l.idle,
		profiles.Curve: l.curve,
	}[p.Scenario.Workload.Kind]
	err = run(ctx)
	after, readErr := proc.ReadCPU("/proc")
	err = errors.Join(err, readErr, os.RemoveAll(l.work))
	rec.Seconds = time.Since(l.began).Seconds()
	if ctx.Err() != nil {
		return rec, errors.Join(append(l.left, context.Cause(ctx))...)
	}
	if err = errors.Join(append(l.left, err)...); err != nil {
		l.Fail("%v", err)
	}
	l.Finish(after.Sub(before).StolenFraction())
	return rec, l.gone(ctx, err)
}

func (l *launch) step(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}

// path names a file of this launch in the out directory: launch-03-steady-floor.log.
func (l *launch) path(suffix string) string {
	return filepath.Join(l.Out, fmt.Sprintf("launch-%02d-%s-%s", l.Number, l.Scenario.Name, suffix))
}

// startBroker starts a broker on a directory within the work directory.
func (l *launch) startBroker(ctx context.Context, log string) (*target.Broker, error) {
	return l.startBrokerAt(ctx, l.topology().Host+":0", log)
}

// startBrokerAt is startBroker on a given address.
func (l *launch) startBrokerAt(ctx context.Context, addr, log string) (*target.Broker, error) {
	return l.Programs.StartBroker(ctx, l.brokerConfig(addr, log))
}

// startBrokers starts all nodes of the topology.
func (l *launch) startBrokers(ctx context.Context, log string) (*target.Brokers, error) {
	if t := l.There; t != nil {
		return target.Elsewhere(t.Brokers, t.HTTP), nil
	}
	return l.Programs.StartBrokers(ctx, l.brokerConfig(l.topology().Host+":0", log), l.topology().Nodes)
}

func (l *launch) brokerConfig(addr, log string) target.BrokerConfig {
	return target.BrokerConfig{DataDir: filepath.Join(l.work, "broker"), ListenAddr: addr,
		HTTPAddr: l.topology().Host + ":0", RingBytes: l.Scenario.Workload.RingBytes, SyncMethod: l.Method, Tuning: l.Suite.Tuning,
		File: filepath.Join(l.work, "broker.toml"), Log: l.path(log), Links: l.links}
}

func (l *launch) topology() profiles.Topology { return l.Suite.TopologyOf(l.Scenario) }

// startEcho starts a bare echo that pauses before each answer; 0 is not at all. On a cluster that is there, it is what is there: nil is none.
func (l *launch) startEcho(ctx context.Context, pause time.Duration, replyBytes int, log string) (*target.Floor, error) {
	if l.There != nil {
		return at(l.There.Echo), nil
	}
	return l.Programs.StartFloor(ctx, target.FloorConfig{Host: l.topology().Host, ReplyBytes: replyBytes, Pause: pause, Log: l.path(log)})
}

// startFloor starts a durable floor of as many nodes as the topology has, or the bare echo.
func (l *launch) startFloor(ctx context.Context, durable bool, replyBytes int, log string) (*target.Floor, error) {
	if !durable {
		return l.startEcho(ctx, 0, replyBytes, log)
	}
	if l.There != nil {
		return at(l.There.Floor), nil
	}
	c := target.FloorConfig{Host: l.topology().Host, RingBytes: l.Scenario.Workload.RingBytes, SyncMethod: l.Method,
		ReplyBytes: replyBytes, Straight: l.Scenario.Workload.Connections*l.Scenario.Workload.InFlight == 1,
		Dir: filepath.Join(l.work, "floor"), Log: l.path(log)}
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		return nil, err
	}
	return l.Programs.StartQuorum(ctx, c, l.topology().Nodes)
}

// sub derives a seed of this launch for one purpose, by SplitMix64.
func (l *launch) sub(n uint64) uint64 { return Mix(l.Seed + n) }

// Mix is SplitMix64's finaliser (Steele, Lea, Flood 2014) behind its increment: nearby inputs give unrelated seeds.
func Mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
