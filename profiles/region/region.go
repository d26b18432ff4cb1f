// Package region says where the hosts of an emulated network stand and how far apart they are.
//
// A cluster across regions is measured on one machine by delaying what its members send each other (tools/netlab). What
// the delays are decides the result, so they stand in files, with the published measurement that each comes from. The
// files in this directory are built into the binaries; a name with a slash or with .toml at its end is a file of the user's own.
//
// Distances are given once for each pair and hold both ways. A pair with two different ways says so with one_way, so that a
// slip of the pen is not taken for an odd route:
//
//	between = [
//	  { regions = ["frankfurt", "tokyo"], delay_ms = 114.75 },
//	  { regions = ["tokyo", "sydney"], one_way = true, delay_ms = 57 },
//	  { regions = ["sydney", "tokyo"], one_way = true, delay_ms = 60 },
//	]
package region

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ackline/profiles/strict"
)

//go:embed *.toml
var builtin embed.FS

// Topology is the hosts of a network and the distances between them.
type Topology struct {
	Name string `toml:"-" json:"name"` // the file's name
	Note string `toml:"note" json:"note"`
	// What holds for every link that has no such value of its own. Two hosts of one zone have these too.
	JitterMs      float64 `toml:"jitter_ms" json:"jitter_ms"`           // up to so much is added to a delay, evenly drawn; 0 = none
	LossPercent   float64 `toml:"loss_percent" json:"loss_percent"`     // of packets; 0 = none
	BandwidthMbit float64 `toml:"bandwidth_mbit" json:"bandwidth_mbit"` // of each link, in each direction, in 10⁶ bits per second; 0 = no limit
	// How the hosts' TCP decides what it has on its way: a name that their kernel knows, "" is DefaultCongestionControl. With relays TCP does not
	// cross the distance, and this machine's is used.
	CongestionControl string   `toml:"congestion_control" json:"congestion_control"`
	Between           []Link   `toml:"between" json:"between"` // regions
	Regions           []Region `toml:"regions" json:"regions"`
	Hosts             []Host   `toml:"hosts" json:"hosts"`
}

// DefaultCongestionControl is what Linux is delivered with (net/ipv4/Kconfig, DEFAULT_TCP_CONG). What this machine is set to would make results of
// two machines differ: bbr, for one, has nearly nothing on its way for a round trip of every ten seconds, to measure the shortest.
const DefaultCongestionControl = "cubic"

// Region is a place with zones near each other.
type Region struct {
	Name            string     `toml:"name" json:"name"`
	Zones           []string   `toml:"zones" json:"zones"`                           // none = one, without a name
	SameZoneDelayMs float64    `toml:"same_zone_delay_ms" json:"same_zone_delay_ms"` // one way, between two hosts of a zone; 0 = none
	Between         []ZoneLink `toml:"between" json:"between"`                       // zones
}

// Distance is what lies between two places.
type Distance struct {
	DelayMs       float64 `toml:"delay_ms" json:"delay_ms"`             // one way
	JitterMs      float64 `toml:"jitter_ms" json:"jitter_ms"`           // up to so much is added, evenly drawn; 0 = the topology's
	LossPercent   float64 `toml:"loss_percent" json:"loss_percent"`     // 0 = the topology's
	BandwidthMbit float64 `toml:"bandwidth_mbit" json:"bandwidth_mbit"` // 0 = the topology's
	OneWay        bool    `toml:"one_way" json:"one_way"`               // from the first to the second only
}

// Link is the distance between two regions.
type Link struct {
	Regions []string `toml:"regions" json:"regions"` // two
	Distance
}

// ZoneLink is the distance between two zones of a region.
type ZoneLink struct {
	Zones []string `toml:"zones" json:"zones"` // two
	Distance
}

// Host is a machine of the network: of a broker, of a client.
type Host struct {
	Name   string `toml:"name" json:"name"`
	Region string `toml:"region" json:"region"`
	Zone   string `toml:"zone" json:"zone"` // "" = the region's only one
}

// Path is what a packet from one host to another meets.
type Path struct {
	Delay          time.Duration // one way
	Jitter         time.Duration // up to so much is added, evenly drawn
	Loss           float64       // 0 to 1
	BytesPerSecond float64       // 0 = no limit
}

// Names lists the built-in topologies.
func Names() []string {
	entries, err := fs.ReadDir(builtin, ".")
	if err != nil {
		panic(fmt.Sprintf("region: embedded folder: %v", err))
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return out
}

// Load reads a topology by name ("world-3") or path ("./mine.toml") and validates it. Errors say which file and, where there is
// one, which line.
func Load(name string) (*Topology, error) {
	if strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".toml") {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		return Parse(name, text)
	}
	text, err := builtin.ReadFile(name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("no built-in topology %q; there are %s (a file is named with its .toml)", name, strings.Join(Names(), ", "))
	}
	return Parse("region/"+name+".toml", text)
}

// Parse reads a topology from text, which came from file, and validates it.
func Parse(file string, text []byte) (*Topology, error) {
	t := &Topology{Name: strings.TrimSuffix(filepath.Base(file), ".toml")}
	if err := strict.Decode(file, "topology of regions", text, t); err != nil {
		return nil, err
	}
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// Congestion is the congestion control of the hosts' TCP, by its kernel's name.
func (t *Topology) Congestion() string { return cmp.Or(t.CongestionControl, DefaultCongestionControl) }

// HostNames lists the hosts in the order of the file.
func (t *Topology) HostNames() []string {
	var out []string
	for _, h := range t.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// Index is a host's place in Hosts, or -1.
func (t *Topology) Index(host string) int {
	return slices.IndexFunc(t.Hosts, func(h Host) bool { return h.Name == host })
}

// HostsOf lists the hosts of a region.
func (t *Topology) HostsOf(region string) (out []string) {
	for _, h := range t.Hosts {
		if h.Region == region {
			out = append(out, h.Name)
		}
	}
	return out
}

// Path is what lies between two hosts, which are places in Hosts, in that direction. The topology must be valid. From a host to itself
// there is nothing.
func (t *Topology) Path(from, to int) Path {
	if from == to {
		return Path{}
	}
	a, b := t.Hosts[from], t.Hosts[to]
	if a.Region != b.Region {
		for _, l := range t.Between {
			if l.leads(l.Regions, a.Region, b.Region) {
				return t.path(l.Distance)
			}
		}
		panic(fmt.Sprintf("region: no distance from %s to %s in a topology that was validated", a.Region, b.Region))
	}
	r := t.Regions[slices.IndexFunc(t.Regions, func(r Region) bool { return r.Name == a.Region })]
	if a.Zone == b.Zone {
		return t.path(Distance{DelayMs: r.SameZoneDelayMs})
	}
	for _, l := range r.Between {
		if l.leads(l.Zones, a.Zone, b.Zone) {
			return t.path(l.Distance)
		}
	}
	panic(fmt.Sprintf("region: no distance from %s to %s in a topology that was validated", a.Zone, b.Zone))
}

// leads tells whether the distance between the two ends holds from one place to another.
func (d Distance) leads(ends []string, from, to string) bool {
	return ends[0] == from && ends[1] == to || !d.OneWay && ends[0] == to && ends[1] == from
}

func (t *Topology) path(d Distance) Path {
	return Path{
		Delay:          Ms(d.DelayMs),
		Jitter:         Ms(cmp.Or(d.JitterMs, t.JitterMs)),
		Loss:           cmp.Or(d.LossPercent, t.LossPercent) / 100,
		BytesPerSecond: cmp.Or(d.BandwidthMbit, t.BandwidthMbit) * 1e6 / 8,
	}
}

// Ms is so many milliseconds, to the nanosecond.
func Ms(ms float64) time.Duration { return time.Duration(ms*1e6 + 0.5) }
