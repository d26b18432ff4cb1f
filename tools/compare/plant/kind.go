package plant

import "ackline/tools/stats"

// Kind is what is between the two builds of a trial.
type Kind string

// The kinds.
const (
	Nothing Kind = "nothing" // both are the same programs
	Slower  Kind = "slower"  // the head spins for Share of the p50
)

// Share of the p50 is what is planted.
const Share = 0.10

// Counts is how many trials of each kind a series takes.
type Counts struct {
	Nothing int `json:"nothing"`
	Slower  int `json:"slower"`
}

// Usual are as many as the bars are made for.
var Usual = Counts{Nothing: 20, Slower: 10}

// The bars, in percent of the trials of a kind. Of twenty comparisons with nothing between them, sixteen have to pass and one may regress;
// of ten with Share planted, nine have to regress.
const (
	passPercent      = 80
	falsePercent     = 5
	regressedPercent = 90
)

// turn is a trial that is wanted.
type turn struct {
	kind   Kind
	number int // from 1
}

// turns are the trials in the order of running: the kinds mixed by their counts, so that what a night leaves undone is of both.
func (c Counts) turns() (out []turn) {
	nothing, slower := 0, 0
	for nothing < c.Nothing || slower < c.Slower {
		if nothing < c.Nothing && (slower == c.Slower || nothing*c.Slower <= slower*c.Nothing) {
			nothing++
			out = append(out, turn{Nothing, nothing})
			continue
		}
		slower++
		out = append(out, turn{Slower, slower})
	}
	return out
}

// of is how many trials of the kind there are to be.
func (c Counts) of(k Kind) int {
	if k == Slower {
		return c.Slower
	}
	return c.Nothing
}

// tally counts verdicts.
type tally struct{ n, regressed, passed, open int }

func (t *tally) add(v stats.Verdict) {
	t.n++
	switch v {
	case stats.Regressed:
		t.regressed++
	case stats.Passed, stats.Improved:
		t.passed++
	default:
		t.open++
	}
}

// least and most of n are what a percentage asks for.
func least(n, percent int) int { return (n*percent + 99) / 100 }
func most(n, percent int) int  { return n * percent / 100 }

// met says whether n finished trials of the kind came out as they have to.
func (k Kind) met(t tally) bool {
	if k == Slower {
		return t.regressed >= least(t.n, regressedPercent)
	}
	return t.passed >= least(t.n, passPercent) && t.regressed <= most(t.n, falsePercent)
}
