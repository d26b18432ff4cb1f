// Package remote is what a page says of a run whose brokers were elsewhere: that nobody looked into them, and what is therefore not
// known. Whatever is left unsaid there would be taken for checked, as it is when everything runs on one machine.
package remote

import (
	"ackline/tools/bench/record"
	"ackline/tools/report/page"
)

// Head says where the system was, what the client is and what is unknown.
func Head(p *page.Page, r *record.Results) {
	p.Item("**remote: %s**, which bench did not start and cannot look into. Of them it is said: %s", record.Hosts(r.Remote.Hosts), r.Remote.Note)
	if r.Remote.Floor == "" {
		p.Item("**no floor** was there: no limit_ratio of what writes, and nothing says how much of a figure is the machines'")
	} else {
		p.Item("floor: %s", r.Remote.Floor)
	}
	p.Item("the client: %s, %s CPUs, %s, Linux %s", Fact(r, "cpu"), Fact(r, "cpus"), Fact(r, "virtualization"), Fact(r, "kernel"))
	p.Text("Unknown, because it cannot be seen from the client:")
	p.Gap()
	for _, u := range r.Remote.Unknown {
		p.Item("%s", u)
	}
	if len(r.Remote.LeftOut) == 0 {
		return
	}
	p.Text("Not run:")
	p.Gap()
	for _, l := range r.Remote.LeftOut {
		p.Item("%s: %s", l.Scenario, l.Reason)
	}
}

// Where says where the floor does its work.
func Where(r *record.Results) string {
	if r.Remote != nil {
		return "in turns with it, on the machines that somebody has prepared for both"
	}
	return "on the same disk in turns with it"
}

// Fact is a field of the machine that ran the generator, wherever the brokers were.
func Fact(r *record.Results, name string) string {
	if r.Remote != nil {
		name = record.ClientField + name
	}
	return r.Host.Get(name)
}

// Alone are the figures that stand for pairs where there was no floor.
var Alone = []struct{ Pair, Figure, Unit string }{
	{"p50", "latency_us_p50", "us"}, {"p99", "latency_us_p99", "us"},
	{"e2e-p50", "end_to_end_us_p50", "us"}, {"e2e-p99", "end_to_end_us_p99", "us"},
	{"rate", "requests_per_second", "1/s"},
}

// Values are what launches say of a figure of the system.
func Values(launches []record.Launch, figure string) (out []float64) {
	for i := range launches {
		if x, ok := launches[i].Get(record.System, figure); ok {
			out = append(out, x)
		}
	}
	return out
}
