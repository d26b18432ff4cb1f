// Package launch runs one scenario on fresh processes and judges what came out.
//
// The launch is the replicate of every statistic, so everything that could make two launches differ for another reason
// than chance must be the same in each, and everything that could make one meaningless must be noticed. Broker and floor
// are started anew on empty directories and warmed up until their medians stand still. Then they take turns, A B B A, in
// slices short enough that the disk's mood is the same for both; before the other side's turn the broker is asked to write
// what it owes the disk, and the kernel's counters say whether anybody else wrote. At the end everything that was
// acknowledged is read back. A launch that breaks a rule is kept with its reasons and published without figures.
package launch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
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
	Programs target.Programs
	Progress func(step string) // called when a step begins; may be nil
}

// launch is a Plan that is being run.
type launch struct {
	Plan
	rec   *record.Launch
	work  string // fresh directory on the disk
	began time.Time
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench
// itself cannot go on (no disk space, interrupted).
func Run(ctx context.Context, p Plan) (record.Launch, error) {
	rec := record.Launch{Number: p.Number, Scenario: p.Scenario.Name, Seed: p.Seed, Started: time.Now().UTC().Truncate(time.Millisecond),
		Verdict: record.OK}
	work, err := os.MkdirTemp(p.Dir, "bench-")
	if err != nil {
		return rec, err
	}
	l := &launch{Plan: p, rec: &rec, work: work, began: time.Now()}
	run := map[string]func(context.Context) error{
		profiles.Produce: l.produce, profiles.Fetch: l.fetch, profiles.Recovery: l.recovery,
	}[p.Scenario.Workload.Kind]
	err = run(ctx)
	err = errors.Join(err, os.RemoveAll(work))
	rec.Seconds = time.Since(l.began).Seconds()
	if ctx.Err() != nil {
		return rec, context.Cause(ctx)
	}
	if err != nil {
		l.fail("%v", err)
	}
	if rec.Verdict != record.OK {
		rec.Pairs = nil // figures stay for diagnosis, comparisons do not
	}
	return rec, nil
}

// fail notes that the launch has no figures.
func (l *launch) fail(format string, args ...any) {
	l.rec.Verdict = record.Failed
	l.rec.Reasons = append(l.rec.Reasons, fmt.Sprintf(format, args...))
}

// invalid notes that the launch's figures mean nothing.
func (l *launch) invalid(format string, args ...any) {
	if l.rec.Verdict == record.OK {
		l.rec.Verdict = record.Invalid
	}
	l.rec.Reasons = append(l.rec.Reasons, fmt.Sprintf(format, args...))
}

func (l *launch) step(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}

// figure records a number of the launch; one that could not be computed is an invalid launch, not a figure.
func (l *launch) figure(s side, name, unit string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		l.invalid("%s of the %s could not be computed: there was nothing to compute it from", name, s)
		return
	}
	l.rec.Figures = append(l.rec.Figures, record.Figure{Name: name, Unit: unit, Side: s, Value: v})
}

// path names a file of this launch in the out directory: launch-03-steady-floor.log.
func (l *launch) path(suffix string) string {
	return filepath.Join(l.Out, fmt.Sprintf("launch-%02d-%s-%s", l.Number, l.Scenario.Name, suffix))
}

// startBroker starts a broker on a directory within the work directory.
func (l *launch) startBroker(ctx context.Context, log string) (*target.Broker, error) {
	return l.startBrokerAt(ctx, l.Suite.Topology.Host+":0", log)
}

// startBrokerAt is startBroker on a given address.
func (l *launch) startBrokerAt(ctx context.Context, addr, log string) (*target.Broker, error) {
	return l.Programs.StartBroker(ctx, target.BrokerConfig{DataDir: filepath.Join(l.work, "broker"), ListenAddr: addr,
		HTTPAddr: l.Suite.Topology.Host + ":0", RingBytes: l.Scenario.Workload.RingBytes, SyncMethod: l.Method, Tuning: l.Suite.Tuning,
		File: filepath.Join(l.work, "broker.toml"), Log: l.path(log)})
}

// startFloor starts a durable floor, or the bare echo.
func (l *launch) startFloor(ctx context.Context, durable bool, replyBytes int, log string) (*target.Floor, error) {
	c := target.FloorConfig{Host: l.Suite.Topology.Host, RingBytes: l.Scenario.Workload.RingBytes, SyncMethod: l.Method,
		ReplyBytes: replyBytes, Log: l.path(log)}
	if durable {
		c.Dir = filepath.Join(l.work, "floor")
		if err := os.Mkdir(c.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	return l.Programs.StartFloor(ctx, c)
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
