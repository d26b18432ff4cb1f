// Package geo runs one launch of a cluster across regions: brokers, floor and producers are hosts of an emulated network (tools/netlab), and
// none of them knows.
//
// What a producer waits for is decided by where the leader is: its own way there and back, and the leader's to a majority. So every
// placement of the leader is measured from every region: the best and the worst by the distances, where it is held by the topic's leader.region, and
// the one that the brokers come to by themselves (leader_placement = "latency"; producers say in their client ids where they are), which is
// judged beside the best. All regions produce at once; a region's turn by itself would find an idle cluster. Each placement has a topic of its own, and the
// floor, which has a node on every host too, is led from the same host: the two take turns, A B B A, as everywhere.
//
// Over such distances a ratio says nothing: 5% of 70 ms would hide 3.5 ms of broker. What is judged is the difference. So that a p99 of it has
// ten thousand requests behind it, those of all regions count together, each moved by what its distance is away from the mean (crowd).
// Beside what was measured stands what the distances and a durable write allow (tools/netlab/advise).
//
// A sweep (profiles.GeoSweep) is the same with a ladder of rates in place of cycles at one rate: how much load all regions together may put on
// before they notice, beside the floor at the same rates (package ladder).
//
// An emulator that is late makes results of a network that nobody described. So its round trips are measured with the load on, before and after
// what counts, and a launch in which one is off publishes nothing.
package geo

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/tools/bench/across"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/record"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
)

type side = record.Side

// trip is a launch that is being measured.
type trip struct {
	*across.Trip
	meter  meter.Meter
	slices []record.Slice
	lag    map[side]*hist.Hist
}

// Run runs one launch. The record says everything that went wrong with the measurement; an error means that the bench itself cannot go on.
func Run(ctx context.Context, p launch.Plan) (record.Launch, error) {
	return newTrip(p).run(ctx)
}

func newTrip(p launch.Plan) *trip {
	l := &trip{Trip: across.New(p), lag: map[side]*hist.Hist{record.System: hist.NewDelay(), record.Floor: hist.NewDelay()}}
	l.Racks, l.Placing = true, Placing(p.Scenario.Workload.Placements)
	return l
}

// Placing is how leaders follow producers where the brokers are to choose, and nothing elsewhere: brokers that choose ask each other for their
// distances, three times in HoldS. The default waits half a minute and then moves a leader every two minutes at most, which is for links that
// wander; these do not, and each launch would wait as long.
func Placing(placements []string) target.Placing {
	if !slices.Contains(placements, profiles.Automatic) {
		return target.Placing{}
	}
	return target.Placing{HoldS: 3, EveryS: 1}
}

func (l *trip) run(ctx context.Context) (record.Launch, error) { return l.Run(ctx, l.measure) }

// measure measures every placement.
func (l *trip) measure(ctx context.Context) error {
	all := l.Scenario.Workload.Placements
	for i := range all {
		where := all[(i+l.Number-1)%len(all)] // none is always first, on brokers that are fresh
		if err := l.placement(ctx, where, i == 0, i == len(all)-1); err != nil {
			return fmt.Errorf("leader %s: %w", where, err)
		}
	}
	l.conclude()
	return nil
}

// host is the number of the one that leads in a placement; false leaves that to the brokers.
func (l *trip) host(where string) (int, bool) {
	all := l.Advice.Placements // the best first
	switch where {
	case profiles.Best:
		return l.Net.T.Index(all[0].Leader), true
	case profiles.Worst:
		return l.Net.T.Index(all[len(all)-1].Leader), true
	}
	return 0, false
}

// clients are a producer in each region, or zone, that has a host, with what they are to wait for when a host leads.
func (l *trip) clients(lead int) (out []client) {
	var theory []time.Duration
	for _, p := range l.Advice.Placements {
		if p.Leader == l.Net.T.Hosts[lead].Name {
			theory = p.Latency
		}
	}
	for i, c := range l.Advice.Clients {
		for _, h := range l.Net.T.Hosts {
			if c.Name != h.Region && c.Name != h.Region+"/"+h.Zone {
				continue
			}
			near, far, close := new(atomic.Bool), l.Net.From(h.Name), l.Net.Near()
			out = append(out, client{name: c.Name, host: h.Name, place: l.Net.Place(l.Net.T.Index(h.Name)), theory: theory[i], near: near, way: func(addr string, connect func(string) error) error {
				if near.Load() {
					return close(addr, connect)
				}
				return far(addr, connect)
			}})
			break
		}
	}
	return out
}

// conclude says what is known of all placements together.
func (l *trip) conclude() {
	l.Rec.Slices = l.slices
	if l.Scenario.Workload.Ladder() {
		return // over all rates together there is nothing to say but what the ladder's end has said
	}
	l.Rec.Figures = append(l.Rec.Figures, sum.Figures(l.slices)...)
	l.choice()
	for _, sl := range l.slices {
		if sl.Verdict == record.OK && sl.Side == record.System {
			l.Rec.Requests += sl.Requests
		}
	}
	for _, s := range []side{record.System, record.Floor} {
		l.Rec.Histograms = append(l.Rec.Histograms, record.Histogram{Side: s, Name: "lag", Hist: l.lag[s]})
	}
}

// choice judges the place that the brokers chose, if they had one to choose.
func (l *trip) choice() {
	for _, r := range l.Rec.Regions {
		if r.Placement != profiles.Automatic {
			continue
		}
		for _, p := range l.Advice.Placements {
			if host := l.Net.T.Index(p.Leader); l.Net.Called(host) == r.Leader {
				l.Rec.Chosen = record.Choose(l.Rec.Regions, float64((p.Mean-l.Advice.Placements[0].Mean).Nanoseconds())/1e3)
			}
		}
		return
	}
}
