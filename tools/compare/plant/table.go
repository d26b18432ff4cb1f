package plant

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"ackline/tools/compare/trial"
	"ackline/tools/report/number"
	"ackline/tools/stats"
)

// Score is how a series came out.
type Score string

// The scores.
const (
	Met        Score = "met"
	Missed     Score = "missed"
	Incomplete Score = "incomplete"
)

// score judges the kinds of a series that take trials; one that misses its bar with the trials there are outweighs one that lacks some.
func (c Counts) score(trials []Trial) Score {
	out := Met
	for _, k := range []Kind{Nothing, Slower} {
		switch c.judge(k, count(trials, k)) {
		case Missed:
			return Missed
		case Incomplete:
			out = Incomplete
		}
	}
	return out
}

// judge judges a kind.
func (c Counts) judge(k Kind, t tally) Score {
	switch {
	case t.n < c.of(k):
		return Incomplete
	case k.met(t):
		return Met
	}
	return Missed
}

func count(trials []Trial, k Kind) (t tally) {
	for _, one := range trials {
		if one.Kind == k {
			t.add(one.Verdict)
		}
	}
	return t
}

// Summarise writes a Markdown table for each series of the log, the newest last, and returns the newest's score.
func Summarise(w io.Writer, all []Trial, c Counts) Score {
	score := Incomplete
	for len(all) > 0 {
		s := all[0].Series
		var of, rest []Trial
		for _, t := range all {
			if reflect.DeepEqual(t.Series, s) {
				of = append(of, t)
			} else {
				rest = append(rest, t)
			}
		}
		all = rest
		score = c.score(of)
		head(w, s, of)
		for _, k := range []Kind{Nothing, Slower} {
			if rows := slices.DeleteFunc(slices.Clone(of), func(t Trial) bool { return t.Kind != k }); len(rows) > 0 {
				c.row(w, k, rows)
			}
		}
		if len(all) > 0 {
			fmt.Fprintln(w)
		}
	}
	return score
}

// head writes what stands above a series' rows.
func head(w io.Writer, s Series, of []Trial) {
	gates := "all figures that may decide"
	if len(s.Plan.Gates) > 0 {
		gates = "decided by " + strings.Join(s.Plan.Gates, ", ")
	}
	var hosts []string
	first, last := of[0].Started, of[0].Ended
	for _, t := range of {
		if !slices.Contains(hosts, t.Host) {
			hosts = append(hosts, t.Host)
		}
		if t.Ended.After(last) {
			last = t.Ended
		}
	}
	const day = "2006-01-02"
	fmt.Fprintf(w, "%s, %s, looks after %s pairs, %s; %s to %s, on %s.\n\n", s.Commit.Short(), s.Scenario, plain(s.Plan.Looks), gates, first.UTC().Format(day), last.UTC().Format(day),
		strings.Join(hosts, ", "))
	fmt.Fprintln(w, "| planted | trials | regressed | passed | open | wanted | p50 over the floor's, median [least–most] | p50 itself regressed | pairs | minutes | |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
}

// plain writes numbers for people: 10, 20, 40.
func plain(n []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(n), " ", ", "), "[]") }

// row writes a kind's row.
func (c Counts) row(w io.Writer, k Kind, of []Trial) {
	t := count(of, k)
	var changes, spins, pairs, minutes []float64
	itself := 0
	for _, one := range of {
		if r := one.row(figure + trial.OverFloor); r != nil && r.Change.N > 0 {
			changes = append(changes, r.Change.Shift)
			if r.Verdict == stats.Regressed {
				itself++
			}
		}
		spins, pairs = append(spins, float64(one.SpinNs)), append(pairs, float64(one.Pairs))
		minutes = append(minutes, one.Ended.Sub(one.Started).Minutes())
	}
	n := max(c.of(k), t.n)
	what, wanted := "nothing", fmt.Sprintf("passed ≥ %d, regressed ≤ %d", least(n, passPercent), most(n, falsePercent))
	if k == Slower {
		what = fmt.Sprintf("a spin of %.0f%% of the p50, %v–%v", 100*Share, spin(slices.Min(spins)), spin(slices.Max(spins)))
		wanted = fmt.Sprintf("regressed ≥ %d", least(n, regressedPercent))
	}
	change := "–"
	if len(changes) > 0 {
		change = fmt.Sprintf("%s [%s – %s]", percent(stats.Median(changes)), percent(slices.Min(changes)), percent(slices.Max(changes)))
	}
	fmt.Fprintf(w, "| %s | %d of %d | %d | %d | %d | %s | %s | %d | %s | %s | %s |\n", what, t.n, n, t.regressed, t.passed, t.open, wanted, change, itself,
		number.Digits3(stats.Median(pairs)), number.Digits3(stats.Median(minutes)), c.judge(k, t))
}

// percent writes a ratio as a change. A spread from one launch to another is not that sure that more digits than one would say anything.
func percent(ratio float64) string { return fmt.Sprintf("%+.1f%%", 100*(ratio-1)) }

// spin rounds a spin's nanoseconds.
func spin(ns float64) time.Duration {
	return time.Duration(math.Round(ns/100)) * 100 * time.Nanosecond
}
