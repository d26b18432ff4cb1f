package profiles

import (
	"slices"
	"time"

	"ackline/profiles/region"
)

// What a launch costs beside its slices, for Estimate. Measured on a small virtual machine.
const (
	launchOverhead = 1200 * time.Millisecond // starting and stopping processes, reading what was written back
	capacityCheck  = 1000 * time.Millisecond // reading back as much as the system takes
	sliceOverhead  = 40 * time.Millisecond   // draining between slices
	restart        = 1000 * time.Millisecond
	writeRate      = 400 << 20 // bytes per second at which rings are filled and data is preloaded
	readRate       = 300 << 20 // bytes per second at which preloaded data is read back and compared

	// A launch of a throughput or catch-up scenario measures the disk's own durable rate for DiskRate before and after what counts;
	// for that the run looks once for the best way to write, which takes about diskSweep.
	DiskRate  = 300 * time.Millisecond
	diskSweep = 3 * time.Second

	// What one more node costs a launch, and one more partition.
	nodeOverhead      = 700 * time.Millisecond
	partitionOverhead = time.Millisecond

	// takeOver is about how long passes from an incident to the rest behind it: franz-go as people use it writes again, the node is
	// back, and that client would look for a leader once more.
	takeOver = 6 * time.Second

	// LibrarySlices is how many slices of LibrarySliceMs a launch has.
	LibrarySlices = 5

	// ProbeBefore is how long a recovery's probe runs before the kill; what it sees in ProbeIgnored is not normal yet, because
	// the broker still moves what was preloaded into segments. probeAfter is about how long it runs afterwards.
	ProbeBefore  = 2500 * time.Millisecond
	ProbeIgnored = 500 * time.Millisecond
	probeAfter   = 2500 * time.Millisecond
)

// RungRequests is how many requests the slice of a rung is made for: a p99 takes 10,000, and the number of Poisson arrivals
// stays within four standard deviations (100 each) of what is expected.
const RungRequests = 10_400

// RungLength is the length of a sweep's slice at one rate, the discarded part included: SliceMs, or as long as RungRequests take.
func (s *Suite) RungLength(sc Scenario, ratePerSecond float64) time.Duration {
	return max(ms(sc.SliceMs), ms(s.DiscardMs)+time.Duration(RungRequests/ratePerSecond*float64(time.Second)))
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// EstimateScenario is about how long one launch of sc takes when it warms up at once.
func (s *Suite) EstimateScenario(sc Scenario) time.Duration {
	w := &sc.Workload
	if w.Kind == Curve {
		total := time.Duration(0)
		for _, p := range w.Points {
			one := sc
			one.Workload = w.At(p)
			total += s.EstimateScenario(one)
		}
		return total
	}
	at := func(bytes int64, perSecond int64) time.Duration {
		return time.Duration(float64(bytes) / float64(perSecond) * float64(time.Second))
	}
	rings := int64(2)
	if oneOf(w.Kind, Fetch, Recovery, Spread, Failover, CatchUp, Idle, RegionLoss, Return, Readers, LineRate) {
		rings = 1 // the floor has none
	}
	nodes := int64(s.TopologyOf(sc).Nodes)
	total := launchOverhead + time.Duration(nodes-1)*nodeOverhead + at(nodes*rings*w.RingBytes+w.PreloadBytes, writeRate) +
		time.Duration(w.Partitions)*partitionOverhead
	switch w.Kind {
	case Failover:
		return total + w.Quiet() + time.Duration(w.Incidents())*(takeOver+w.Rest()) + time.Duration(w.Lasting())*w.Pause()
	case CatchUp:
		// What was preloaded went to the disk twice on each of the other nodes, and goes there twice on the one that lacked it.
		return total + w.Quiet() + restart + at(2*nodes*w.PreloadBytes, writeRate) + at(w.PreloadBytes, readRate) + 2*DiskRate
	case Idle:
		return total + w.Quiet() + w.Watch()
	case Geo:
		return total + s.estimateGeo(sc)
	case GeoSweep:
		return total + s.estimateGeoSweep(sc)
	case RegionLoss:
		return total + s.estimateLoss(sc)
	case Return:
		return total + s.estimateReturn(sc)
	case Readers:
		return total + s.estimateReaders(sc)
	case LineRate:
		return total + s.estimateLine(sc)
	}
	if w.Kind == Recovery {
		total += 3*restart + at(w.PreloadBytes, readRate)
		if w.ProbeRatePerSecond > 0 {
			total += ProbeBefore + probeAfter
		}
		return total
	}
	total += 2 * 5 * s.WarmWindowOf(sc)
	if w.Kind == Sweep {
		for _, rate := range w.Rungs() {
			total += 2 * (s.RungLength(sc, rate) + sliceOverhead)
		}
		return total + capacityCheck
	}
	total += time.Duration(4*sc.Cycles) * (ms(sc.SliceMs) + sliceOverhead)
	if w.OneAtATime() {
		total += 3*ms(s.CheckSliceMs) + LibrarySlices*ms(sc.LibrarySliceMs) + ms(sc.StageSliceMs)
	}
	if w.Capacity() {
		total += capacityCheck
	}
	if w.Throughput() {
		total += 2 * DiskRate
	}
	return total
}

// What a placement of a geo workload costs beside its load, and what a calibration takes, in round trips of the longest distance.
const (
	placementOverhead    = 1500 * time.Millisecond
	placementTrips       = 25 // making the topic, electing and handing over, opening sessions
	CalibrationTrips     = 13
	calibrationTime      = 300 * time.Millisecond
	choiceTime           = 8 * time.Second
	choiceTrips          = 10
	discardTrips         = 8 // connections that have rested begin with a small window
	warmTrips, sliceEnds = 2, 2
)

// GeoSlice is how long a slice of a geo workload is: SliceMs counted, behind what is discarded. A connection that has rested for a turn
// begins with a small window, which takes some round trips to open.
func (s *Suite) GeoSlice(sc Scenario, longest time.Duration) (length, discard time.Duration) {
	discard = max(ms(s.DiscardMs), discardTrips*longest)
	return ms(sc.SliceMs) + discard, discard
}

// GeoChoice is how long brokers get to move a leader to where its producers are, or to leave it: looks, and what is asked of other nodes for
// each, with a hold of three seconds.
func GeoChoice(longest time.Duration) time.Duration { return choiceTime + choiceTrips*longest }

// GeoWarmWindow is WarmWindowOf, or longer where round trips are.
func (s *Suite) GeoWarmWindow(sc Scenario, longest time.Duration) time.Duration {
	return max(s.WarmWindowOf(sc), warmTrips*longest)
}

// estimateGeo is what a launch of a geo workload takes beside starting its brokers.
func (s *Suite) estimateGeo(sc Scenario) time.Duration {
	longest := s.TopologyOf(sc).LongestTrip()
	slice, _ := s.GeoSlice(sc, longest)
	each := placementOverhead + placementTrips*longest + 2*5*(s.GeoWarmWindow(sc, longest)+longest) +
		time.Duration(4*sc.Cycles)*(slice+sliceOverhead+sliceEnds*longest)
	total := 2*max(calibrationTime, CalibrationTrips*longest) + time.Duration(len(sc.Workload.Placements))*each
	if slices.Contains(sc.Workload.Placements, Automatic) {
		total += 2 * GeoChoice(longest) // it is moved, and looked at again
	}
	return total
}

// LongestTrip is the longest round trip between two nodes of an emulated network, 0 on any other topology.
func (t Topology) LongestTrip() (longest time.Duration) {
	r, err := region.Load(t.Region)
	if t.Region == "" || err != nil { // Validate says so
		return 0
	}
	for a := range r.Hosts {
		for b := range a {
			longest = max(longest, r.Path(a, b).Delay+r.Path(b, a).Delay)
		}
	}
	return longest
}

// Estimate is about how long the whole suite takes.
func (s *Suite) Estimate() time.Duration {
	total := s.EstimateStart()
	for _, sc := range s.Scenarios {
		total += time.Duration(s.LaunchesOf(sc)) * s.EstimateScenario(sc)
	}
	return total
}

// EstimateStart is about how long a run takes before its first launch.
func (s *Suite) EstimateStart() time.Duration {
	for _, sc := range s.Scenarios {
		if sc.Workload.BesideTheDisk() {
			return diskSweep
		}
	}
	return 0
}
