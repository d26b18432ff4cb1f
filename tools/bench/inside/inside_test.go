package inside

import (
	"math"
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

func TestOf(t *testing.T) {
	node := func(batches, bytes, checkpoints float64) target.Metrics {
		return target.Metrics{Values: map[string]float64{target.WALBatches: batches, target.WALBytes: bytes, target.Checkpoints: checkpoints, target.RaftMessages: 10},
			Stages: map[string]target.Buckets{"sync": {Bounds: []float64{1e-4, 2e-4, math.Inf(1)}, Counts: []float64{50, 100, 100}}}}
	}
	value := func(v View, name string) float64 {
		for _, f := range v.Figures {
			if f.Name == name && f.Side == record.System {
				return f.Value
			}
		}
		return math.NaN()
	}
	v := Of([]target.Metrics{node(50, 300, 3), node(40, 200, 9)}, 0, 100, 100)
	if got := value(v, "syncs_per_request"); got != 0.9 {
		t.Errorf("%g syncs a request of both nodes, want 0.9", got)
	}
	if value(v, "leader_syncs_per_request") != 0.5 || value(v, "raft_messages_per_request") != 0.2 || value(v, "ring_laps") != 3 || value(v, "checkpoints") != 3 || v.Invalid != "" {
		t.Errorf("%+v", v)
	}
	if len(v.Stages) != 1 || v.Stages[0].Name != "sync" || v.Stages[0].P50Us < 50 || v.Stages[0].P50Us > 110 {
		t.Errorf("%+v", v.Stages)
	}
	for _, few := range []target.Metrics{node(50, 199, 3), node(50, 300, 2)} {
		if v := Of([]target.Metrics{few}, 0, 100, 100); !strings.Contains(v.Invalid, "laps of the ring") || !math.IsNaN(value(v, "raft_messages_per_request")) {
			t.Errorf("%+v", v)
		}
	}
}
