package suite

import (
	"context"
	"fmt"
	"strings"

	"ackline/profiles"
	"ackline/tools/bench/geo"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/linerate"
	"ackline/tools/bench/loss"
	"ackline/tools/bench/readers"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// one runs a launch in the package that knows its kind of workload.
func one(ctx context.Context, p launch.Plan) (record.Launch, error) {
	switch p.Scenario.Workload.Kind {
	case profiles.Geo, profiles.GeoSweep:
		return geo.Run(ctx, p)
	case profiles.RegionLoss:
		return loss.Run(ctx, p)
	case profiles.Return:
		return loss.RunReturn(ctx, p)
	case profiles.Readers:
		return readers.Run(ctx, p)
	case profiles.LineRate:
		return linerate.Run(ctx, p)
	}
	return launch.Run(ctx, p)
}

// describeAcross writes down where a scenario's network is, and what is measured there.
func describeAcross(out *record.Scenario, t profiles.Topology, w *profiles.Workload) {
	out.Configuration["region"], out.Configuration["network"] = t.Region, t.Network
	switch w.Kind {
	case profiles.Geo, profiles.GeoSweep:
		out.Operation, out.FloorIs = "Produce", fmt.Sprintf("durable quorum echo of %d nodes, led from the same host", t.Nodes)
		out.Configuration["placements"] = strings.Join(w.Placements, " ")
		if p := geo.Placing(w.Placements); p != (target.Placing{}) {
			out.Configuration["leader_placement"] = fmt.Sprintf("latency, hold %d s, every %d s", p.HoldS, p.EveryS)
		}
	case profiles.RegionLoss:
		out.Operation = "RegionLoss"
	case profiles.Return:
		out.Operation = "RegionReturn"
	case profiles.Readers:
		out.Operation = "EndToEnd"
	case profiles.LineRate:
		out.Operation, out.FloorIs = "LineRate", "one TCP stream between the producer's host and the leader's"
	}
}
