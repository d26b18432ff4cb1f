package record

import (
	"slices"

	"ackline/tools/stats"
)

// IncidentSort is what happened to a node.
type IncidentSort string

// The sorts of incidents.
const (
	Kill  IncidentSort = "kill"  // kill -9
	Pause IncidentSort = "pause" // SIGSTOP, and SIGCONT after longer than an election takes
	Stop  IncidentSort = "stop"  // SIGTERM: it hands over what it leads

	// Of a node whose process goes on. Clients reach it as before.
	Cut  IncidentSort = "partition"   // nothing passes between it and the other nodes
	Mute IncidentSort = "one-way-out" // nothing that it says arrives at the others
	Deaf IncidentSort = "one-way-in"  // nothing that the others say arrives at it
	Slow IncidentSort = "slow-disk"   // its disk takes only so many writes a second

	// Of a whole region, brokers and whoever else is there. Clients elsewhere do not reach it either.
	LeaderRegion IncidentSort = "leader-region"     // nothing passes between the region that leads and the others
	OtherRegion  IncidentSort = "other-region"      // the same, of a region that follows
	RegionMute   IncidentSort = "leader-region-out" // nothing that the region that leads says arrives elsewhere
	RegionDeaf   IncidentSort = "leader-region-in"  // nothing that is said elsewhere arrives there
)

// IncidentSorts are all of them, in the order in which they are shown.
var IncidentSorts = []IncidentSort{Kill, Pause, Stop, Cut, Mute, Deaf, Slow, LeaderRegion, OtherRegion, RegionMute, RegionDeaf}

// Incident is one failover: a node that led the partition that was written to went away and came back. Gaps are the longest
// stretches without an acknowledgement from then until the next incident.
type Incident struct {
	Sort         IncidentSort `json:"sort"`
	Node         int          `json:"node"`                     // its id
	Led          int          `json:"led"`                      // partitions that it led
	GapMs        float64      `json:"gap_ms"`                   // of a client that is set up for failovers
	LibraryGapMs float64      `json:"library_gap_ms,omitempty"` // of franz-go as people use it; 0: not measured
	BackMs       float64      `json:"back_ms"`                  // until the node served again
	ElectionMs   float64      `json:"election_ms,omitempty"`    // the election time-out when it began; 0: not asked
}

// Gaps are the gaps of one sort of incident, and those of the library where they were measured.
func Gaps(incidents []Incident, s IncidentSort) (tuned, library []float64) {
	for _, i := range incidents {
		if i.Sort != s {
			continue
		}
		tuned = append(tuned, i.GapMs)
		if i.LibraryGapMs > 0 {
			library = append(library, i.LibraryGapMs)
		}
	}
	return tuned, library
}

// GapFigures are a launch's figures about its incidents: "kill_gap_ms_p50", "kill_gap_ms_worst", and so for each sort.
func GapFigures(incidents []Incident) []Figure {
	var out []Figure
	for _, s := range IncidentSorts {
		tuned, library := Gaps(incidents, s)
		for _, c := range []struct {
			name string
			gaps []float64
		}{{"_gap_ms_", tuned}, {"_gap_of_franz_go_ms_", library}} {
			if len(c.gaps) > 0 {
				out = append(out, Figure{string(s) + c.name + "p50", "ms", System, stats.Median(c.gaps)},
					Figure{string(s) + c.name + "worst", "ms", System, slices.Max(c.gaps)})
			}
		}
	}
	return out
}
