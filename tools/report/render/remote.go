package render

import (
	"ackline/tools/report/page"
	"ackline/tools/report/remote"
)

// unlimited are the figures of scenarios that had no floor: scenario, pair and the system's value.
func (v *view) unlimited() (rows [][]string) {
	for i := range v.scenarios {
		c := &v.scenarios[i]
		for _, of := range remote.Alone {
			values := remote.Values(c.good, of.Figure)
			if c.remote && c.FloorIs == "" && c.spoilt == "" && len(values) > 0 {
				rows = append(rows, []string{c.Name, of.Pair, medianRange(values, of.Unit)})
			}
		}
	}
	return rows
}

// writeUnlimited is the headline of what has nothing to be compared with.
func writeUnlimited(p *page.Page, v *view) {
	if rows := v.unlimited(); len(rows) > 0 {
		p.Text("Without a floor, medians over launches and their range:")
		p.Table([]string{"scenario", "of", "system"}, rows)
	}
}
