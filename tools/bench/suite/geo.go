package suite

import (
	"context"
	"fmt"
	"strings"

	"ackline/profiles"
	"ackline/tools/bench/geo"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
)

// one runs a launch in the package that knows its kind of workload.
func one(ctx context.Context, p launch.Plan) (record.Launch, error) {
	if p.Scenario.Workload.Kind == profiles.Geo {
		return geo.Run(ctx, p)
	}
	return launch.Run(ctx, p)
}

// describeGeo writes down where a scenario's network is and where its leaders are.
func describeGeo(out *record.Scenario, t profiles.Topology, placements []string) {
	out.Operation, out.FloorIs = "Produce", fmt.Sprintf("durable quorum echo of %d nodes, led from the same host", t.Nodes)
	out.Configuration["placements"] = strings.Join(placements, " ")
	out.Configuration["region"], out.Configuration["network"] = t.Region, t.Network
}
