package geo

import (
	"context"

	"ackline/tools/bench/ladder"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
)

// sides are who climbs a ladder.
var sides = []side{record.System, record.Floor}

// climb runs both sides up the ladder of rates, each of which all regions have equal parts of.
func (p *placement) climb(ctx context.Context) error {
	return ladder.Climb(&p.Book, &p.Scenario.Workload, sides, func(s side, rate float64, seed uint64) (session.Sample, record.Slice, error) {
		p.tell("%.0f requests a second: %s", rate, s)
		length, discard := p.Suite.GeoRung(p.Scenario, rate, p.Longest)
		all, _, err := p.turn(ctx, s, session.Stretch{Length: length, Discard: discard, Rate: rate / float64(len(p.loads[s].clients)), Seed: p.Sub(seed)})
		if err != nil {
			return all, record.Slice{}, p.explain(s, err)
		}
		return all, p.cycles[len(p.cycles)-1], nil
	})
}

// sumUpLadder fills the record from the ladder.
func (p *placement) sumUpLadder() {
	ladder.Conclude(&p.Book, &p.Scenario.Workload, sides)
	p.Figure(record.Host, "mean_theory_us_"+p.where, "us", float64(p.loads[record.System].mean.Nanoseconds())/1e3)
	p.trip.slices = append(p.trip.slices, p.cycles...)
	p.cycles = nil
}
