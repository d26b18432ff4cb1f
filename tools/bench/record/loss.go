package record

import "slices"

// RegionSorts are the sorts of incidents that happen to a whole region, in the order in which they are shown.
var RegionSorts = []IncidentSort{LeaderRegion, OtherRegion, RegionMute, RegionDeaf}

// LongestTripMs is the figure (side Host) of a launch that loses regions: the longest round trip of its network, in milliseconds, as measured.
const LongestTripMs = "longest_round_trip_ms"

// What follows from the distances: an election time-out may be so many of the longest round trips, and no distance makes it less than
// leastElectionMs; a gap may last so many round trips beyond it, two of an election and one of the write.
const (
	patienceTrips   = 5
	leastElectionMs = 1000
	helpTrips       = 3
)

// MostElectionMs is what an election time-out may be where the longest round trip takes so long.
func MostElectionMs(tripMs float64) float64 { return max(leastElectionMs, patienceTrips*tripMs) }

// MostGapMs is what the gap of an incident may be that happened to a region.
func (i *Incident) MostGapMs(tripMs float64) float64 { return i.ElectionMs + helpTrips*tripMs }

// ElectionShares are, for each incident of a launch that lost regions, the election time-out that was in force over what it may be.
func ElectionShares(l *Launch) []float64 {
	return shares(l, RegionSorts, func(i *Incident, trip float64) float64 { return i.ElectionMs / MostElectionMs(trip) })
}

// GapShares are the gaps of these sorts of incident over what they may be.
func GapShares(l *Launch, sorts ...IncidentSort) []float64 {
	return shares(l, sorts, func(i *Incident, trip float64) float64 { return i.GapMs / i.MostGapMs(trip) })
}

func shares(l *Launch, sorts []IncidentSort, of func(i *Incident, tripMs float64) float64) (out []float64) {
	trip, ok := l.Get(Host, LongestTripMs)
	for i := range l.Incidents {
		if ok && slices.Contains(sorts, l.Incidents[i].Sort) {
			out = append(out, of(&l.Incidents[i], trip))
		}
	}
	return out
}

// Lost is how many acknowledged records of a launch were not read back as they had been sent, each once and in its place; false: nothing was
// read back.
func Lost(l *Launch) (float64, bool) {
	c := l.Check
	if c == nil {
		return 0, false
	}
	return float64(c.Missing + c.Damaged + c.Misplaced), true
}
