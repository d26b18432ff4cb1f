package record

import (
	"fmt"
	"math"
	"slices"

	"ackline/tools/stats"
)

// Confidence is the coverage of every published interval.
const Confidence = 0.95

// BrokenFloor is the limit below which a ratio cannot be true: nothing is 5% faster than the least that any program
// could do. A ratio whose interval lies wholly below it means a broken floor or a system that is not durable.
const BrokenFloor = 0.95

// FloorCheck is the name of the figure (side Host) in which a launch's floor answers for itself: its p50 as a multiple of
// raw sync plus TCP echo, measured beside it; the echo's CPUs idle before it answers as long as the floor's do. With several
// nodes QuorumTrial stands for raw sync: how long a majority of followers' hops and syncs takes without the floor's leader.
// Above FloorCheckBar the floor is too slow to be a limit.
const (
	FloorCheck    = "floor_check_ratio"
	FloorCheckBar = 1.10
	QuorumTrial   = "quorum_trial_us_p50"
)

// FloorParts names what a scenario's floor is checked against.
func FloorParts(r *Results, scenario string) string {
	if _, ok := Spread(r, scenario, Host, QuorumTrial); ok {
		return "hop and sync of a majority + TCP echo"
	}
	return "raw sync + TCP echo"
}

// Summary is what the launches of one scenario say together about one pair.
type Summary struct {
	Scenario string
	Pair     string         // "p50", "p99", "p99.9", "rate"
	Unit     string         // of System, Floor and Excess
	Ratio    stats.Estimate // limit_ratio: Hodges–Lehmann over the launches' log-ratios
	Excess   stats.Estimate // system - floor in Unit
	System   float64        // median over launches, for people
	Floor    float64        // median over launches
	Gated    bool
}

// Broken tells whether the ratio cannot be true.
func (s Summary) Broken() bool { return s.Ratio.High < BrokenFloor }

// Summarise computes the estimates of every pair of every scenario, in the order of the suite and of the first launch's
// pairs. Only launches with verdict OK take part.
func Summarise(r *Results) []Summary {
	var out []Summary
	for _, s := range r.Scenarios {
		var names []string
		by := map[string][]Pair{}
		for _, l := range r.Of(s.Name) {
			if l.Verdict != OK {
				continue
			}
			for _, p := range l.Pairs {
				if !slices.Contains(names, p.Name) {
					names = append(names, p.Name)
				}
				by[p.Name] = append(by[p.Name], p)
			}
		}
		for _, name := range names {
			if sum, err := summarise(by[name]); err == nil {
				sum.Scenario = s.Name
				out = append(out, sum)
			}
		}
	}
	return out
}

// summarise estimates one pair over its launches.
func summarise(pairs []Pair) (Summary, error) {
	var ratios, excess, system, floor []float64
	for _, p := range pairs {
		ratios, excess = append(ratios, p.Ratio), append(excess, p.Excess)
		system, floor = append(system, p.System), append(floor, p.Floor)
	}
	sum := Summary{Pair: pairs[0].Name, Unit: pairs[0].Unit, Gated: pairs[0].Gated,
		System: stats.Median(system), Floor: stats.Median(floor)}
	var err error
	if sum.Ratio, err = stats.RatioShift(ratios, Confidence); err != nil {
		return sum, err
	}
	sum.Excess, err = stats.Shift(excess, Confidence)
	return sum, err
}

// Spread estimates a figure that stands alone (recovery seconds, requests per second): its centre over the OK launches
// of a scenario. ok is false when no launch has it.
func Spread(r *Results, scenario string, side Side, name string) (e stats.Estimate, ok bool) {
	var v []float64
	for _, l := range r.Of(scenario) {
		if x, has := l.Get(side, name); has && l.Verdict == OK && !math.IsNaN(x) {
			v = append(v, x)
		}
	}
	e, err := stats.Shift(v, Confidence)
	return e, err == nil
}

// Judge says whether the run as a whole may be published, with the reasons against it. A run with a scenario that has
// no OK launch, or with a ratio that cannot be true, is Invalid; one in which a launch failed is Failed.
func Judge(r *Results) (Verdict, []string) {
	verdict, reasons, _ := judge(r)
	return verdict, reasons
}

// HostOnly says that a run is Invalid and that nothing but a host which took CPU time away speaks against it: measured again
// on a quieter machine, or at a quieter hour, it may well be valid.
func HostOnly(r *Results) bool {
	verdict, _, others := judge(r)
	return verdict == Invalid && others == 0
}

// judge is Judge, with the number of reasons that a host which takes CPU time away does not explain.
func judge(r *Results) (verdict Verdict, reasons []string, others int) {
	verdict = OK
	worse := func(v Verdict, format string, args ...any) {
		if v == Failed || verdict == OK {
			verdict = v
		}
		others++
		reasons = append(reasons, fmt.Sprintf(format, args...))
	}
	for _, s := range r.Scenarios {
		good, total, host, why := 0, 0, 0, ""
		for _, l := range r.Of(s.Name) {
			total++
			if why == "" && l.Verdict != OK {
				why = fmt.Sprintf("; launch %d: %s", l.Number, first(l.Reasons))
			}
			if l.HostOnly {
				host++
			}
			switch l.Verdict {
			case OK:
				good++
			case Failed:
				worse(Failed, "%s, launch %d failed: %s", s.Name, l.Number, first(l.Reasons))
			}
		}
		switch {
		case good > 0:
		case host > 0 && host == total:
			worse(Invalid, "%s: none of %d launches is valid, and only because the host took CPU time away from this machine%s", s.Name, total, why)
			others--
		default:
			worse(Invalid, "%s: none of %d launches is valid%s", s.Name, total, why)
		}
	}
	unlimited := map[string]bool{}
	for i := range r.Scenarios {
		unlimited[r.Scenarios[i].Name] = !r.Scenarios[i].Limit()
	}
	for _, sum := range Summarise(r) {
		// The only valid one of several launches has no interval, and what spoilt the others is likelier to have met its floor than a floor to be broken.
		alone := sum.Ratio.N == 1 && len(r.Of(sum.Scenario)) > 1
		if sum.Broken() && !alone && !unlimited[sum.Scenario] {
			worse(Invalid, "%s %s: the ratio to the floor is %.2f [%.2f–%.2f], wholly below %.2f: the floor is broken or "+
				"the system is not durable", sum.Scenario, sum.Pair, sum.Ratio.Shift, sum.Ratio.Low, sum.Ratio.High, BrokenFloor)
		}
	}
	for _, s := range r.Scenarios {
		if e, ok := Spread(r, s.Name, Host, FloorCheck); ok && e.Shift > FloorCheckBar {
			worse(Invalid, "%s: the floor's p50 is %.2f × (%s), want at most %.2f: the floor does more than it must",
				s.Name, e.Shift, FloorParts(r, s.Name), FloorCheckBar)
		}
	}
	if r.Interrupted {
		worse(Invalid, "the run was interrupted")
	}
	return verdict, reasons, others
}

func first(s []string) string {
	if len(s) == 0 {
		return "no reason given"
	}
	return s[0]
}
