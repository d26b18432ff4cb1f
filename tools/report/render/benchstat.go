package render

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/remote"
)

// The parts of a line are bounded so that a name and one value always fit into MaxLine: a head of 78 bytes, a value of 13
// with its space, a unit of 29 with its space.
const unitWidth = 28

// minimum is how many launches benchstat needs for an interval.
const minimum = 6

// value is one measurement of one launch, as benchstat reads it.
type value struct {
	unit   string
	better string // "lower" or "higher"
	v      float64
}

// writeBenchstat writes a line per launch and scenario, folded at MaxLine: benchstat gathers the values of lines of the
// same name. Configuration lines hold only what must match, because a differing one splits the comparison in two.
func writeBenchstat(p *page.Page, v *view) {
	p.Heading(2, "benchstat")
	p.Text("Two commits are compared so; one benchmark is one launch, and ratio-* is the limit_ratio:")
	p.Gap()
	p.Put("```sh")
	p.Put("go tool benchstat <(git show A:RESULTS.md) RESULTS.md")
	p.Put("```")
	for i := range v.scenarios {
		if n := len(v.scenarios[i].good); n > 0 && n < minimum {
			p.Text("%s has %d valid launches; benchstat wants %d for an interval.", v.scenarios[i].Name, n, minimum)
		}
	}
	p.Gap()
	p.Put("```text")
	p.Data("goos: linux")
	p.Data("goarch: " + word(remote.Fact(v.r, "architecture"), 40))
	p.Data("fingerprint: " + word(v.r.Host.Digest, 40))
	p.Data("profile: " + word(v.r.ProfileDigest, 40))
	units := []string{}
	for i := range v.scenarios {
		for _, l := range v.scenarios[i].good {
			for _, x := range values(&l) {
				if !slices.Contains(units, x.unit) {
					units = append(units, x.unit)
					p.Data(fmt.Sprintf("Unit %s assume=nothing better=%s", x.unit, x.better))
				}
			}
		}
	}
	for i := range v.scenarios {
		c := &v.scenarios[i]
		for _, l := range c.good {
			writeLaunch(p, v.r, c, &l)
		}
	}
	p.Put("```")
}

func writeLaunch(p *page.Page, r *record.Results, c *scenario, l *record.Launch) {
	// A name that ends in a number is taken to end in GOMAXPROCS, so that number always stands there.
	head := fmt.Sprintf("Benchmark%s/topo=%s/load=%s-%s %d", word(c.Operation, 8), word(c.Topology, 14), word(c.Name, 20),
		procs(r, c), min(max(l.Requests, 1), 9_999_999_999))
	line := head
	for _, x := range values(l) {
		field := " " + strconv.FormatFloat(x.v, 'g', 6, 64) + " " + x.unit
		if len(line)+len(field) > page.MaxLine && line != head {
			p.Data(line)
			line = head
		}
		line += field
	}
	if line != head {
		p.Data(line)
	}
}

// procs is the GOMAXPROCS that the broker ran with.
func procs(r *record.Results, c *scenario) string {
	for _, s := range []string{c.Configuration["broker_max_procs"], remote.Fact(r, "cpus")} {
		if n, err := strconv.Atoi(s); err == nil && n > 0 {
			return s
		}
	}
	return "1"
}

// values are the system's figure, the floor's and their ratio of each pair, then the figures per request.
func values(l *record.Launch) []value {
	var out []value
	for _, p := range l.Pairs {
		unit, scale, better := word(p.Name, 18)+"-ns", 1e3, "lower"
		switch p.Unit {
		case "us":
		case "ns":
			scale = 1
		case "ms":
			scale = 1e6
		case "s":
			scale = 1e9
		case "1/s":
			unit, scale, better = word(p.Name, 18)+"-requests/s", 1, "higher"
		default:
			unit, scale = word(word(p.Name, 18)+"-"+word(p.Unit, 18), unitWidth-len("floor-")), 1
			if strings.HasSuffix(p.Unit, "/s") {
				better = "higher"
			}
		}
		out = append(out, value{unit, better, p.System * scale}, value{"floor-" + unit, better, p.Floor * scale},
			value{"ratio-" + word(p.Name, 18), "lower", p.Ratio})
	}
	for _, f := range l.Figures {
		if f.Side == record.System && perRequest(f) {
			out = append(out, value{strings.ReplaceAll(word(f.Name, unitWidth), "_", "-"), "lower", f.Value})
		}
	}
	return out
}

// word makes text one field of at most n bytes that benchstat keeps whole: no spaces, no slash (which begins the next
// part of a name). What is longer ends in a hash of the whole, so that two names stay two.
func word(s string, n int) string {
	if len(s) > n {
		h := fnv.New32a()
		h.Write([]byte(s))
		s = fmt.Sprintf("%s%04x", s[:n-4], h.Sum32()&0xffff)
	}
	return orElse(strings.Map(func(r rune) rune {
		if r <= ' ' || r == '/' || r > '~' {
			return '_'
		}
		return r
	}, s), "unknown")
}
