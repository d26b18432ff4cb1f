package render

import (
	"fmt"

	"ackline/tools/report/page"
	"ackline/tools/report/remote"
)

// floorless tells a scenario that has figures and no pairs because there was no floor.
func (c *scenario) floorless() bool {
	return c.remote && c.spoilt == "" && len(c.pairs) == 0 && c.FloorIs == ""
}

// writeFloorless is the headline of what has nothing to be compared with.
func writeFloorless(p *page.Page, v *view) {
	rows := [][]string{}
	for i := range v.scenarios {
		c := &v.scenarios[i]
		for _, of := range remote.Alone {
			if values := remote.Values(c.good, of.Figure); c.floorless() && len(values) > 0 {
				rows = append(rows, []string{c.Name, of.Pair, medianRange(values, of.Unit)})
			}
		}
	}
	if len(rows) > 0 {
		p.Text("Without a floor, medians over launches and their range:")
		p.Table([]string{"scenario", "of", "system"}, rows)
	}
}

// unlimited is a pair's line at the end of a run where there was no floor: that of the first scenario that has it.
func (v *view) unlimited(pair string) (string, bool) {
	for i := range v.scenarios {
		c := &v.scenarios[i]
		for _, of := range remote.Alone {
			if values := remote.Values(c.good, of.Figure); c.floorless() && of.Pair == pair && len(values) > 0 {
				return fmt.Sprintf("no floor; %s, %s", medianRange(values, of.Unit), c.Name), true
			}
		}
	}
	return "", false
}
