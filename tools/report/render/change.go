package render

import (
	"fmt"
	"strings"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// Previous is what a later run needs of an earlier one. It travels in the later file's raw data, so that the comparison
// too can be rendered again from that file alone.
type Previous struct {
	Commit        string           `json:"commit"`
	Started       time.Time        `json:"started"`
	FloorVersion  int              `json:"floor_version"`
	ProfileDigest string           `json:"profile_digest"`
	Host          fingerprint.Info `json:"host"`
	Series        []Series         `json:"series"`
}

// Series is one comparable quantity of one scenario, launch by launch.
type Series struct {
	Scenario string    `json:"scenario"`
	Name     string    `json:"name"`
	Unit     string    `json:"unit"`
	Kind     Kind      `json:"kind"`
	Gated    bool      `json:"gated,omitempty"`
	Floor    float64   `json:"floor,omitempty"` // of an excess: the floor's median, which δ is a share of
	Values   []float64 `json:"values"`          // in the order of the launches, valid ones only
}

// Kind is how a quantity may be compared across time. Ratios, excesses and counters per request mean the same on
// another day; absolute latencies depend on the day's disk and are shown without a verdict.
type Kind string

const (
	Ratio    Kind = "ratio"    // system / floor
	Excess   Kind = "excess"   // system - floor
	Counter  Kind = "counter"  // per request or per byte
	Absolute Kind = "absolute" // everything else
)

// Remember takes from a run what the next one compares itself with.
func Remember(r *record.Results) *Previous {
	v := newView(&Document{Results: r})
	return &Previous{Commit: r.Commit, Started: r.Started, FloorVersion: r.FloorVersion, ProfileDigest: r.ProfileDigest,
		Host: r.Host, Series: v.series()}
}

// series lists every comparable quantity of the published scenarios.
func (v *view) series() []Series {
	var out []Series
	for i := range v.scenarios {
		c := &v.scenarios[i]
		at := map[string]int{}
		add := func(s Series, value float64) {
			key := string(s.Kind) + " " + s.Name
			n, ok := at[key]
			if !ok {
				n = len(out)
				at[key], out = n, append(out, s)
			}
			out[n].Values = append(out[n].Values, value)
		}
		for _, l := range c.good {
			for _, p := range l.Pairs {
				sum, _ := c.pair(p.Name)
				add(Series{Scenario: c.Name, Name: p.Name, Unit: "1", Kind: Ratio, Gated: p.Gated}, p.Ratio)
				if p.Unit != "1/s" { // the excess of a rate says nothing that its ratio does not
					add(Series{Scenario: c.Name, Name: p.Name, Unit: p.Unit, Kind: Excess, Gated: p.Gated, Floor: sum.Floor}, p.Excess)
				}
				add(Series{Scenario: c.Name, Name: p.Name, Unit: p.Unit, Kind: Absolute}, p.System)
			}
			for _, f := range l.Figures {
				if f.Side == record.System && perRequest(f) {
					add(Series{Scenario: c.Name, Name: f.Name, Unit: f.Unit, Kind: Counter}, f.Value)
				}
			}
		}
	}
	return out
}

// perRequest tells the counters that do not depend on how fast the day's disk was. What the generator spent is none of
// the system's.
func perRequest(f record.Figure) bool {
	if strings.HasPrefix(f.Name, "client_") {
		return false
	}
	return strings.Contains(f.Unit, "/request") || strings.Contains(f.Unit, "/byte") || strings.HasSuffix(f.Name, "_per_request")
}

// comparison is one series of two runs.
type comparison struct {
	Series
	old       []float64
	e         stats.Estimate // of new/old, or of new - old for an excess
	verdict   string
	estimable bool
}

// compare pairs launches by their order. Within each run they are exchangeable, so that any fixed pairing is as good as
// another.
func compare(s Series, old []float64, gated int) comparison {
	c := comparison{Series: s, old: old}
	n := min(len(s.Values), len(old))
	confidence := record.Confidence
	if s.Gated {
		confidence = stats.GateConfidence(gated, 1)
	}
	d := make([]float64, n)
	var err error
	if s.Kind == Excess {
		for i := range d {
			d[i] = s.Values[i] - old[i]
		}
		c.e, err = stats.Shift(d, confidence)
	} else {
		for i := range d {
			d[i] = s.Values[i] / old[i]
		}
		c.e, err = stats.RatioShift(d, confidence)
	}
	if err != nil {
		c.verdict = "cannot be compared"
		return c
	}
	c.estimable = true
	if s.Kind == Excess {
		c.verdict = string(stats.AgainstMargin(c.e, stats.Delta(s.Name)*s.Floor))
	} else {
		c.verdict = string(stats.AgainstDelta(c.e, stats.Delta(s.Name)))
		if effect := stats.SmallestEffect(c.e); c.verdict == string(stats.Inconclusive) && effect > stats.Delta(s.Name) {
			c.verdict += fmt.Sprintf(", sees %.0f%%", 100*effect)
		}
	}
	return c
}

// incomparable says why two runs may not be compared, in full; nil when they may.
func incomparable(r *record.Results, old *Previous) []string {
	reasons := fingerprint.Differ(old.Host, r.Host)
	if old.FloorVersion != r.FloorVersion {
		reasons = append(reasons, fmt.Sprintf("floor version: %d / %d", old.FloorVersion, r.FloorVersion))
	}
	if old.ProfileDigest != r.ProfileDigest {
		reasons = append(reasons, fmt.Sprintf("profile digest: %s / %s", old.ProfileDigest, r.ProfileDigest))
	}
	return reasons
}

func writeChange(p *page.Page, v *view) {
	p.Heading(2, "Change against the previous commit")
	old := v.previous
	if old == nil {
		p.Text("There is no earlier run to compare with.")
		return
	}
	p.Text("Before: commit %s, %s UTC. After: commit %s.", old.Commit, old.Started.UTC().Format("2006-01-02 15:04"), v.r.Commit)
	if reasons := incomparable(v.r, old); len(reasons) > 0 {
		p.Text("Not compared, because these differ (before / after):")
		p.Gap()
		for _, r := range reasons {
			p.Item("%s", r)
		}
		return
	}
	judgedRows, shownRows := changeRows(v, old)
	p.Text("Launches are paired in order. *Regressed* or *improved*: the whole interval is beyond δ (p50 3%%, else 10%%; of an "+
		"excess, that share of the floor); *passed*: the whole interval is within δ; else *inconclusive*, and “sees n%%” is the "+
		"smallest change that these launches could tell. The intervals of gated figures (*) hold together at %.0f%%.",
		100*record.Confidence)
	p.Table([]string{"scenario", "figure", "before", "after", "change", "verdict"}, judgedRows)
	if len(shownRows) > 0 {
		p.Text("Absolute figures depend on the day's disk, so they get no verdict:")
		p.Table([]string{"scenario", "figure", "before", "after"}, shownRows)
	}
}

// changeRows are the table with verdicts and the one without.
func changeRows(v *view, old *Previous) (judgedRows, shownRows [][]string) {
	type key struct {
		scenario, name, unit string
		kind                 Kind
	}
	before := map[key][]float64{}
	for _, s := range old.Series {
		before[key{s.Scenario, s.Name, s.Unit, s.Kind}] = s.Values
	}
	now := v.series()
	gated := 0
	for _, s := range now {
		if s.Gated && s.Kind == Ratio {
			gated++
		}
	}
	for _, s := range now {
		was, ok := before[key{s.Scenario, s.Name, s.Unit, s.Kind}]
		if !ok || len(was) == 0 {
			continue
		}
		a, b := quantity(stats.Median(was), s.Unit), quantity(stats.Median(s.Values), s.Unit)
		if s.Kind == Absolute {
			shownRows = append(shownRows, []string{s.Scenario, s.Name, a, b})
			continue
		}
		name := s.Name
		if s.Kind != Counter {
			name = string(s.Kind) + " " + s.Name
		}
		if s.Gated && s.Kind == Ratio {
			name += " *"
		}
		c := compare(s, was, gated)
		change := "–"
		if c.estimable && s.Kind == Excess {
			change = spread(c.e, s.Unit)
		} else if c.estimable {
			change = percent(c.e)
		}
		judgedRows = append(judgedRows, []string{s.Scenario, name, a, b, change, c.verdict})
	}
	return judgedRows, shownRows
}
