package render

import (
	"fmt"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// origin is a figure that the original design expected, and where this run measures the same thing.
type origin struct {
	what      string
	low, high float64 // µs, as its document states them
	find      func(v *view) (text string, us float64, ok bool)
}

// origins are the expectations of the Raft design of Chronik Stream, a Kafka-compatible broker in Rust from which this
// design descends. Its document states them without a recorded run.
var origins = []origin{
	{"write, single node", 5e3, 10e3, writeLatency("single")},
	{"write, 3 nodes in one data centre", 10e3, 30e3, writeLatency("same-dc-3")},
	{"write, 3 nodes in several data centres", 50e3, 200e3, writeLatency("multi-dc-3")},
	{"read from the leader", 1e3, 5e3, readLatency},
	{"WAL append with sync", 5e3, 20e3, walAppend},
	{"group commit, amortized per write", 1e3, 2e3, amortized},
	{"recovery per 10,000 entries", 100e3, 100e3, replay},
}

func writeOrigin(p *page.Page, v *view) {
	p.Heading(2, "Expected by the original design / measured")
	p.Text("The expectations are those of the Chronik Stream raft design, from which this one descends; its document gives them " +
		"without a recorded run. The last column divides the lower end of what was expected by what was measured.")
	rows := [][]string{}
	for _, o := range origins {
		expected := exact(o.low, "us")
		if o.high != o.low {
			expected += " to " + exact(o.high, "us")
		}
		measured, times := notMeasured, "–"
		if text, us, ok := o.find(v); ok {
			measured = text
			if us > 0 {
				times = digits3(o.low/us) + " x"
			}
		}
		rows = append(rows, []string{o.what, expected, measured, times})
	}
	p.Table([]string{"figure", "expected", "measured", "faster by"}, rows)
}

// first returns the first published scenario of an operation that fits.
func (v *view) first(operation, topology, workload string) (*scenario, bool) {
	for i := range v.scenarios {
		c := &v.scenarios[i]
		if c.spoilt == "" && c.Operation == operation && c.Topology == topology && (workload == "" || c.Workload == workload) {
			return c, true
		}
	}
	return nil, false
}

func writeLatency(topology string) func(*view) (string, float64, bool) {
	return func(v *view) (string, float64, bool) {
		c, ok := v.first("Produce", topology, "latency")
		if !ok {
			return "", 0, false
		}
		return latency(c)
	}
}

func readLatency(v *view) (string, float64, bool) {
	c, ok := v.first("Fetch", "single", "fetch")
	if !ok {
		return "", 0, false
	}
	return latency(c)
}

// latency is the system's p50, and p99 where there is one.
func latency(c *scenario) (string, float64, bool) {
	p50, ok := c.pair("p50")
	if !ok || p50.Unit != "us" {
		return "", 0, false
	}
	text := "p50 " + quantity(p50.System, "us")
	if p99, ok := c.pair("p99"); ok {
		text += ", p99 " + quantity(p99.System, "us")
	}
	return fmt.Sprintf("%s (%s)", text, c.Name), p50.System, true
}

// walAppend is the broker's own stage from the start of the write to the end of its sync.
func walAppend(v *view) (string, float64, bool) {
	c, ok := v.first("Produce", "single", "latency")
	if !ok {
		return "", 0, false
	}
	for _, s := range c.stages {
		if s.name == "sync" {
			return fmt.Sprintf("p50 %s, p99 %s (%s)", quantity(s.p50, "us"), quantity(s.p99, "us"), c.Name), s.p50, true
		}
	}
	return "", 0, false
}

// amortized is the time per acknowledged write with many in flight.
func amortized(v *view) (string, float64, bool) {
	c, ok := v.first("Produce", "single", "inflight")
	if !ok {
		return "", 0, false
	}
	rate, ok := c.pair("rate")
	if !ok || rate.Unit != "1/s" || rate.System <= 0 {
		return "", 0, false
	}
	us := 1e6 / rate.System
	return fmt.Sprintf("%s at %s (%s)", quantity(us, "us"), quantity(rate.System, rate.Unit), c.Name), us, true
}

func replay(v *view) (string, float64, bool) {
	c, ok := v.first("Recovery", "single", "recovery")
	if !ok {
		return "", 0, false
	}
	var ms []float64
	for i := range c.good {
		if x, ok := c.good[i].Get(record.System, "replay_ms_per_10000"); ok {
			ms = append(ms, x)
		}
	}
	if len(ms) == 0 {
		return "", 0, false
	}
	us := stats.Median(ms) * 1e3
	return fmt.Sprintf("%s, warm (%s)", quantity(us, "us"), c.Name), us, true
}
