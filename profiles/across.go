package profiles

import "time"

// Kinds of workload that run on an emulated network.
const (
	Geo        = "geo"            // produce from every region, by where the leader is, beside the durable echo with its leader there
	GeoSweep   = "geo-sweep"      // produce from every region at a ladder of rates, up to saturation, beside the durable echo at the same rates
	RegionLoss = "region-loss"    // a region is cut off, while probes in another write to what it led
	Return     = "region-return"  // a region that follows is cut off, much is written without it, and it returns while probes write
	Readers    = "region-readers" // a consumer in every region, each in its rack, of what is produced in the leader's
	LineRate   = "line-rate"      // produce to a leader at a distance as fast as it goes, beside one TCP stream between the two hosts
)

// AcrossRegions says that the workload runs on an emulated network, and on nothing else.
func (w *Workload) AcrossRegions() bool {
	return oneOf(w.Kind, Geo, GeoSweep, RegionLoss, Return, Readers, LineRate)
}

// regionTakeOver is about how long passes from the loss of a region until others have taken over, and regionBack until the region that is
// there again leads again; either takes some of the longest round trips more.
const (
	regionTakeOver = 1200 * time.Millisecond
	regionBack     = time.Second
	regionTrips    = 10
)

// GeoRung is how long the slice of a sweep across regions is at one rate: as long as RungRequests take, and SliceMs at least, behind what is
// discarded (GeoSlice).
func (s *Suite) GeoRung(sc Scenario, ratePerSecond float64, longest time.Duration) (length, discard time.Duration) {
	length, discard = s.GeoSlice(sc, longest)
	return max(length, discard+time.Duration(RungRequests/ratePerSecond*float64(time.Second))), discard
}

// estimateGeoSweep is what a launch takes beside starting its brokers that climbs a ladder across regions.
func (s *Suite) estimateGeoSweep(sc Scenario) time.Duration {
	longest := s.TopologyOf(sc).LongestTrip()
	total := placementOverhead + placementTrips*longest + 2*5*(s.GeoWarmWindow(sc, longest)+longest) + 2*max(calibrationTime, CalibrationTrips*longest) + capacityCheck
	for _, rate := range sc.Workload.Rungs() {
		length, _ := s.GeoRung(sc, rate, longest)
		total += 2 * (length + sliceOverhead + sliceEnds*longest)
	}
	return total
}

// estimateLoss is what a launch that loses regions takes beside starting its brokers.
func (s *Suite) estimateLoss(sc Scenario) time.Duration {
	w, longest := &sc.Workload, s.TopologyOf(sc).LongestTrip()
	each := regionTakeOver + regionBack + regionTrips*longest + w.Pause() + w.Rest()
	if w.LibraryClient {
		each += takeOver
	}
	return placementOverhead + 2*max(calibrationTime, CalibrationTrips*longest) + w.Quiet() + time.Duration(w.Incidents())*each
}

// estimateReturn is what a launch takes beside starting its brokers and writing what the region lacks once.
func (s *Suite) estimateReturn(sc Scenario) time.Duration {
	w, longest := &sc.Workload, s.TopologyOf(sc).LongestTrip()
	bytes := func(perSecond float64) time.Duration {
		return time.Duration(float64(w.PreloadBytes) / perSecond * float64(time.Second))
	}
	return placementOverhead + (placementTrips+regionTrips)*longest + 2*max(calibrationTime, CalibrationTrips*longest) + w.Quiet() + regionTakeOver +
		2*bytes(farRate) + bytes(readRate)
}

// farRate is bytes per second that cross a distance in this machine, without a limit of the network's: about what a window of TCP's takes.
const farRate = 40 << 20

// estimateReaders is what a launch takes beside starting its brokers that has consumers everywhere.
func (s *Suite) estimateReaders(sc Scenario) time.Duration {
	w, longest := &sc.Workload, s.TopologyOf(sc).LongestTrip()
	return 2*placementOverhead + (placementTrips+regionTrips)*longest + 2*max(calibrationTime, CalibrationTrips*longest) + w.Quiet() + w.Watch()
}

// estimateLine is what a launch takes beside starting its brokers that is held against one TCP stream.
func (s *Suite) estimateLine(sc Scenario) time.Duration {
	longest := s.TopologyOf(sc).LongestTrip()
	slice, _ := s.GeoSlice(sc, longest)
	written := time.Duration(1+2*sc.Cycles) * slice // which is read back in about as much time
	return placementOverhead + placementTrips*longest + 2*max(calibrationTime, CalibrationTrips*longest) +
		time.Duration(1+4*sc.Cycles)*(slice+sliceOverhead+sliceEnds*longest) + written
}

func (w *Workload) validateAcross(want func(ok bool, format string, args ...any)) {
	for _, n := range []struct {
		name  string
		value int
	}{{"leader_region_incidents", w.LeaderRegionIncidents}, {"other_region_incidents", w.OtherRegionIncidents}, {"one_way_region_incidents", w.OneWayRegionIncidents}} {
		want(n.value >= 0 && n.value <= mostIncidents && (n.value == 0 || w.Kind == RegionLoss), "%s = %d: want 0 to %d, and 0 but in a region-loss", n.name, n.value, mostIncidents)
	}
	placed := oneOf(w.Kind, Geo, GeoSweep)
	want(placed == (len(w.Placements) > 0), "placements = %q: a geo or a geo-sweep workload wants at least one, any other has none", w.Placements)
	for i, p := range w.Placements {
		want(oneOf(p, Best, Worst, Automatic) && !oneOf(p, w.Placements[:i]...), "placements: %q: want %s, %s or %s, each once", p, Best, Worst, Automatic)
	}
	want(w.Kind != GeoSweep || len(w.Placements) <= 1 && !oneOf(Automatic, w.Placements...), "placements = %q: a geo-sweep has one ladder, with the leader held in one place: "+
		"want %s or %s", w.Placements, Best, Worst)
	want(!placed || w.Arrivals != Closed && w.Partitions == 1, "a %s workload wants arrivals from a schedule, and one partition", w.Kind)
	want(w.Kind != LineRate || w.Arrivals == Closed && w.Partitions == 1 && w.Batched(), "a line-rate workload wants closed arrivals, one partition and more than one record in a request")
	want(w.Kind != RegionLoss || w.Incidents() > 0, "a region-loss without an incident: one of leader_region_incidents, other_region_incidents, "+
		"one_way_region_incidents and slow_disk_incidents wants to be more than 0")
	want(!w.LibraryClient || w.Kind == RegionLoss, "library_client: belongs to a region-loss, this is %s", w.Kind)
	want(w.Kind != RegionLoss || w.ProbeRatePerSecond > 0, "probe_rate_per_second = %v: the loss of a region is seen by a probe", w.ProbeRatePerSecond)
}
