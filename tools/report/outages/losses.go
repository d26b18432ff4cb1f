package outages

import (
	"fmt"
	"slices"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// lost names for people what was cut off, or was slow.
var lost = map[record.IncidentSort]string{
	record.LeaderRegion: "the leader's region, both ways",
	record.OtherRegion:  "the nearest other region, both ways",
	record.RegionMute:   "what the leader's region says",
	record.RegionDeaf:   "what the leader's region hears",
	record.Slow:         "nothing: the leader's disk is slow",
}

// losses is the table of a cluster that loses regions, a row per sort of loss, all launches together.
func (w Words) losses(p *page.Page, launches []record.Launch) {
	var all []record.Incident
	var elections, trips []float64
	for i := range launches {
		l := &launches[i]
		trip, ok := l.Get(record.Host, record.LongestTripMs)
		if !ok {
			continue
		}
		all = append(all, l.Incidents...)
		for _, in := range l.Incidents {
			elections, trips = append(elections, in.ElectionMs), append(trips, trip)
		}
	}
	if len(elections) == 0 {
		return
	}
	trip, election := slices.Max(trips), slices.Max(elections)
	allowed := (&record.Incident{ElectionMs: election}).MostGapMs(trip)
	beside, also := slices.ContainsFunc(all, func(in record.Incident) bool { return in.LibraryGapMs > 0 }), ""
	if beside {
		also = ", and for franz-go as people use it in the same region"
	}
	p.Text("A gap is the longest stretch without an acknowledgement from when something is cut until the next cut, for a client that is set up for "+
		"failovers and writes from a region that survives%s. The longest round trip takes %s, as measured. The election time-out in force was %s at most, and "+
		"may be %s; a gap may be %s, the time-out and three round trips. *Back after* is how long the region was away, or its disk slow, a median.",
		also, w.Quantity(trip, "ms"), w.Quantity(election, "ms"), w.Quantity(record.MostElectionMs(trip), "ms"), w.Quantity(allowed, "ms"))
	head := []string{"cut off", "n", "gap p50", "p90", "worst"}
	if beside {
		head = append(head, "franz-go p50", "p90", "worst")
	}
	rows := [][]string{}
	for _, s := range append(slices.Clone(record.RegionSorts), record.Slow) {
		tuned, library := record.Gaps(all, s)
		if len(tuned) == 0 {
			continue
		}
		row := append([]string{lost[s], fmt.Sprint(len(tuned))}, w.gaps(tuned)...)
		if beside {
			row = append(row, w.gaps(library)...)
		}
		rows = append(rows, append(row, w.Quantity(backAfter(all, s), "ms")))
	}
	p.Table(append(head, "back after"), rows)
}

// backAfter is how long it took after one sort of incident until all was as before, a median.
func backAfter(all []record.Incident, s record.IncidentSort) float64 {
	var back []float64
	for _, in := range all {
		if in.Sort == s {
			back = append(back, in.BackMs)
		}
	}
	return stats.Median(back)
}
