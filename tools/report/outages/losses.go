package outages

import (
	"fmt"
	"slices"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// lost names for people what was cut off.
var lost = map[record.IncidentSort]string{
	record.LeaderRegion: "the leader's region, both ways",
	record.OtherRegion:  "the nearest other region, both ways",
	record.RegionMute:   "what the leader's region says",
	record.RegionDeaf:   "what the leader's region hears",
}

// losses is the table of a cluster that loses regions, a row per sort of loss, all launches together.
func (w Words) losses(p *page.Page, launches []record.Launch) {
	gaps, back := map[record.IncidentSort][]float64{}, map[record.IncidentSort][]float64{}
	var elections, trips []float64
	for i := range launches {
		l := &launches[i]
		trip, ok := l.Get(record.Host, record.LongestTripMs)
		for _, in := range l.Incidents {
			if !ok || !slices.Contains(record.RegionSorts, in.Sort) {
				continue
			}
			gaps[in.Sort], back[in.Sort] = append(gaps[in.Sort], in.GapMs), append(back[in.Sort], in.BackMs)
			elections, trips = append(elections, in.ElectionMs), append(trips, trip)
		}
	}
	if len(elections) == 0 {
		return
	}
	trip, election := slices.Max(trips), slices.Max(elections)
	allowed := (&record.Incident{ElectionMs: election}).MostGapMs(trip)
	p.Text("A gap is the longest stretch without an acknowledgement from when something is cut until the next cut, for a client that is set up for "+
		"failovers and writes from a region that survives. The longest round trip takes %s, as measured. The election time-out in force was %s at most, and "+
		"may be %s; a gap may be %s, the time-out and three round trips. *Back after* is how long the region was away, a median.",
		w.Quantity(trip, "ms"), w.Quantity(election, "ms"), w.Quantity(record.MostElectionMs(trip), "ms"), w.Quantity(allowed, "ms"))
	rows := [][]string{}
	for _, s := range record.RegionSorts {
		if len(gaps[s]) == 0 {
			continue
		}
		row := append([]string{lost[s], fmt.Sprint(len(gaps[s]))}, w.gaps(gaps[s])...)
		rows = append(rows, append(row, w.Quantity(stats.Median(back[s]), "ms")))
	}
	p.Table([]string{"cut off", "n", "gap p50", "p90", "worst", "back after"}, rows)
}
