package hosts

import (
	"fmt"
	"slices"
	"strings"

	"ackline/profiles"
	"ackline/tools/bench/record"
)

// needs says what a kind of workload does to processes that bench must have started itself; the others only talk to them.
var needs = map[string]string{
	profiles.Recovery:   "it kills the broker and reads its WAL from the disk",
	profiles.Curve:      "it kills the broker and reads its WAL from the disk",
	profiles.Failover:   "it kills, pauses and stops nodes",
	profiles.CatchUp:    "it kills a node and starts it again",
	profiles.Geo:        "it starts brokers on an emulated network",
	profiles.GeoSweep:   "it starts brokers on an emulated network",
	profiles.Return:     "it starts brokers on an emulated network and cuts it",
	profiles.Readers:    "it starts brokers on an emulated network",
	profiles.LineRate:   "it starts brokers on an emulated network",
	profiles.RegionLoss: "it starts brokers on an emulated network and cuts it",
	profiles.Idle:       "it reads what the processes use from /proc",
}

// Fit narrows a suite to what can be run on the hosts, and returns what it has left out. asked are the scenarios that somebody named:
// one of them that cannot be run is an error.
//
// A scenario without a topology of its own runs on whatever is there; one that has a topology does where so many nodes have a copy. Where
// that makes two the same, the one that names its topology stays.
func (c *Config) Fit(s *profiles.Suite, asked []string) ([]record.LeftOut, error) {
	var out []record.LeftOut
	var kept []profiles.Scenario
	for _, sc := range s.Scenarios {
		why := c.refusal(s, sc)
		if why != "" && slices.Contains(asked, sc.Name) {
			return nil, fmt.Errorf("--scenario %s: %s", sc.Name, why)
		}
		if why == "" && !slices.Contains(asked, sc.Name) {
			why = c.twin(s, sc)
		}
		if why != "" {
			out = append(out, record.LeftOut{Scenario: sc.Name, Reason: why})
			continue
		}
		kept = append(kept, c.here(sc))
	}
	if len(kept) == 0 {
		var why []string
		for _, l := range out {
			why = append(why, l.Scenario+": "+l.Reason)
		}
		return nil, fmt.Errorf("nothing of the suite %s can be run on these hosts: %s", s.Name, strings.Join(why, "; "))
	}
	s.Scenarios, s.Topology = kept, c.topology()
	s.Name, s.BudgetS = s.Name+" (remote)", 0
	return out, nil
}

// refusal says why a scenario cannot be run, "" when it can.
func (c *Config) refusal(s *profiles.Suite, sc profiles.Scenario) string {
	if why := needs[sc.Workload.Kind]; why != "" {
		return why + ", which bench does only with processes that it has started: run it without --hosts"
	}
	if n := sc.Topology.Nodes; n > 0 && n != c.Copies() {
		return fmt.Sprintf("it is for %s, and the hosts file has %s of each partition", nodes(n), copies(c.Copies()))
	}
	return ""
}

// twin says which other scenario is the same here as one without a topology of its own, "" when none is.
func (c *Config) twin(s *profiles.Suite, sc profiles.Scenario) string {
	if sc.Topology.Nodes > 0 {
		return ""
	}
	for _, other := range s.Scenarios {
		if other.Topology.Nodes == c.Copies() && other.Workload.Name == sc.Workload.Name && c.refusal(s, other) == "" {
			return fmt.Sprintf("on these hosts it is the same as %s", other.Name)
		}
	}
	return ""
}

// topology is that of the hosts. Its name keeps bars and expectations away that are for one machine.
func (c *Config) topology() profiles.Topology {
	return profiles.Topology{Name: fmt.Sprintf("remote-%d", c.Copies()), Nodes: c.Copies(), Host: "elsewhere"}
}

// here is a scenario as it is run on the hosts: nobody fills a ring for it.
func (c *Config) here(sc profiles.Scenario) profiles.Scenario {
	sc.Topology, sc.TopologyName = c.topology(), ""
	sc.Workload.RingBytes, sc.Workload.RingLaps = 0, 0
	return sc
}
