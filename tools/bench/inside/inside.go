// Package inside is what the brokers' own metrics say about the slices of a launch: where time went, what a request cost, and whether
// the slices have paid for what a broker puts off.
package inside

import (
	"fmt"

	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// A run must pay for what it puts off: at least so many checkpoints and laps of the ring.
const (
	leastCheckpoints = 3
	leastLaps        = 2
)

// stageNames are the stages of the write path in their order.
var stageNames = []string{"read", "decode", "propose", "queue", "sync", "quorum", "reply"}

// View is what is to be recorded.
type View struct {
	Stages  []record.Stage
	Figures []record.Figure
	Invalid string // why the slices do not count, "" when they do
}

// Of looks at what the nodes' metrics grew by. lead is the node that led, all the requests that were acknowledged, ringBytes a ring's size.
func Of(nodes []target.Metrics, lead int, all, ringBytes float64) (out View) {
	own := nodes[lead]
	out.Stages = stagesOf(own)
	add := func(name, unit string, v float64) {
		out.Figures = append(out.Figures, record.Figure{Name: name, Unit: unit, Side: record.System, Value: v})
	}
	v := own.Values
	laps := v[target.WALBytes] / ringBytes
	add("checkpoints", "1", v[target.Checkpoints])
	add("ring_laps", "1", laps)
	add("garbage_collections", "1", v[target.Collections])
	if all > 0 {
		sum := target.Summed(nodes)
		add("allocations_per_request", "1/request", sum[target.Allocations]/all)
		add("allocated_bytes_per_request", "bytes/request", sum[target.AllocatedBytes]/all)
		add("syncs_per_request", "1/request", sum[target.WALBatches]/all)
		if len(nodes) > 1 {
			add("leader_syncs_per_request", "1/request", v[target.WALBatches]/all)
			add("raft_messages_per_request", "1/request", sum[target.RaftMessages]/all)
			add("raft_frames_per_request", "1/request", sum[target.RaftFrames]/all)
		}
	}
	if v[target.Checkpoints] < leastCheckpoints || laps < leastLaps {
		out.Invalid = fmt.Sprintf("the slices saw %.0f checkpoints and %.1f laps of the ring, want at least %d and %d: longer slices (slice_ms) or a smaller ring (ring_bytes)",
			v[target.Checkpoints], laps, leastCheckpoints, leastLaps)
	}
	return out
}

// stagesOf are the stages of one node's write path.
func stagesOf(m target.Metrics) (out []record.Stage) {
	for _, name := range stageNames {
		if h := m.Stages[name]; h.Count() > 0 {
			out = append(out, record.Stage{Name: name, P50Us: h.Quantile(0.5) * 1e6, P99Us: h.Quantile(0.99) * 1e6})
		}
	}
	return out
}
