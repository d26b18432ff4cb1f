package render

import (
	"fmt"
	"slices"
	"strconv"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// Bar is one line drawn before anything was measured. Whether it was met is decided by the worse end of the interval
// over launches, never by the estimate.
type Bar struct {
	Name      string // what is judged, for people
	Operation string // as record.Scenario has it
	Workload  string // the profile's name
	Topology  string // the bar holds for this topology only
	Pair      string // the pair it judges, "" when it judges a figure
	Unit      string // of Limit
	Limit     float64
	AtLeast   bool // Limit is a minimum; else it is a maximum

	value  measure                          // what one launch says; nil: incidents say it
	excess bool                             // Pair's difference is judged, and not its ratio
	log    bool                             // values are ratios: estimate in log
	gaps   func(l *record.Launch) []float64 // what each of a launch's incidents says
	later  bool                             // runs without its scenario, older ones among them, do not show it
	worst  bool                             // of the incidents the worst one is judged, else their median
	every  bool                             // value is judged in all launches, those included that publish nothing: the largest, as it is
	said   func(l *record.Launch) bool      // runs of which no launch says it, older ones among them, do not show it; nil: all do
}

// enoughIncidents is how many there must be for a verdict.
const enoughIncidents = 20

// measure finds in a launch of a scenario the value that a bar judges; false when the launch does not have it.
type measure func(c *scenario, l *record.Launch) (float64, bool)

// Bars is the one table of them: first a single node, then several.
var Bars = append([]Bar{
	{Name: "latency p50 / floor", Operation: "Produce", Workload: "latency", Topology: "single", Pair: "p50",
		Unit: "1", Limit: 1.20, value: pairRatio("p50"), log: true},
	{Name: "latency p99 / floor", Operation: "Produce", Workload: "latency", Topology: "single", Pair: "p99",
		Unit: "1", Limit: 1.40, value: pairRatio("p99"), log: true},
	{Name: "256 in flight: rate / batching floor's", Operation: "Produce", Workload: "inflight", Topology: "single", Pair: "rate",
		Unit: "1", Limit: 0.35, AtLeast: true, value: inverse(pairRatio("rate")), log: true},
	{Name: "256 in flight: requests", Operation: "Produce", Workload: "inflight", Topology: "single",
		Unit: "1/s", Limit: 150_000, AtLeast: true, value: pairSystem("rate")},
	{Name: "throughput / disk's durable rate", Operation: "Produce", Workload: "throughput", Topology: "single",
		Unit: "1", Limit: 0.30, AtLeast: true, value: shareOfDisk, log: true},
	{Name: "kill -9 to first ack / one read of WAL", Operation: "Recovery", Workload: "recovery", Topology: "single",
		Pair: "first-ack", Unit: "1", Limit: 1.5, value: pairRatio("first-ack"), log: true},
	{Name: "kill -9 to first ack / one read, at every size", Operation: "Recovery", Workload: "recovery-curve", Topology: "single",
		Unit: "1", Limit: 1.25, value: worstPoint((*record.Point).Ratio), log: true, later: true},
	{Name: "recovery: memory beyond rest, at every size", Operation: "Recovery", Workload: "recovery-curve", Topology: "single",
		Unit: "bytes", Limit: 256 << 20, value: worstPoint((*record.Point).Beyond), later: true},
	{Name: "replay of 10,000 entries of 1 KiB, warm", Operation: "Recovery", Workload: "recovery", Topology: "single",
		Unit: "ms", Limit: 15, value: figure(record.System, "replay_ms_per_10000")},
	{Name: "tail read p50 beyond 1.5 x TCP echo", Operation: "Fetch", Workload: "fetch", Topology: "single",
		Unit: "us", Limit: 100, value: beyond("p50", 1.5)},
	{Name: "resident memory at rest", Operation: "Produce", Workload: "latency", Topology: "single",
		Unit: "bytes", Limit: 150 << 20, value: figure(record.System, "resident_bytes_at_rest")},
	{Name: "resident memory, 256 in flight", Operation: "Produce", Workload: "inflight", Topology: "single",
		Unit: "bytes", Limit: 400 << 20, value: figure(record.System, "resident_bytes")},

	{Name: "3 nodes: latency p50 / quorum floor", Operation: "Produce", Workload: "latency", Topology: "same-dc-3", Pair: "p50",
		Unit: "1", Limit: 1.35, value: pairRatio("p50"), log: true},
	{Name: "3 nodes: latency p99 / quorum floor", Operation: "Produce", Workload: "latency", Topology: "same-dc-3", Pair: "p99",
		Unit: "1", Limit: 1.6, value: pairRatio("p99"), log: true},
	{Name: "3 nodes, 256 in flight: rate / quorum floor's", Operation: "Produce", Workload: "inflight", Topology: "same-dc-3", Pair: "rate",
		Unit: "1", Limit: 0.40, AtLeast: true, value: inverse(pairRatio("rate")), log: true},
	{Name: "3 nodes, 256 in flight: requests", Operation: "Produce", Workload: "inflight", Topology: "same-dc-3",
		Unit: "1/s", Limit: 50_000, AtLeast: true, value: pairSystem("rate")},
	{Name: "1,000 partitions: p50 / one partition's", Operation: "Produce", Workload: "spread", Topology: "same-dc-3", Pair: "p50",
		Unit: "1", Limit: 1.3, value: pairRatio("p50"), log: true},
	{Name: "10,000 idle partitions: share of a core", Operation: "Idle", Workload: "idle", Topology: "same-dc-3",
		Unit: "1", Limit: 0.05, value: figure(record.System, "core_share")},
	{Name: "10,000 idle partitions: resident memory", Operation: "Idle", Workload: "idle", Topology: "same-dc-3",
		Unit: "bytes", Limit: 600 << 20, value: figure(record.System, "resident_bytes")},
	// Ten a second is the interval that brokers have by default. One stream for each group would be a thousand times as many.
	{Name: "10,000 idle partitions: heartbeats from a peer", Operation: "Idle", Workload: "idle", Topology: "same-dc-3",
		Unit: "1/s", Limit: 11, value: figure(record.System, "heartbeats_per_peer_per_second")},
	{Name: "kill -9 of a leader: gap in writes, median", Operation: "Failover", Workload: "failover", Topology: "same-dc-3",
		Unit: "ms", Limit: 80, gaps: gapsOf(record.Kill)},
	{Name: "kill -9 of a leader: gap in writes, worst", Operation: "Failover", Workload: "failover", Topology: "same-dc-3",
		Unit: "ms", Limit: 400, gaps: gapsOf(record.Kill), worst: true},
	{Name: "graceful stop of a leader: gap in writes, worst", Operation: "Failover", Workload: "failover", Topology: "same-dc-3",
		Unit: "ms", Limit: 50, gaps: gapsOf(record.Stop), worst: true},
	{Name: "a follower 1 GiB behind: rate / disk's durable rate", Operation: "CatchUp", Workload: "catch-up", Topology: "same-dc-3",
		Pair: "catch-up", Unit: "1", Limit: 0.20, AtLeast: true, value: inverse(pairRatio("catch-up")), log: true},
	{Name: "a follower 1 GiB behind: users' p99 / usual", Operation: "CatchUp", Workload: "catch-up", Topology: "same-dc-3",
		Unit: "1", Limit: 3, value: figure(record.System, record.UsersP99), log: true},
	{Name: "one partition, 70 ms apart: rate / one TCP stream's", Operation: "LineRate", Workload: "line-rate", Topology: "far-3",
		Pair: "rate", Unit: "1", Limit: 0.70, AtLeast: true, value: inverse(pairRatio("rate")), log: true, later: true},
}, append(acrossRegions(), lostRegions()...)...)

// lostRegions are the bars of clusters that lose a region. What time-outs and gaps may be follows from the round trips of the run.
func lostRegions() (out []Bar) {
	for _, t := range []struct{ topology, name string }{{"multi-dc-3", "3 regions"}, {"multi-dc-5", "5 regions, world"}} {
		bar := Bar{Operation: "RegionLoss", Workload: "region-loss", Topology: t.topology, Unit: "1", Limit: 1, worst: true, later: true}
		for _, b := range []struct {
			name string
			of   func(l *record.Launch) []float64
		}{
			{"election time-out / max(1 s, 5 round trips)", record.ElectionShares},
			{"leader's lost: gap / time-out + 3 round trips", gapShares(record.LeaderRegion)},
			{"another lost: gap / time-out + 3 round trips", gapShares(record.OtherRegion)},
			{"leader's cut one way: gap / the same", gapShares(record.RegionMute, record.RegionDeaf)},
		} {
			bar.Name, bar.gaps = t.name+", "+b.name, b.of
			out = append(out, bar)
		}
		out = append(out, Bar{Name: t.name + ", one lost: acknowledged records that are gone", Operation: "RegionLoss", Workload: "region-loss", Topology: t.topology,
			Unit: "records", value: func(_ *scenario, l *record.Launch) (float64, bool) { return record.Lost(l) }, every: true, later: true})
	}
	return out
}

func gapShares(sorts ...record.IncidentSort) func(l *record.Launch) []float64 {
	return func(l *record.Launch) []float64 { return record.GapShares(l, sorts...) }
}

// acrossRegions are the bars of clusters across regions: for the best and the worst place that a leader may have, and for the one that the brokers choose.
func acrossRegions() (out []Bar) {
	for _, t := range []struct{ topology, name string }{{"multi-dc-3", "3 regions"}, {"world-dc-3", "3 regions, world"}, {"multi-dc-5", "5 regions, world"}} {
		for _, at := range record.Placements[:2] {
			for _, l := range []struct {
				pair string
				us   float64
			}{{"p50", 300}, {"p99", 1500}} {
				pair := record.PlacedPair(at, l.pair)
				out = append(out, Bar{Name: fmt.Sprintf("%s, %s leader: %s beyond quorum floor's", t.name, at, l.pair), Operation: "Produce", Workload: "geo",
					Topology: t.topology, Pair: pair, Unit: "us", Limit: l.us, value: beyond(pair, 1), excess: true, later: true})
			}
		}
		out = append(out, Bar{Name: t.name + ", the brokers' own leader: p50 beyond the best's", Operation: "Produce", Workload: "geo", Topology: t.topology,
			Unit: "us", Limit: record.ChosenBarUs, value: chosen, later: true, said: func(l *record.Launch) bool { return l.Chosen != nil }})
	}
	return out
}

func pairRatio(name string) measure {
	return func(_ *scenario, l *record.Launch) (float64, bool) {
		p, ok := l.Pair(name)
		return p.Ratio, ok
	}
}

func pairSystem(name string) measure {
	return func(_ *scenario, l *record.Launch) (float64, bool) {
		p, ok := l.Pair(name)
		return p.System, ok
	}
}

// inverse turns a rate's ratio, which the record keeps as floor / system so that more is always worse, into the share
// of the floor's rate that the system reaches.
func inverse(of measure) measure {
	return func(c *scenario, l *record.Launch) (float64, bool) {
		v, ok := of(c, l)
		return 1 / v, ok && v > 0
	}
}

// beyond is what the system takes beyond factor times the floor.
func beyond(name string, factor float64) measure {
	return func(_ *scenario, l *record.Launch) (float64, bool) {
		p, ok := l.Pair(name)
		return p.System - factor*p.Floor, ok
	}
}

func figure(side record.Side, name string) measure {
	return func(_ *scenario, l *record.Launch) (float64, bool) { return l.Get(side, name) }
}

// chosen is what the place that the brokers chose costs beyond the best one.
func chosen(_ *scenario, l *record.Launch) (float64, bool) {
	if l.Chosen == nil {
		return 0, false
	}
	return l.Chosen.BeyondUs, true
}

// worstPoint is the largest that any point of a launch's curve says: a bar holds at every size.
func worstPoint(says func(*record.Point) float64) measure {
	return func(_ *scenario, l *record.Launch) (float64, bool) { return record.WorstPoint(l, says) }
}

// gapsOf are the gaps that incidents of one sort left.
func gapsOf(s record.IncidentSort) func(l *record.Launch) []float64 {
	return func(l *record.Launch) []float64 {
		tuned, _ := record.Gaps(l.Incidents, s)
		return tuned
	}
}

// shareOfDisk is the rate of acknowledged record bytes, the time included in which the system wrote what it owed, over what
// the disk alone can make durable: a floor that answers single requests need not reach that.
func shareOfDisk(c *scenario, l *record.Launch) (float64, bool) {
	p, ok := l.Pair("rate")
	disk, measured := l.Get(record.Host, record.DurableRate)
	perRequest := 1.0
	for _, key := range []string{"record_bytes", "records_per_request"} {
		n, err := strconv.ParseFloat(c.Configuration[key], 64)
		if err != nil {
			return 0, false
		}
		perRequest *= n
	}
	return p.System * perRequest / disk, ok && measured && disk > 0
}

// judged is a bar and what the run says about it.
type judged struct {
	Bar
	e       stats.Estimate
	verdict string // met, missed, undecided, invalid, or "not measured"
}

const (
	notMeasured = "not measured"
	invalid     = "INVALID"
)

func (b *Bar) fits(c *scenario) bool {
	return c.Operation == b.Operation && c.Workload == b.Workload && c.Topology == b.Topology
}

// shown tells whether a page has the bar.
func (b *Bar) shown(v *view) bool {
	return !b.later || slices.ContainsFunc(v.scenarios, func(c scenario) bool {
		return b.fits(&c) && (b.said == nil || slices.ContainsFunc(c.all, func(l record.Launch) bool { return b.said(&l) }))
	})
}

// judge looks for the first scenario that the bar is about.
func (b *Bar) judge(v *view) judged {
	j := judged{Bar: *b, verdict: notMeasured}
	for i := range v.scenarios {
		c := &v.scenarios[i]
		if !b.fits(c) {
			continue
		}
		launches := c.good
		if b.every {
			launches = c.all
		} else if c.spoilt != "" {
			j.verdict = invalid
			return j
		}
		var values []float64
		for k := range launches {
			if b.gaps != nil {
				values = append(values, b.gaps(&launches[k])...)
			} else if x, ok := b.value(c, &launches[k]); ok {
				values = append(values, x)
			}
		}
		e, err := b.estimate(values)
		if err != nil {
			return j
		}
		j.e, j.verdict = e, string(b.against(e))
		return j
	}
	return j
}

// estimate is what the values say together. The replicate is the launch, for a failover the incident. The worst of many has no
// interval: it is what it is.
func (b *Bar) estimate(values []float64) (stats.Estimate, error) {
	switch {
	case b.log:
		return stats.RatioShift(values, record.Confidence)
	case !b.worst && !b.every || len(values) == 0:
		e, err := stats.Shift(values, record.Confidence)
		e.Short = e.Short || b.gaps != nil && len(values) < enoughIncidents
		return e, err
	}
	most := slices.Max(values)
	return stats.Estimate{Shift: most, Low: most, High: most, N: len(values), Confidence: record.Confidence, Short: b.worst && len(values) < enoughIncidents}, nil
}

// against is stats.AgainstBar, mirrored for a minimum.
func (b *Bar) against(e stats.Estimate) stats.Verdict {
	if b.AtLeast {
		e.Low, e.High = -e.High, -e.Low
		return stats.AgainstBar(e, -b.Limit)
	}
	return stats.AgainstBar(e, b.Limit)
}

// limit is the bar as people read it.
func (b *Bar) limit() string {
	sign := "≤ "
	if b.AtLeast {
		sign = "≥ "
	}
	if b.Unit == "1" {
		return sign + factor(b.Limit)
	}
	return sign + exact(b.Limit, b.Unit)
}

// measured is the estimate as people read it.
func (j *judged) measured() string {
	switch {
	case j.verdict == notMeasured, j.verdict == invalid:
		return "–"
	case j.Unit == "1":
		return ratio(j.e)
	}
	return spread(j.e, j.Unit)
}

// tally counts verdicts: "7 met, 1 missed, 2 undecided".
func tally(bars []judged) string {
	text := ""
	for _, verdict := range []string{string(stats.Met), string(stats.Missed), string(stats.Undecided), invalid, notMeasured} {
		n := 0
		for _, j := range bars {
			if j.verdict == verdict {
				n++
			}
		}
		if n > 0 {
			text += fmt.Sprintf(", %d %s", n, verdict)
		}
	}
	return orElse(text, ", none")[2:]
}

func writeBars(p *page.Page, v *view) {
	p.Heading(2, "Bars")
	p.Text("Each was set before it was measured. *Met*: the worse end of the %.0f%% interval over launches is within it; "+
		"*missed*: the whole interval is outside; else *undecided*, and more launches would narrow it. %s.",
		100*record.Confidence, tally(v.bars))
	rows := [][]string{}
	for i := range v.bars {
		j := &v.bars[i]
		n := "–"
		if j.e.N > 0 {
			n = fmt.Sprint(j.e.N)
		}
		rows = append(rows, []string{j.Name, j.limit(), j.measured(), n, j.verdict})
	}
	p.Table([]string{"bar", "limit", "measured", "launches", "verdict"}, rows)
}
