package render

import (
	"fmt"
	"slices"

	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// view is a run with everything computed that more than one section shows.
type view struct {
	r         *record.Results
	previous  *Previous
	verdict   record.Verdict
	reasons   []string
	stolen    float64 // share of the CPU time that the host took; 0 when it is not worth telling
	hostOnly  bool    // the run is INVALID, and only because of that
	scenarios []scenario
	bars      []judged
}

// scenario is one scenario with the launches that may be published.
type scenario struct {
	record.Scenario
	all    []record.Launch
	good   []record.Launch // verdict ok; none of them when spoiled
	remote bool            // the brokers were elsewhere
	spoilt string          // why nothing of it is published, "" when something is
	pairs  []record.Summary
	stages []stage
	split  []record.Split // means over launches
}

// stage is one stage of the write path: the medians over launches of its percentiles.
type stage struct {
	name     string
	p50, p99 float64 // µs
}

func newView(d *Document) *view {
	v := &view{r: d.Results, previous: d.Previous}
	v.verdict, v.reasons = record.Judge(v.r)
	v.hostOnly = record.HostOnly(v.r)
	if f, ok := record.Stolen(v.r); ok && f > record.StolenWorthTelling {
		v.stolen = f
	}
	sums := record.Summarise(v.r)
	for _, s := range v.r.Scenarios {
		c := scenario{Scenario: s, all: v.r.Of(s.Name), remote: v.r.Remote != nil}
		for _, l := range c.all {
			if l.Verdict == record.OK {
				c.good = append(c.good, l)
			}
			if l.Check != nil && !l.Check.OK {
				c.spoilt = fmt.Sprintf("the data check of launch %d failed (%s): what was acknowledged must be read back before a "+
					"latency means anything", l.Number, orElse(l.Check.Detail, "no detail"))
			}
		}
		for _, sum := range sums {
			if sum.Scenario != s.Name {
				continue
			}
			if sum.Broken() && c.Limit() {
				c.spoilt = fmt.Sprintf("its %s is %s times the limit, which cannot be: the floor is broken or the system is not "+
					"durable", sum.Pair, ratio(sum.Ratio))
			}
			c.pairs = append(c.pairs, sum)
		}
		if e, ok := record.Spread(v.r, s.Name, record.Host, record.FloorCheck); ok && e.Shift > record.FloorCheckBar {
			c.spoilt = fmt.Sprintf("the floor's p50 is %s times (%s), at most %s is allowed: a slow floor flatters every ratio",
				factor(e.Shift), record.FloorParts(v.r, s.Name), factor(record.FloorCheckBar))
		}
		if len(c.good) == 0 && c.spoilt == "" {
			c.spoilt = "no launch of it is valid"
		}
		if c.spoilt != "" {
			c.good, c.pairs = nil, nil
		}
		c.stages, c.split = stages(c.good), split(c.good)
		v.scenarios = append(v.scenarios, c)
	}
	for _, b := range Bars {
		if b.shown(v) {
			v.bars = append(v.bars, b.judge(v))
		}
	}
	return v
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// stages takes the medians over launches, in the order of the first launch that has stage times.
func stages(launches []record.Launch) []stage {
	var names []string
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	for _, l := range launches {
		for _, s := range l.Stages {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
			p50[s.Name], p99[s.Name] = append(p50[s.Name], s.P50Us), append(p99[s.Name], s.P99Us)
		}
	}
	var out []stage
	for _, n := range names {
		out = append(out, stage{n, stats.Median(p50[n]), stats.Median(p99[n])})
	}
	return out
}

// split takes the means over launches, which add up as those of a launch do, in the order of the first launch that was asked.
func split(launches []record.Launch) (out []record.Split) {
	n := 0
	for _, l := range launches {
		if len(l.Split) == 0 || out != nil && len(l.Split) != len(out) {
			continue
		}
		if n++; out == nil {
			out = slices.Clone(l.Split)
			continue
		}
		for i, s := range l.Split {
			out[i].MedianUs, out[i].SlowestUs = out[i].MedianUs+s.MedianUs, out[i].SlowestUs+s.SlowestUs
		}
	}
	for i := range out {
		out[i].MedianUs, out[i].SlowestUs = out[i].MedianUs/float64(n), out[i].SlowestUs/float64(n)
	}
	return out
}

// theft says what the host took, "" when that is not worth telling.
func (v *view) theft() string {
	if v.stolen == 0 {
		return ""
	}
	return fmt.Sprintf("the host took %.1f%% of this machine's CPU: expect wide intervals", 100*v.stolen)
}

// pair returns the scenario's summary of that name.
func (c *scenario) pair(name string) (record.Summary, bool) {
	for _, s := range c.pairs {
		if s.Pair == name {
			return s, true
		}
	}
	return record.Summary{}, false
}

// slowest is the stage with the longest median, and the sum of all medians.
func (c *scenario) slowest() (worst stage, total float64, ok bool) {
	for _, s := range c.stages {
		total += s.p50
		if s.p50 > worst.p50 {
			worst, ok = s, true
		}
	}
	return worst, total, ok
}

// headlinePairs are the pairs that are judged: gated or with a bar. Without any, the first one stands for the scenario.
func (v *view) headlinePairs(c *scenario) []record.Summary {
	var out []record.Summary
	for _, s := range c.pairs {
		if _, ok := v.bar(c, s.Pair); ok || s.Gated {
			out = append(out, s)
		}
	}
	if len(out) == 0 && len(c.pairs) > 0 {
		out = c.pairs[:1]
	}
	return out
}

// bar finds the bar that judges a pair of a scenario.
func (v *view) bar(c *scenario, pair string) (judged, bool) {
	for _, j := range v.bars {
		if j.Pair == pair && j.fits(c) {
			return j, true
		}
	}
	return judged{}, false
}

// advice says what to try when a stage is the slowest one, in the order in which it costs the least to try.
var advice = map[string]string{
	"read":    "the client's bytes arrive late: pin the broker's and the client's CPUs apart, check the link with the TCP echo",
	"decode":  "decoding costs CPU: profile the broker with its pprof endpoint, look at the CPU governor",
	"propose": "requests wait for their group's lock: spread the load over more partitions, profile lock contention",
	"queue":   "requests wait for the sync before theirs: a faster disk, or fewer and larger requests",
	"sync":    "the disk decides: bin/walbench shows which sync method is fastest on it; try another disk with DIR=",
	"quorum":  "the second copy decides: compare the round trip with the TCP echo, check the followers' disks",
	"reply":   "answers wait for the socket or a CPU: look at GOMAXPROCS, CPU pinning and the client's reader",
}

// next is what to try for a scenario. Where the system is at its limit already only the limit can move.
func (c *scenario) next() string {
	worst, _, ok := c.slowest()
	if !ok {
		return "no stage times in this run: start the broker with its stage clock on"
	}
	text, known := advice[worst.name]
	if !known {
		return "profile the stage " + worst.name
	}
	return text
}
