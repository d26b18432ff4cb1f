// Package files compares two records of bench runs, measured at different times.
//
// Between two runs the disk has had another day, so an absolute latency that differs says nothing about the program. What
// keeps its meaning are ratios to the floor, which had the same day, excesses over it, and what is counted per request: only
// these get a verdict. And only when everything under them is the same: a record of another machine, with another floor or other
// profiles, or one that was edited, is refused, with what is wrong with it.
package files

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/compare/trial"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// Row is one figure of one scenario in both runs.
type Row struct {
	Scenario string         `json:"scenario"`
	Name     string         `json:"name"`
	Unit     string         `json:"unit"`
	Kind     render.Kind    `json:"kind"`
	Gated    bool           `json:"gated"`  // it decides
	Before   float64        `json:"before"` // median over launches
	After    float64        `json:"after"`
	Change   stats.Estimate `json:"change"`  // of after/before, of an excess after - before
	Verdict  stats.Verdict  `json:"verdict"` // "" for an absolute figure
	Note     string         `json:"note,omitempty"`
}

// Outcome is what two records say together.
type Outcome struct {
	Before  string        `json:"before"` // commit
	After   string        `json:"after"`
	Verdict stats.Verdict `json:"verdict"`
	Gated   int           `json:"gated"` // ratios that decide
	Rows    []Row         `json:"rows"`
	Notes   []string      `json:"notes,omitempty"`
}

// Load reads results.json, its folder, or a RESULTS.md, which must be what its raw data gives.
func Load(name string) (*record.Results, error) {
	if !strings.HasSuffix(name, ".md") {
		r, err := record.Read(name)
		if err != nil {
			return nil, fmt.Errorf("%w (want results.json of bin/bench, its folder, or a RESULTS.md)", err)
		}
		return r, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	doc, err := render.Extract(content) // another format is not an edited file, so it is told first
	if err == nil {
		err = render.Check(content)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return doc.Results, nil
}

// Compare judges what two runs have in common; of the scenarios named, or of all.
func Compare(before, after *record.Results, scenarios []string) (*Outcome, error) {
	if reasons := render.Incomparable(before, after); len(reasons) > 0 {
		return nil, fmt.Errorf("not comparable; these differ (before / after):\n  %s", strings.Join(reasons, "\n  "))
	}
	if err := known(before, after, scenarios); err != nil {
		return nil, err
	}
	type key struct {
		scenario, name, unit string
		kind                 render.Kind
	}
	was := map[key]render.Series{}
	for _, s := range render.Remember(before).Series {
		was[key{s.Scenario, s.Name, s.Unit, s.Kind}] = s
	}
	o := &Outcome{Before: before.Commit, After: after.Commit, Verdict: stats.Inconclusive}
	var both [][2]render.Series
	for _, s := range render.Remember(after).Series {
		old, ok := was[key{s.Scenario, s.Name, s.Unit, s.Kind}]
		if !ok || len(scenarios) > 0 && !slices.Contains(scenarios, s.Scenario) {
			continue
		}
		both = append(both, [2]render.Series{old, s})
		if s.Gated && s.Kind == render.Ratio {
			o.Gated++
		}
	}
	if o.Gated == 0 {
		return nil, errors.New("the two have no published ratio to the floor in common that decides: at least one scenario must be valid in both")
	}
	for _, b := range both {
		o.Rows = append(o.Rows, judge(b[0], b[1], o.Gated))
	}
	o.conclude()
	return o, nil
}

// known refuses scenarios that are in neither run.
func known(before, after *record.Results, scenarios []string) error {
	for _, want := range scenarios {
		has := func(r *record.Results) bool {
			return slices.ContainsFunc(r.Scenarios, func(s record.Scenario) bool { return s.Name == want })
		}
		if !has(before) || !has(after) {
			var names []string
			for _, s := range after.Scenarios {
				names = append(names, s.Name)
			}
			return fmt.Errorf("the two have no scenario %q in common; the second has %s", want, strings.Join(names, ", "))
		}
	}
	return nil
}

// judge compares launches in the order of their numbers. Within a run they are exchangeable, so that any fixed pairing is as
// good as another.
func judge(old, now render.Series, gated int) Row {
	r := Row{Scenario: now.Scenario, Name: now.Name, Unit: now.Unit, Kind: now.Kind, Gated: now.Gated && now.Kind == render.Ratio,
		Before: stats.Median(old.Values), After: stats.Median(now.Values)}
	if now.Kind == render.Absolute {
		return r
	}
	confidence := record.Confidence
	if r.Gated {
		confidence = stats.GateConfidence(gated, 1)
	}
	n := min(len(old.Values), len(now.Values))
	d := make([]float64, n)
	var err error
	if now.Kind == render.Excess {
		for i := range d {
			d[i] = now.Values[i] - old.Values[i]
		}
		if r.Change, err = stats.Shift(d, confidence); err == nil {
			// Of the earlier floor: what is compared with must not depend on what is judged.
			r.Verdict = stats.AgainstMargin(r.Change, stats.Delta(now.Name)*old.Floor)
		}
	} else {
		if d, err = trial.LogRatios(old.Values[:n], now.Values[:n]); err == nil {
			r.Change, err = stats.Shift(d, confidence)
		}
		if err == nil {
			r.Change.Shift, r.Change.Low, r.Change.High = math.Exp(r.Change.Shift), math.Exp(r.Change.Low), math.Exp(r.Change.High)
			r.Verdict = stats.AgainstDelta(r.Change, stats.Delta(now.Name))
		}
	}
	switch {
	case err != nil:
		r.Verdict, r.Note = stats.Inconclusive, err.Error()
	case r.Change.Short:
		r.Note = fmt.Sprintf("%d launches are too few for %.2f%% confidence", n, 100*confidence)
	case r.Verdict == stats.Inconclusive && now.Kind != render.Excess:
		r.Note = fmt.Sprintf("sees %.0f%%, δ is %.0f%%", 100*stats.SmallestEffect(r.Change), 100*stats.Delta(now.Name))
	}
	return r
}

// conclude makes one verdict of those that decide, and says what would help.
func (o *Outcome) conclude() {
	o.Verdict = stats.Passed
	short, open := 0, 0
	for _, r := range o.Rows {
		if !r.Gated {
			continue
		}
		if r.Verdict == stats.Regressed {
			o.Verdict = stats.Regressed
		}
		if r.Verdict == stats.Inconclusive {
			open++
			if r.Change.Short {
				short++
			}
		}
	}
	if open > 0 && o.Verdict == stats.Passed {
		o.Verdict = stats.Inconclusive
	}
	if short > 0 {
		o.Notes = append(o.Notes, fmt.Sprintf("%d of %d deciding ratios have too few launches to be sure of all of them together, which takes %d each: measure "+
			"more (PROFILE=full has ten), or ask for fewer scenarios with --scenario", short, o.Gated, stats.LaunchesFor(stats.GateConfidence(o.Gated, 1))))
	}
	if open > short {
		o.Notes = append(o.Notes, "two runs hours apart cannot decide δ for some figures here: `make compare` measures both commits in turns, "+
			"which takes the hour out")
	}
}
