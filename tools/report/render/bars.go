package render

import (
	"fmt"
	"strconv"

	"ackline/tools/bench/record"
	"ackline/tools/stats"
)

// Bar is one line drawn before anything was measured. Whether it was met is decided by the worse end of the interval
// over launches, never by the estimate.
type Bar struct {
	Name      string // what is judged, for people
	Operation string // "Produce", "Fetch" or "Recovery"
	Workload  string // the profile's name
	Topology  string // the bar holds for this topology only
	Pair      string // the pair it judges, "" when it judges a figure
	Unit      string // of Limit
	Limit     float64
	AtLeast   bool // Limit is a minimum; else it is a maximum

	value measure // what one launch says
	log   bool    // values are ratios: estimate in log
}

// measure finds in a launch of a scenario the value that a bar judges; false when the launch does not have it.
type measure func(c *scenario, l *record.Launch) (float64, bool)

// Bars is the one table of them, for the first milestone: a single node.
var Bars = []Bar{
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
	{Name: "replay of 10,000 entries of 1 KiB, warm", Operation: "Recovery", Workload: "recovery", Topology: "single",
		Unit: "ms", Limit: 15, value: figure(record.System, "replay_ms_per_10000")},
	{Name: "tail read p50 beyond 1.5 x TCP echo", Operation: "Fetch", Workload: "fetch", Topology: "single",
		Unit: "us", Limit: 100, value: beyond("p50", 1.5)},
	{Name: "resident memory at rest", Operation: "Produce", Workload: "latency", Topology: "single",
		Unit: "bytes", Limit: 150 << 20, value: figure(record.System, "resident_bytes_at_rest")},
	{Name: "resident memory, 256 in flight", Operation: "Produce", Workload: "inflight", Topology: "single",
		Unit: "bytes", Limit: 400 << 20, value: figure(record.System, "resident_bytes")},
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

// judge looks for the first scenario that the bar is about.
func (b *Bar) judge(v *view) judged {
	j := judged{Bar: *b, verdict: notMeasured}
	for i := range v.scenarios {
		c := &v.scenarios[i]
		if !b.fits(c) {
			continue
		}
		if c.spoilt != "" {
			j.verdict = invalid
			return j
		}
		var values []float64
		for k := range c.good {
			if x, ok := b.value(c, &c.good[k]); ok {
				values = append(values, x)
			}
		}
		estimate := stats.Shift
		if b.log {
			estimate = stats.RatioShift
		}
		e, err := estimate(values, record.Confidence)
		if err != nil {
			return j
		}
		j.e, j.verdict = e, string(b.against(e))
		return j
	}
	return j
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

func writeBars(p *page, v *view) {
	p.heading(2, "Bars")
	p.text("Each was set before it was measured. *Met*: the worse end of the %.0f%% interval over launches is within it; "+
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
	p.table([]string{"bar", "limit", "measured", "launches", "verdict"}, rows)
}
