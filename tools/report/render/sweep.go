package render

import (
	"fmt"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// writeSweep is the table of a sweep, a row per rate. A sweep has few launches, so there are medians and ranges, and nothing
// that claims to be an interval. A scenario that is no sweep has no table.
func writeSweep(p *page.Page, c *scenario) {
	knees, ok := c.knees()
	if !ok {
		return
	}
	p.Text("%s%s. Medians over launches, in parentheses their range, which is no interval; *≥*: the time-out, because at least one request in a hundred was due "+
		"and could not be sent before the end. *valid* counts launches (of the system, of the floor).", strings.ToUpper(knees[:1]), knees[1:])
	answered := c.answered()
	if answered {
		p.Text("*answered* is requests per second until the last of a rate was answered: fewer than arrive where a queue has formed.")
	}
	var rates []float64
	at := map[float64]map[record.Side]*rungs{}
	for _, l := range c.good {
		for _, r := range l.Rungs {
			if at[r.RatePerSecond] == nil {
				rates = append(rates, r.RatePerSecond)
				at[r.RatePerSecond] = map[record.Side]*rungs{record.System: {}, record.Floor: {}}
			}
			at[r.RatePerSecond][r.Side].add(r)
		}
	}
	rows := [][]string{}
	slices.Sort(rates)
	for _, rate := range rates {
		s, f := at[rate][record.System], at[rate][record.Floor]
		valid := fmt.Sprintf("%d, %d", len(s.p50), len(f.p50))
		if answered {
			rows = append(rows, []string{quantity(rate, "1/s"), s.typical(), s.tail(), s.rate(), f.typical(), f.tail(), f.rate(), valid})
		} else {
			rows = append(rows, []string{quantity(rate, "1/s"), s.typical(), s.tail(), f.typical(), f.tail(), valid})
		}
	}
	head := []string{"arrivals", "system p50", "system p99", "floor p50", "floor p99", "valid"}
	if answered {
		head = []string{"arrivals", "system p50", "system p99", "system answered", "floor p50", "floor p99", "floor answered", "valid"}
	}
	p.Table(head, rows)
}

// answered says that the rungs tell at which rate requests were answered, which those of older records do not.
func (c *scenario) answered() bool {
	return slices.ContainsFunc(c.good, func(l record.Launch) bool {
		return slices.ContainsFunc(l.Rungs, func(r record.Rung) bool { return r.AnsweredPerSecond > 0 })
	})
}

// rungs are the valid ones of one side at one rate, over launches.
type rungs struct {
	p50, p99, answered []float64
	atLeast            bool
}

func (r *rungs) add(x record.Rung) {
	if x.Verdict != record.OK {
		return
	}
	r.p50, r.p99 = append(r.p50, x.P50Us), append(r.p99, x.P99Us)
	r.atLeast = r.atLeast || x.AtLeast
	if x.AnsweredPerSecond > 0 {
		r.answered = append(r.answered, x.AnsweredPerSecond)
	}
}

func (r *rungs) rate() string {
	if len(r.answered) == 0 {
		return "–"
	}
	return quantity(stats.Median(r.answered), "1/s")
}

func (r *rungs) typical() string {
	if len(r.p50) == 0 {
		return "–"
	}
	return quantity(stats.Median(r.p50), "us")
}

func (r *rungs) tail() string {
	text := medianRange(r.p99, "us")
	if r.atLeast {
		text = "≥ " + text
	}
	return text
}

// knees says at which rate each side has its knee. ok is false for a scenario that is no sweep or publishes nothing.
func (c *scenario) knees() (text string, ok bool) {
	objective, ok := c.ObjectiveUs()
	if !ok || len(c.good) == 0 {
		return "", false
	}
	return fmt.Sprintf("the highest rate at which the p99 stays within %s, the knee, is %s for the system and %s for the floor", exact(objective, "us"),
		c.knee(record.System, objective), c.knee(record.Floor, objective)), true
}

// knee is the median over launches. In a launch that never missed the objective the knee is at least the highest valid rung;
// one such makes the median a lower bound too.
func (c *scenario) knee(side record.Side, objectiveUs float64) string {
	var rates []float64
	bound := ""
	lowest := 0.0
	for i := range c.good {
		k, ok := record.FindKnee(c.good[i].Rungs, side, objectiveUs)
		if !ok {
			continue
		}
		if k.Missed == 0 {
			bound = "≥ "
		}
		if k.RatePerSecond == 0 {
			lowest = k.Missed
		}
		rates = append(rates, k.RatePerSecond)
	}
	if len(rates) == 0 {
		return "unknown"
	}
	if stats.Median(rates) == 0 {
		return "below " + quantity(lowest, "1/s")
	}
	return bound + medianRange(rates, "1/s")
}
