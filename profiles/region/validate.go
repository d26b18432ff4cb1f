package region

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"ackline/profiles/strict"
)

// MostHosts is how many hosts a topology has at most: an emulated address has one byte that says which host, without 0 and 255.
const MostHosts = 254

// mostDelayMs bounds what is no slip of the pen: light in glass takes 100 ms to the other side of the earth.
const mostDelayMs = 10_000

var (
	word    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	control = regexp.MustCompile(`^[a-z0-9_]{1,15}$`) // TCP_CA_NAME_MAX is 16
)

// Validate reports every value that cannot be right, and what would be.
func (t *Topology) Validate() error {
	p := &problems{}
	p.quality("the topology", Distance{JitterMs: t.JitterMs, LossPercent: t.LossPercent, BandwidthMbit: t.BandwidthMbit})
	p.want(t.CongestionControl == "" || control.MatchString(t.CongestionControl), "congestion_control = %q: want a name of "+
		"/proc/sys/net/ipv4/tcp_available_congestion_control, like %q", t.CongestionControl, DefaultCongestionControl)
	p.want(len(t.Regions) > 0, "no [[regions]]: want at least one, with its name")
	var regions []string
	for _, r := range t.Regions {
		p.want(word.MatchString(r.Name), "region name %q: want a lower-case word of letters, digits and dashes", r.Name)
		p.want(!slices.Contains(regions, r.Name), "region %q is listed twice", r.Name)
		regions = append(regions, r.Name)
		p.zones(r)
	}
	var links []end
	for _, l := range t.Between {
		links = append(links, end{l.Regions, l.Distance})
	}
	p.matrix("", "region", "regions", regions, links)
	p.hosts(t, regions)
	return errors.Join(p.errs...)
}

// problems gathers what is wrong.
type problems struct{ errs []error }

func (p *problems) want(ok bool, format string, args ...any) bool {
	if !ok {
		p.errs = append(p.errs, fmt.Errorf(format, args...))
	}
	return ok
}

func (p *problems) zones(r Region) {
	for i, z := range r.Zones {
		p.want(word.MatchString(z), "region %q: zone name %q: want a lower-case word of letters, digits and dashes", r.Name, z)
		p.want(!slices.Contains(r.Zones[:i], z), "region %q: zone %q is listed twice", r.Name, z)
	}
	p.quality(fmt.Sprintf("region %q, within a zone", r.Name), Distance{DelayMs: r.SameZoneDelayMs})
	var links []end
	for _, l := range r.Between {
		links = append(links, end{l.Zones, l.Distance})
	}
	p.matrix(fmt.Sprintf("region %q: ", r.Name), "zone", "zones", r.Zones, links)
}

// end is a link of either kind.
type end struct {
	ends []string
	Distance
}

// matrix checks that there is exactly one distance from each place to each other.
func (p *problems) matrix(where, kind, key string, places []string, links []end) {
	seen := map[[2]string]end{}
	for i, l := range links {
		if !p.want(len(l.ends) == 2, "%sbetween, entry %d: %s = %q: want two, from which to which", where, i+1, key, l.ends) {
			continue
		}
		a, b := l.ends[0], l.ends[1]
		p.want(a != b, "%sbetween, entry %d: %s = %q is one %s: want two different ones", where, i+1, key, l.ends, kind)
		for _, name := range l.ends {
			p.known(fmt.Sprintf("%sbetween, entry %d: %s", where, i+1, kind), name, places)
		}
		p.quality(fmt.Sprintf("%sfrom %s to %s", where, a, b), l.Distance)
		ways := [][2]string{{a, b}, {b, a}}
		if l.OneWay {
			ways = ways[:1]
		}
		for _, way := range ways {
			if was, twice := seen[way]; twice {
				p.want(false, "%sthe distance from %s to %s is given twice, %v ms and %v ms: want it once, for both ways; if the two ways differ, "+
					"one_way = true in both", where, way[0], way[1], was.DelayMs, l.DelayMs)
				break
			}
			seen[way] = l
		}
	}
	for _, a := range places {
		for _, b := range places {
			if _, ok := seen[[2]string{a, b}]; a != b && !ok {
				_, back := seen[[2]string{b, a}]
				p.want(a > b && !back, "%sno distance from %s to %s: want { %s = [%q, %q], delay_ms = … } in between", where, a, b, key, a, b)
			}
		}
	}
}

// quality checks the values of one link.
func (p *problems) quality(where string, d Distance) {
	p.want(d.DelayMs >= 0 && d.DelayMs <= mostDelayMs, "%s: delay_ms = %v: want 0 to %d", where, d.DelayMs, mostDelayMs)
	p.want(d.JitterMs >= 0 && d.JitterMs <= mostDelayMs, "%s: jitter_ms = %v: want 0 to %d", where, d.JitterMs, mostDelayMs)
	p.want(d.LossPercent >= 0 && d.LossPercent < 100, "%s: loss_percent = %v: want 0 to less than 100 (a cut is made on a running network)", where, d.LossPercent)
	p.want(d.BandwidthMbit >= 0 && !math.IsInf(d.BandwidthMbit, 0), "%s: bandwidth_mbit = %v: want 0 (no limit) or more", where, d.BandwidthMbit)
}

func (p *problems) known(what, name string, all []string) bool {
	if len(all) == 0 {
		return p.want(false, "%s %q: there is none", what, name)
	}
	return p.want(slices.Contains(all, name), "%s %q is not there: did you mean %q? (there are %s)", what, name, strict.Nearest(name, all),
		strings.Join(all, ", "))
}

func (p *problems) hosts(t *Topology, regions []string) {
	p.want(len(t.Hosts) >= 2, "%d [[hosts]]: want at least two, with name and region", len(t.Hosts))
	p.want(len(t.Hosts) <= MostHosts, "%d [[hosts]]: want at most %d, which is how many addresses there are for them", len(t.Hosts), MostHosts)
	var seen []string
	for _, h := range t.Hosts {
		p.want(word.MatchString(h.Name), "host name %q: want a lower-case word of letters, digits and dashes", h.Name)
		p.want(!slices.Contains(seen, h.Name), "host %q is listed twice", h.Name)
		seen = append(seen, h.Name)
		if !p.known(fmt.Sprintf("host %q: region", h.Name), h.Region, regions) {
			continue
		}
		zones := t.Regions[slices.Index(regions, h.Region)].Zones
		if h.Zone != "" {
			p.known(fmt.Sprintf("host %q: zone", h.Name), h.Zone, zones)
		} else {
			p.want(len(zones) == 0, "host %q: no zone: want one of %s", h.Name, strings.Join(zones, ", "))
		}
	}
}
