package inside

import (
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// Elsewhere is Of for nodes that run where nobody here can look: their ring's size is not known, and what they cost they say
// themselves. lead is the node that led, below 0 when that is not known. The CPU time is that of all nodes from before the first slice
// until after the last, the other side's turns included, in which they should have been idle.
func Elsewhere(nodes []target.Metrics, lead int, all float64) (out View) {
	sum := target.Summed(nodes)
	add := func(name, unit string, v float64) {
		out.Figures = append(out.Figures, record.Figure{Name: name, Unit: unit, Side: record.System, Value: v})
	}
	add("checkpoints_of_all_nodes", "1", sum[target.Checkpoints])
	add("garbage_collections_of_all_nodes", "1", sum[target.Collections])
	if all > 0 {
		add("told_cpu_ns_per_request", "ns/request", sum[target.CPUSeconds]*1e9/all)
		add("allocations_per_request", "1/request", sum[target.Allocations]/all)
		add("allocated_bytes_per_request", "bytes/request", sum[target.AllocatedBytes]/all)
		add("syncs_per_request", "1/request", sum[target.WALBatches]/all)
		if len(nodes) > 1 {
			add("raft_messages_per_request", "1/request", sum[target.RaftMessages]/all)
			add("raft_frames_per_request", "1/request", sum[target.RaftFrames]/all)
		}
	}
	if lead >= 0 && lead < len(nodes) {
		out.Stages = stagesOf(nodes[lead])
	}
	return out
}
