package trial

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ackline/tools/stats"
)

// Row is one figure of both builds.
type Row struct {
	Name    string         `json:"name"`
	Unit    string         `json:"unit"`
	Before  float64        `json:"before"`  // median over the base's launches
	After   float64        `json:"after"`   // median over the head's launches
	Change  stats.Estimate `json:"change"`  // of the ratio after/before
	Gated   bool           `json:"gated"`   // it decides
	Delta   float64        `json:"delta"`   // the smallest change that matters, as a share
	Verdict stats.Verdict  `json:"verdict"` // "" when it does not decide
	Sees    float64        `json:"sees"`    // the smallest change that the last look can tell from none, as A against A foretells it
	Note    string         `json:"note,omitempty"`
}

// Blind says that not even the last look is expected to decide δ.
func (r *Row) Blind() bool { return r.Gated && r.Sees > r.Delta }

// judge makes the rows of what was measured so far, and the verdict.
func (o *Outcome) judge(same map[string]self, pairs []Pair) {
	o.Pairs, o.Rows = len(pairs), nil
	for _, v := range figures(pairs) {
		row := Row{Name: v.Name, Unit: v.Unit, Gated: slices.Contains(o.Plan.Gates, v.Name), Delta: stats.Delta(figure(v.Name))}
		row.Sees = same[v.Name].sees
		row.judge(o, same, pairs)
		o.Rows = append(o.Rows, row)
	}
	for _, name := range o.Plan.Gates {
		if !slices.ContainsFunc(o.Rows, func(r Row) bool { return r.Name == name }) {
			o.Rows = append(o.Rows, Row{Name: name, Gated: true, Verdict: stats.Inconclusive, Note: "no pair of launches has it"})
		}
	}
	o.Verdict = overall(o.Rows)
}

// overall is what the deciding rows say together: one that regressed is enough, and passing takes all.
func overall(rows []Row) stats.Verdict {
	verdict := stats.Passed
	for _, r := range rows {
		switch {
		case !r.Gated:
		case r.Verdict == stats.Regressed:
			return stats.Regressed
		case r.Verdict == stats.Inconclusive:
			verdict = stats.Inconclusive
		}
	}
	return verdict
}

// judge fills in what the launches say about the figure.
func (r *Row) judge(o *Outcome, same map[string]self, pairs []Pair) {
	var before, after []float64
	for _, p := range pairs {
		a, b := p.A.value(r.Name), p.B.value(r.Name)
		if !math.IsNaN(a) && !math.IsNaN(b) {
			before, after = append(before, a), append(after, b)
		}
	}
	if len(before) > 0 {
		r.Before, r.After = stats.Median(before), stats.Median(after)
	}
	if r.Gated {
		r.Verdict = stats.Inconclusive
	}
	if 10*len(before) < 9*len(pairs) {
		r.Note = fmt.Sprintf("only %d of %d pairs have it", len(before), len(pairs))
		return
	}
	logs, err := LogRatios(before, after)
	if err != nil {
		r.Note = err.Error()
		return
	}
	if r.Change, err = shift(logs, o.Confidence); err != nil {
		r.Note = err.Error()
		return
	}
	if r.Gated {
		r.Verdict = stats.AgainstDelta(r.Change, r.Delta)
	}
	if s := same[r.Name]; s.alarm != "" {
		r.Verdict, r.Note = stats.Inconclusive, s.alarm
	}
}

// self is what A against A says of this host about one figure.
type self struct {
	sees  float64 // the smallest change that the last look can tell
	alarm string  // a difference where there is none; "" for none
}

// itself holds the base against itself, figure by figure.
func (o *Outcome) itself(same []Pair) map[string]self {
	out := map[string]self{}
	for _, name := range o.Plan.Gates {
		var a, b []float64
		for _, p := range same {
			a, b = append(a, p.A.value(name)), append(b, p.B.value(name))
		}
		logs, err := LogRatios(a, b)
		if err != nil {
			continue
		}
		s := self{sees: stats.Resolution(logs, o.Confidence, o.Plan.Last())}
		if e, err := shift(logs, o.Confidence); err == nil {
			if v := stats.AgainstDelta(e, stats.Delta(figure(name))); v == stats.Regressed || v == stats.Improved {
				s.alarm = fmt.Sprintf("A against A differs by %+.1f%% itself", 100*(e.Shift-1))
			}
		}
		out[name] = s
	}
	return out
}

// shift estimates a ratio from its logarithms.
func shift(logs []float64, confidence float64) (stats.Estimate, error) {
	e, err := stats.Shift(logs, confidence)
	e.Shift, e.Low, e.High = math.Exp(e.Shift), math.Exp(e.Low), math.Exp(e.High)
	return e, err
}

// LogRatios are the logarithms of after/before. A counter that stays at nothing has not changed; one that is nothing on one side only has no ratio.
func LogRatios(before, after []float64) ([]float64, error) {
	out := make([]float64, len(before))
	for i, a := range before {
		switch b := after[i]; {
		case a == 0 && b == 0:
		case !(a > 0 && b > 0) || math.IsInf(a, 0) || math.IsInf(b, 0):
			return nil, fmt.Errorf("no ratio of %v and %v", b, a)
		default:
			out[i] = math.Log(b / a)
		}
	}
	return out, nil
}

// figures lists what the launches have, each once, in the order of the first that has it.
func figures(pairs []Pair) []Value {
	var out []Value
	for _, p := range pairs {
		for _, v := range p.A.Values {
			if !slices.ContainsFunc(out, func(o Value) bool { return o.Name == v.Name }) {
				out = append(out, v)
			}
		}
	}
	return out
}

// OverFloor ends the names of figures that are multiples of the floor's.
const OverFloor = " / floor"

// figure is the name without what it is held against: δ is the same for both.
func figure(name string) string { return strings.TrimSuffix(name, OverFloor) }
