package render

import (
	"fmt"
	"slices"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// writeIncidents is the table of a failover, a row per sort of incident, all launches together. A scenario without incidents has
// no table.
func writeIncidents(p *page.Page, c *scenario) {
	var all []record.Incident
	for _, l := range c.good {
		all = append(all, l.Incidents...)
	}
	if len(all) == 0 {
		return
	}
	p.Text("A gap is the longest stretch without an acknowledgement from an incident until the next one, for a client that is set up for failovers and for " +
		"franz-go as people use it; *led* is how many partitions the node led, and *back after* how long it was away; both are medians.")
	rows := [][]string{}
	for _, s := range record.IncidentSorts {
		tuned, library := record.Gaps(all, s)
		if len(tuned) == 0 {
			continue
		}
		var led, back []float64
		for _, i := range all {
			if i.Sort == s {
				led, back = append(led, float64(i.Led)), append(back, i.BackMs)
			}
		}
		row := append([]string{string(s), fmt.Sprint(len(tuned)), quantity(stats.Median(led), "1")}, gaps(tuned)...)
		rows = append(rows, append(append(row, gaps(library)...), quantity(stats.Median(back), "ms")))
	}
	p.Table([]string{"incident", "n", "led", "gap p50", "p90", "worst", "franz-go p50", "p90", "worst", "back after"}, rows)
}

// gaps is a distribution: median, p90 and worst.
func gaps(ms []float64) []string {
	if len(ms) == 0 {
		return []string{"–", "–", "–"}
	}
	sorted := slices.Sorted(slices.Values(ms))
	p90 := sorted[min(len(sorted)*9/10, len(sorted)-1)]
	return []string{quantity(stats.Median(ms), "ms"), quantity(p90, "ms"), quantity(sorted[len(sorted)-1], "ms")}
}
