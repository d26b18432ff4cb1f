package render

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/outages"
	"ackline/tools/report/page"
	"ackline/tools/report/regions"
	"ackline/tools/report/remote"
	"ackline/tools/stats"
)

func writeHead(p *page.Page, v *view) {
	r := v.r
	p.Heading(1, "Results")
	p.Text("Rendered by `make results` from the raw data at the end; `make check` renders it again and compares. A limit_ratio is "+
		"the system's figure over that of the floor, the least program that does the same durable work %s "+
		"(for rates the floor's over the system's): 1 is the physical limit. Brackets hold %.0f%% intervals over launches.",
		remote.Where(r), 100*record.Confidence)
	p.Gap()
	p.Item("commit %s, suite %s, %s to %s UTC, seed %d", orElse(r.Commit, "unknown"), orElse(r.Suite, "unnamed"), r.Started.UTC().Format("2006-01-02 15:04"),
		r.Ended.UTC().Format("15:04"), r.Seed)
	if r.Remote != nil {
		remote.Head(p, r)
	} else {
		writeLocal(p, r)
	}
	if theft := v.theft(); theft != "" {
		p.Text("**%s.**", strings.ToUpper(theft[:1])+theft[1:])
	}
	if v.hostOnly {
		p.Text("Nothing but the host speaks against this run: on a quieter machine, or at a quieter hour, it may well be valid.")
	}
	if v.verdict != record.OK {
		p.Text("**This run is %s**; what is concerned publishes no figure.", strings.ToUpper(string(v.verdict)))
		p.Gap()
		for _, reason := range v.reasons {
			p.Item("%s", reason)
		}
	}
	if len(r.Notes) > 0 {
		p.Text("Notes of the run:")
		p.Gap()
		for _, n := range r.Notes {
			p.Item("%s", n)
		}
	}
}

// writeLocal says what machine broker, floor and client shared.
func writeLocal(p *page.Page, r *record.Results) {
	p.Item("%s, %s CPUs, %s, Linux %s", r.Host.Get("cpu"), r.Host.Get("cpus"), r.Host.Get("virtualization"), r.Host.Get("kernel"))
	p.Item("%s on %s in %s, %s free; synced with %s; floor version %d", r.Host.Get("file_system"), r.Host.Get("device"), r.Dir,
		size(float64(r.FreeBytes)), orElse(r.SyncMethod, "an unknown method"), r.FloorVersion)
}

func writeHeadline(p *page.Page, v *view) {
	p.Heading(2, "Headline")
	rows := [][]string{}
	for i := range v.scenarios {
		c := &v.scenarios[i]
		if c.spoilt != "" {
			rows = append(rows, []string{c.Name, "–", "–", "–", "–", "–", invalid})
			continue
		}
		for _, s := range v.headlinePairs(c) {
			bar, verdict, limit := "–", "–", ratio(s.Ratio)
			if j, ok := v.bar(c, s.Pair); ok {
				bar, verdict = barOnRatio(&j.Bar), j.verdict
			}
			if len(c.good[0].Regions) > 0 {
				limit = "excess " + spread(s.Excess, s.Unit)
			}
			rows = append(rows, []string{c.Name, s.Pair, quantity(s.System, s.Unit), quantity(s.Floor, s.Unit), limit, bar, verdict})
		}
	}
	if len(rows) > 0 || v.r.Remote == nil {
		p.Table([]string{"scenario", "of", "system", "floor", "limit_ratio", "bar", "verdict"}, rows)
	}
	writeUnlimited(p, v)
	p.Gap()
	for i := range v.scenarios {
		c := &v.scenarios[i]
		if c.spoilt != "" {
			p.Item("**%s** publishes nothing: %s.", c.Name, c.spoilt)
		} else if knees, ok := c.knees(); ok {
			p.Item("**%s**: %s.", c.Name, knees)
		} else if worst, total, ok := c.slowest(); ok {
			p.Item("**%s**: the slowest stage is **%s**, %s of %s (medians). To try next: %s.", c.Name, worst.name,
				quantity(worst.p50, "us"), quantity(total, "us"), c.next())
		}
	}
}

// barOnRatio writes a bar in terms of limit_ratio, of which less is always better: a share of the floor's rate of at
// least 0.35 is a ratio of at most 2.86.
func barOnRatio(b *Bar) string {
	if b.excess {
		return "excess " + b.limit()
	}
	if b.AtLeast {
		return "≤ " + factor(1/b.Limit)
	}
	return "≤ " + factor(b.Limit)
}

func writeScenarios(p *page.Page, v *view) {
	p.Heading(2, "Scenarios")
	for i := range v.scenarios {
		writeScenario(p, &v.scenarios[i])
	}
}

func writeScenario(p *page.Page, c *scenario) {
	p.Heading(3, c.Name)
	limit := orElse(c.FloorIs, "nothing")
	if c.remote && c.FloorIs == "" {
		limit = "unknown, there is no floor"
	}
	p.Text("%s. Topology %s, workload %s, tuning %s. The limit is: %s. %s.", orElse(strings.TrimSuffix(c.Note, "."), c.Operation),
		c.Topology, c.Workload, c.Tuning, limit, launchCount(c))
	p.Gap()
	for _, l := range c.all {
		if l.Verdict != record.OK {
			p.Item("Launch %d is %s: %s.", l.Number, strings.ToUpper(string(l.Verdict)), strings.Join(l.Reasons, "; "))
		}
	}
	noted := map[string]bool{}
	for _, l := range c.all {
		for _, n := range l.Notes {
			if !noted[n] {
				noted[n] = true
				p.Item("%s.", strings.TrimSuffix(n, "."))
			}
		}
	}
	if c.spoilt != "" {
		p.Text("Nothing is published: %s.", c.spoilt)
		return
	}
	if len(c.pairs) > 0 {
		rows := [][]string{}
		for _, s := range c.pairs {
			rows = append(rows, []string{s.Pair, quantity(s.System, s.Unit), quantity(s.Floor, s.Unit), ratio(s.Ratio),
				spread(s.Excess, s.Unit), enough(s.Ratio)})
		}
		p.Table([]string{"of", "system", "floor", "limit_ratio", "excess", "launches"}, rows)
	}
	writeSweep(p, c)
	outages.Write(p, c.good, outages.Words{Quantity: quantity, Ratio: ratio})
	regions.Write(p, c.good)
	if len(c.stages) > 0 {
		rows := [][]string{}
		for _, s := range c.stages {
			rows = append(rows, []string{s.name, quantity(s.p50, "us"), quantity(s.p99, "us")})
		}
		p.Table([]string{"stage of the system", "p50", "p99"}, rows)
	}
	writeSplit(p, c)
	writeFigures(p, c)
	if text := configuration(c.Configuration); text != "" {
		p.Text("In effect: %s.", text)
	}
}

// writeSplit shows where the time of single requests went. A scenario that was not asked has no table.
func writeSplit(p *page.Page, c *scenario) {
	if len(c.split) == 0 {
		return
	}
	rows, median, slowest := [][]string{}, 0.0, 0.0
	for _, s := range c.split {
		rows = append(rows, []string{s.Name, quantity(s.MedianUs, "us"), quantity(s.SlowestUs, "us")})
		median, slowest = median+s.MedianUs, slowest+s.SlowestUs
	}
	rows = append(rows, []string{"response", quantity(median, "us"), quantity(slowest, "us")})
	p.Text("Where the time of single requests went, as the broker told the client with each answer: means, which add up. *network* is what is left, " +
		"the wire, both kernels and the wait for a reader.")
	p.Table([]string{"part of the response", "around the median", "slowest 1%"}, rows)
}

func launchCount(c *scenario) string {
	good := 0
	for _, l := range c.all {
		if l.Verdict == record.OK {
			good++
		}
	}
	if good == len(c.all) {
		return fmt.Sprintf("%d launches, all valid", good)
	}
	return fmt.Sprintf("%d launches, %d valid", len(c.all), good)
}

// enough marks an estimate from too few launches, whose interval is only their range.
func enough(e stats.Estimate) string {
	if e.Short {
		return fmt.Sprintf("%d (range, %.0f%%)", e.N, 100*e.Confidence)
	}
	return fmt.Sprint(e.N)
}

// writeFigures shows every figure of the launches, medians and ranges: one row per name, one column per side.
func writeFigures(p *page.Page, c *scenario) {
	type key struct{ name, unit string }
	var keys []key
	values := map[key]map[record.Side][]float64{}
	for _, l := range c.good {
		for _, f := range l.Figures {
			k := key{f.Name, f.Unit}
			if values[k] == nil {
				values[k] = map[record.Side][]float64{}
				keys = append(keys, k)
			}
			values[k][f.Side] = append(values[k][f.Side], f.Value)
		}
	}
	if len(keys) == 0 {
		return
	}
	used := []record.Side{}
	head := []string{"figure"}
	for _, side := range []record.Side{record.System, record.Floor, record.Host} {
		if slices.ContainsFunc(keys, func(k key) bool { return len(values[k][side]) > 0 }) {
			used, head = append(used, side), append(head, string(side))
		}
	}
	rows := [][]string{}
	for _, k := range keys {
		row := []string{k.name}
		for _, side := range used {
			row = append(row, medianRange(values[k][side], k.unit))
		}
		rows = append(rows, row)
	}
	p.Table(head, rows)
}

// medianRange writes what several launches found: 151 µs (149 µs to 160 µs).
func medianRange(values []float64, unit string) string {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(values) == 0 {
		return "–"
	}
	low, high, mid := slices.Min(values), slices.Max(values), quantity(stats.Median(values), unit)
	if quantity(low, unit) == quantity(high, unit) {
		return mid
	}
	return fmt.Sprintf("%s (%s)", mid, between(low, high, unit))
}

func configuration(c map[string]string) string {
	parts := []string{}
	for _, k := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, k+"="+c[k])
	}
	return strings.Join(parts, ", ")
}

func writeMachine(p *page.Page, v *view) {
	p.Heading(2, "Machine")
	p.Text("Fingerprint `%s`: figures are compared only where every field marked * is equal.", v.r.Host.Digest)
	rows := [][]string{}
	for _, f := range v.r.Host.Fields {
		mark := ""
		if f.Match {
			mark = "*"
		}
		rows = append(rows, []string{f.Name, f.Value, mark})
	}
	p.Table([]string{"field", "value", "must match"}, rows)
}
