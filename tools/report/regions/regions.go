// Package regions is what a page says of a cluster across regions: who waited for how long, by where the leader was, beside what the distances
// allow, and whether the distances were those that the profile names.
package regions

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/report/number"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// row is producers of one region with the leader in one place, over launches.
type row struct {
	record.Region
	theories []float64
}

// Write writes the tables of a scenario's valid launches, nothing for a scenario without regions.
func Write(p *page.Page, launches []record.Launch) {
	if rows := gather(launches); len(rows) > 0 {
		writeRegions(p, rows)
		writeChoice(p, launches)
	}
	writeReaders(p, launches)
	writeNetwork(p, launches)
}

func writeRegions(p *page.Page, rows []row) {
	p.Text("In the pairs above all regions count together, each request moved by what its region's theory is away from the mean of all: what they say is the "+
		"excess, a ratio over such distances hides milliseconds. Below, each region by itself, the requests of all launches together; *theory* is what the "+
		"round trips and a durable write on each host allow (`bin/netlab advise`). Histograms are precise to 0.1%% of a value. –: fewer than %s requests.", number.Group(fmt.Sprint(hist.Needed(99))))
	var cells [][]string
	for _, r := range rows {
		cell := []string{r.Placement + ": " + r.Leader, r.Client, ms(stats.Median(r.theories))}
		for _, percentile := range []float64{50, 99} {
			cell = append(cell, compare(r.System, r.Floor, percentile)...)
		}
		cells = append(cells, cell)
	}
	p.Table([]string{"leader", "producers in", "theory", "system p50", "floor p50", "excess", "system p99", "floor p99", "excess"}, cells)
}

// writeChoice says where the leader was when the brokers chose, and what that costs.
func writeChoice(p *page.Page, launches []record.Launch) {
	var leaders []string
	var beyond, theory []float64
	times, met := map[string]int{}, 0
	for _, l := range launches {
		c := l.Chosen
		if c == nil {
			continue
		}
		if times[c.Leader]++; times[c.Leader] == 1 {
			leaders = append(leaders, c.Leader)
		}
		beyond, theory = append(beyond, c.BeyondUs), append(theory, c.TheoryUs)
		if c.Verdict == stats.Met {
			met++
		}
	}
	if len(beyond) == 0 {
		return
	}
	slices.Sort(leaders)
	for i, leader := range leaders {
		leaders[i] = fmt.Sprintf("%s in %d", leader, times[leader])
	}
	p.Text("*automatic* is where the brokers themselves took the leader, by round trips and by where producers say that they are (`cluster.leader_placement = "+
		"\"latency\"`). Of %d launches it was on %s. Its p50s, mean over the regions, were %s beyond those of the best place (%s to %s), by the distances alone, with all "+
		"hosts tried, at most %s; within %g ms in %d of %d launches.", len(beyond), strings.Join(leaders, ", "), number.Quantity(stats.Median(beyond), "us"),
		number.Quantity(slices.Min(beyond), "us"), number.Quantity(slices.Max(beyond), "us"), number.Quantity(slices.Max(theory), "us"),
		record.ChosenBarUs/1e3, met, len(beyond))
}

// gather puts the launches' regions together: placements in the order of record.Placements, regions as the first launch has them.
func gather(launches []record.Launch) (out []row) {
	for _, l := range launches {
		for _, r := range l.Regions {
			i := slices.IndexFunc(out, func(o row) bool { return o.Placement == r.Placement && o.Leader == r.Leader && o.Client == r.Client })
			if i < 0 {
				i = len(out)
				own := row{Region: r}
				own.System, own.Floor = hist.NewLatency(), hist.NewLatency()
				out = append(out, own)
			}
			out[i].System.Merge(r.System)
			out[i].Floor.Merge(r.Floor)
			out[i].theories = append(out[i].theories, r.TheoryUs)
		}
	}
	slices.SortStableFunc(out, func(a, b row) int {
		if a.Placement != b.Placement {
			return slices.Index(record.Placements, a.Placement) - slices.Index(record.Placements, b.Placement)
		}
		return strings.Compare(a.Leader, b.Leader)
	})
	return out
}

// compare is a percentile of both sides and the difference.
func compare(system, floor *hist.Hist, percentile float64) []string {
	if !system.Supports(percentile) || !floor.Supports(percentile) {
		return []string{"–", "–", "–"}
	}
	var us [2]float64
	var text [2]string
	for i, h := range []*hist.Hist{system, floor} {
		v := h.Percentile(percentile, hist.HighestNS)
		us[i] = float64(v.NS) / 1e3
		if text[i] = ms(us[i]); v.AtLeast {
			text[i] = "≥ " + text[i]
		}
	}
	excess := number.Quantity(us[0]-us[1], "us")
	if strings.HasPrefix(text[0]+text[1], "≥") || strings.Contains(text[1], "≥") {
		excess = "–"
	}
	return []string{text[0], text[1], excess}
}

// link is one of the network's, over launches.
type link struct {
	name                                  string
	want, before, after, jitterB, jitterA []float64
}

// writeNetwork shows the emulated network as it was measured.
func writeNetwork(p *page.Page, launches []record.Launch) {
	var links []link
	modes, controls := map[string]int{}, map[string]bool{}
	load := "with the load on"
	for _, l := range launches {
		if l.Network == nil {
			continue
		}
		modes[l.Network.Mode]++
		if c := l.Network.CongestionControl; c != "" {
			controls[c] = true
		}
		if l.Network.Idle {
			load = "without a load"
		}
		for _, x := range l.Network.Links {
			name := x.From + " – " + x.To
			i := slices.IndexFunc(links, func(o link) bool { return o.name == name })
			if i < 0 {
				i = len(links)
				links = append(links, link{name: name})
			}
			o := &links[i]
			o.want, o.before, o.after = append(o.want, x.WantUs), append(o.before, x.Before.P50Us), append(o.after, x.After.P50Us)
			o.jitterB, o.jitterA = append(o.jitterB, x.Before.JitterUs), append(o.jitterA, x.After.JitterUs)
		}
	}
	if len(links) == 0 {
		return
	}
	tcp := "TCP itself"
	if len(controls) > 0 {
		tcp += " (" + strings.Join(slices.Sorted(maps.Keys(controls)), ", ") + ")"
	}
	var by []string
	for _, m := range []struct{ mode, text string }{{"netns", "network namespaces, so that " + tcp + " crosses the distances"},
		{"relay", "relays, so that TCP itself does not cross the distances"}} {
		if modes[m.mode] == len(launches) {
			by = append(by, m.text)
		} else if n := modes[m.mode]; n > 0 {
			by = append(by, fmt.Sprintf("%s in %d launches", m.text, n))
		}
	}
	p.Text("The network is emulated by %s. Its round trips %s, before and after what counts, medians over launches; *jitter* is from the 5th "+
		"to the 95th percentile. A launch in which one is off by more than 1%% and 0.2 ms is invalid.", strings.Join(by, "; "), load)
	var cells [][]string
	for _, x := range links {
		cell := []string{x.name}
		for _, v := range [][]float64{x.want, x.before, x.after, x.jitterB, x.jitterA} {
			cell = append(cell, ms(stats.Median(v)))
		}
		cells = append(cells, cell)
	}
	p.Table([]string{"round trip", "profile", "before", "after", "jitter before", "jitter after"}, cells)
}

// ms writes µs as a time that stands beside others of the same size, from which it differs little.
func ms(us float64) string { return fmt.Sprintf("%.2f ms", us/1e3) }
