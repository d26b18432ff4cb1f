package render

import (
	"ackline/tools/bench/record"
	"ackline/tools/report/page"
)

// Published is what may be shown of a scenario, for renderers of other forms than Markdown.
type Published struct {
	record.Scenario
	Launches []record.Launch // those that count; none when Spoilt
	Spoilt   string          // why nothing of it is published, "" when something is
	Split    []record.Split  // means over launches
	Headline []Headline      // the pairs that the headline shows
}

// Headline is one pair of the headline and what its bar says of it.
type Headline struct {
	record.Summary
	Bar     float64 // the most that limit_ratio may be; 0: there is no bar
	BarName string
	Verdict string // met, missed, undecided; "" without a bar
}

// Publish lists every scenario of a run, in order.
func Publish(d *Document) []Published {
	v := newView(d)
	var out []Published
	for i := range v.scenarios {
		c := &v.scenarios[i]
		p := Published{Scenario: c.Scenario, Launches: c.good, Spoilt: c.spoilt, Split: c.split}
		for _, s := range v.headlinePairs(c) {
			h := Headline{Summary: s}
			if j, ok := v.bar(c, s.Pair); ok {
				h.Bar, h.BarName, h.Verdict = j.Limit, j.Name, j.verdict
				if j.AtLeast {
					h.Bar = 1 / j.Limit
				}
			}
			p.Headline = append(p.Headline, h)
		}
		out = append(out, p)
	}
	return out
}

// Verdicts are those of all bars, in the order of the table of bars.
func Verdicts(d *Document) []string {
	var out []string
	for _, j := range newView(d).bars {
		out = append(out, j.verdict)
	}
	return out
}

// Blocks are the sections for people that File writes, before they became Markdown.
func Blocks(d *Document) []page.Block {
	p := &page.Page{}
	writePeople(p, newView(d))
	return p.Blocks()
}
