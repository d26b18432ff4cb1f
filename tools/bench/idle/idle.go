// Package idle sees what brokers cost that have nothing to do.
//
// A partition that nobody uses ought to cost memory and nothing else: no timer, no heartbeat of its own, no wake-up. With ten
// thousand of them what each costs shows in the node's CPU time, and heartbeats are counted: there is one stream for a pair of
// nodes, or one for a group.
package idle

import (
	"context"
	"time"

	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// Watch leaves brokers alone until they have settled and then for a length of time, and returns figures of the node that had
// the most of each.
func Watch(ctx context.Context, b *target.Brokers, settle, length time.Duration) ([]record.Figure, error) {
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	pids := b.PIDs(0)
	metrics, err := b.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	before, err := read(pids)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := sleep(ctx, length); err != nil {
		return nil, err
	}
	after, err := read(pids)
	if err != nil {
		return nil, err
	}
	seconds := time.Since(began).Seconds()
	then, err := b.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	most := map[string]float64{}
	note := func(name string, v float64) { most[name] = max(most[name], v) }
	for i := range pids {
		d, m := after[i].Sub(before[i]), then[i].Sub(metrics[i])
		note("core_share", float64(d.CPUNs)/1e9/seconds)
		note("resident_bytes", float64(d.ResidentBytes))
		note("context_switches_per_second", float64(d.VoluntarySwitches+d.InvoluntarySwitches)/seconds)
		note("syncs_per_second", m.Values[target.WALBatches]/seconds)
		if peers := len(pids) - 1; peers > 0 {
			note("heartbeats_per_peer_per_second", m.Values[target.RaftHeartbeats]/float64(peers)/seconds)
			note("raft_messages_per_second", m.Values[target.RaftMessages]/seconds)
		}
	}
	var out []record.Figure
	for _, f := range []struct{ name, unit string }{{"core_share", "1"}, {"resident_bytes", "bytes"}, {"context_switches_per_second", "1/s"},
		{"syncs_per_second", "1/s"}, {"heartbeats_per_peer_per_second", "1/s"}, {"raft_messages_per_second", "1/s"}} {
		if v, ok := most[f.name]; ok {
			out = append(out, record.Figure{Name: f.name, Unit: f.unit, Side: record.System, Value: v})
		}
	}
	return out, nil
}

func read(pids []int) ([]proc.Counters, error) {
	var out []proc.Counters
	for _, pid := range pids {
		c, err := proc.Read("/proc", pid)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
