// Package outages draws the tables of what users feel when brokers go away: for how long nobody can write when a node is lost, and how
// long a broker that was killed needs to come back.
package outages

import (
	"fmt"
	"slices"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// Words are how figures are written for people.
type Words struct {
	Quantity func(v float64, unit string) string // 151 µs
	Ratio    func(e stats.Estimate) string       // 1.09 [1.07–1.12]
}

// Write draws the tables of a scenario's valid launches. One that has neither incidents, nor lost regions, nor a curve has none.
func Write(p *page.Page, launches []record.Launch, w Words) {
	w.incidents(p, launches)
	w.losses(p, launches)
	w.curve(p, launches)
}

// incidents is the table of a failover, a row per sort of incident, all launches together.
func (w Words) incidents(p *page.Page, launches []record.Launch) {
	var all []record.Incident
	for i := range launches {
		if _, regions := launches[i].Get(record.Host, record.LongestTripMs); !regions { // those have a table of their own
			all = append(all, launches[i].Incidents...)
		}
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
		row := append([]string{string(s), fmt.Sprint(len(tuned)), w.Quantity(stats.Median(led), "1")}, w.gaps(tuned)...)
		rows = append(rows, append(append(row, w.gaps(library)...), w.Quantity(stats.Median(back), "ms")))
	}
	p.Table([]string{"incident", "n", "led", "gap p50", "p90", "worst", "franz-go p50", "p90", "worst", "back after"}, rows)
}

// gaps is a distribution: median, p90 and worst.
func (w Words) gaps(ms []float64) []string {
	if len(ms) == 0 {
		return []string{"–", "–", "–"}
	}
	sorted := slices.Sorted(slices.Values(ms))
	p90 := sorted[min(len(sorted)*9/10, len(sorted)-1)]
	return []string{w.Quantity(stats.Median(ms), "ms"), w.Quantity(p90, "ms"), w.Quantity(sorted[len(sorted)-1], "ms")}
}
