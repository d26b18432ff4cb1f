package node

import (
	"time"

	"ackline/broker/api/origin"
	"ackline/broker/id"
	"ackline/broker/node/config"
	"ackline/broker/node/placing"
)

// placer is what leader_placement = "latency" needs; nil without it.
type placer struct {
	decider *placing.Decider // owned by moveLoop
	origins *origin.Tally
	trips   chan map[[2]id.NodeID]time.Duration // from placeLoop to moveLoop
}

func newPlacer(c config.Cluster) *placer {
	if c.LeaderPlacement != config.Latency || len(c.Peers) == 0 {
		return nil
	}
	return &placer{origins: origin.New(), trips: make(chan map[[2]id.NodeID]time.Duration),
		decider: placing.New(placing.Policy{Gain: ms(c.LeaderGainMs), Hold: time.Duration(c.LeaderHoldS) * time.Second,
			Every: time.Duration(c.LeaderEveryS) * time.Second})}
}

// tally is nil, which counts nothing, on a node without a placer.
func (p *placer) tally() *origin.Tally {
	if p == nil {
		return nil
	}
	return p.origins
}

// measured gives moveLoop what placeLoop has heard; it is never ready without a placer.
func (p *placer) measured() <-chan map[[2]id.NodeID]time.Duration {
	if p == nil {
		return nil
	}
	return p.trips
}

// placeEvery is how often leaders are compared with what they could be, if that is not too seldom to see for leader_hold_s what changes.
const placeEvery = 10 * time.Second

// placeLoop asks the nodes how far they are from each other: moveLoop has no time to wait for those that hang.
func (n *Node) placeLoop() {
	defer n.loops.Done()
	if n.placer == nil {
		return
	}
	ctx, cancel := n.running()
	defer cancel()
	tick := time.NewTicker(min(placeEvery, time.Duration(n.cfg.Cluster.LeaderHoldS)*time.Second/3))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		trips := map[[2]id.NodeID]time.Duration{}
		for _, r := range n.admin.RoundTrips(ctx) {
			trips[[2]id.NodeID{r.From, r.To}] = time.Duration(r.SmoothedUs) * time.Microsecond
		}
		select {
		case n.placer.trips <- trips:
		case <-ctx.Done():
			return
		}
	}
}
